#include "test.h"
#include "tls_world.h"

/* -- bytes ------------------------------------------------------------------------------------ */
static char block[1 << 18];

static void fill_block(void)
{
    uint64_t seed = tr_test_seed();
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)tr_test_rand(&seed);
}

static size_t write_until_full(struct tr_stream *s)
{
    size_t sent = 0;
    for (;;) {
        size_t at = sent % sizeof block;
        ssize_t n = tr_stream_write(s, block + at, sizeof block - at);
        assert_true(n >= 0);
        if (n == 0)
            return sent;
        sent += (size_t)n;
        assert_true(sent < (size_t)256 << 20);
    }
}

static void write_fills_up_and_becomes_writable_again(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    size_t sent = write_until_full(client.s);
    tr_stream_want(client.s, false, true);
    turn_idle(loop);
    assert_int_equal(client.writable, 0);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, client.writable == 1);
    TURN_UNTIL(loop, server.got == sent);
    assert_memory_equal(server.in, block, sizeof server.in);
    assert_int_equal(tr_stream_write(client.s, "next", 4),
                     4); /* another text than what was not taken */
    TURN_UNTIL(loop, server.got == sent + 4);
}

static void last_record_is_flushed_without_being_wanted_and_after_close(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    size_t sent = write_until_full(client.s);
    end_close(&client, false); /* a record is left inside, and the end of the stream behind it */
    turn_idle(loop);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.ended || server.failed);
    assert_true(server.ended);
    assert_int_equal(server.got, sent);
}

static void lingering_stream_goes_with_the_loop(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    (void)write_until_full(client.s);
    end_close(&client, false);
    turn_idle(loop);
}

static void lingering_stream_ends_with_the_peer(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    (void)write_until_full(client.s);
    end_close(&client, false);
    end_close(&server, true);
    turn_idle(loop);
}

static void shutdown_sends_the_rest_then_the_end(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    size_t sent = write_until_full(client.s);
    tr_stream_shutdown(client.s);
    assert_int_equal(tr_stream_write(client.s, "x", 1), TR_STREAM_ERROR);
    server.read_all = client.read_all = true;
    tr_stream_want(server.s, true, false);
    tr_stream_want(client.s, true, false);
    TURN_UNTIL(loop, server.ended);
    assert_int_equal(server.got, sent);
    assert_int_equal(tr_stream_write(server.s, "still", 5), 5);
    TURN_UNTIL(loop, client.got == 5);
    assert_false(client.ended || client.failed);
}

static void cut_connection_is_an_error_not_the_end(void **state)
{
    (void)state;
    pair_up();
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    end_close(&client, true);
    TURN_UNTIL(loop, server.failed || server.ended);
    assert_true(server.failed);
}

static void on_one_byte(void *ctx)
{
    struct end *e = ctx;
    char c;
    e->readable++;
    ssize_t n = tr_stream_read(e->s, &c, 1);
    if (n == 1) {
        if (e->got < sizeof e->in)
            e->in[e->got] = c;
        e->got++;
    } else if (n != TR_STREAM_AGAIN) {
        e->ended = n == 0;
        tr_stream_want(e->s, false, false);
    }
}

static void decrypted_bytes_inside_are_announced(void **state)
{
    (void)state;
    static const struct tr_stream_events slow = {end_on_ready, on_one_byte, end_on_writable};
    fill_block();
    pair_up();
    tr_stream_set_events(server.s, &slow, &server);
    tr_stream_want(server.s, true, false);
    assert_int_equal(tr_stream_write(client.s, block, 3000), 3000);
    end_close(&client, false);
    TURN_UNTIL(loop, server.got == 100);
    tr_stream_want(server.s, false, false);
    turn_idle(loop);
    assert_int_equal(server.got, 100);
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.ended);
    assert_int_equal(server.got, 3000);
    assert_memory_equal(server.in, block, 3000);
}

static void pieces_of_all_sizes_are_gathered_in_order(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    uint64_t seed = tr_test_seed();
    size_t sent = 0;
    while (sent < 60000) {
        struct tr_span pieces[16];
        size_t at = sent;
        int count = (int)(tr_test_rand(&seed) % 16 + 1);
        for (int i = 0; i < count; i++) {
            size_t len = tr_test_rand(&seed) % (i % 5 == 4 ? 20000 : 200);
            if (at + len > sizeof block)
                len = 0;
            pieces[i] = tr_span(block + at, len);
            at += len;
        }
        ssize_t n = tr_stream_writev(client.s, pieces, count);
        assert_true(n >= 0 && (size_t)n <= at - sent);
        sent += (size_t)n;
        tr_loop_turn(loop, false);
    }
    TURN_UNTIL(loop, server.got == sent);
    assert_memory_equal(server.in, block, sent < sizeof server.in ? sent : sizeof server.in);
}

static void close_inside_callbacks_is_safe(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    client.close_on_ready = true;
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, "a.example");
    TURN_UNTIL(loop, client.ready && server.ready);
    server.close_on_read = server.close_on_write = true;
    tr_stream_want(server.s, true, true);
    TURN_UNTIL(loop, !server.s);
    turn_idle(loop);
    assert_int_equal(server.readable + server.writable, 1);
}

static void making_streams_survives_each_failing_allocation(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    for (uint64_t n = 1;; n++) {
        tr_alloc_fail_after(n);
        enum tr_err err = tr_stream_connect(loop, tr_listener_addr(door.l), client_ctx,
                                            TR_SPAN("a.example"), &end_events, &client, &client.s);
        tr_alloc_fail_after(0);
        if (!err)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 100);
    }
    TURN_UNTIL(loop, client.ready);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(write_fills_up_and_becomes_writable_again),
        TLS_TEST(last_record_is_flushed_without_being_wanted_and_after_close),
        TLS_TEST(lingering_stream_goes_with_the_loop),
        TLS_TEST(lingering_stream_ends_with_the_peer),
        TLS_TEST(shutdown_sends_the_rest_then_the_end),
        TLS_TEST(cut_connection_is_an_error_not_the_end),
        TLS_TEST(decrypted_bytes_inside_are_announced),
        TLS_TEST(pieces_of_all_sizes_are_gathered_in_order),
        TLS_TEST(close_inside_callbacks_is_safe),
        TLS_TEST(making_streams_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
