/* The contract of stream.h, held against every kind of stream. */
#include "test.h"
#include "tls_world.h"

#include <stdio.h>

enum kind { TCP, UNIX, TLS, MEM, KINDS };

static void pair_of(enum kind kind)
{
    char text[128];
    switch (kind) {
    case MEM:
        assert_int_equal(tr_stream_mem_pair(loop, 3000, &client.s, &server.s), TR_OK);
        tr_stream_set_events(client.s, &end_events, &client);
        tr_stream_set_events(server.s, &end_events, &server);
        return;
    case UNIX:
        tr_listener_close(door.l);
        (void)snprintf(text, sizeof text, "unix:%s", certs_path("socket"));
        door_open(&door, loop, text, &server);
        break;
    case TLS:
        serve("a", TR_TLS_CLIENT_NONE, NULL);
        trust("ca.crt", NULL, true);
        break;
    case TCP:
    case KINDS:
        break;
    }
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, client_ctx ? "a.example" : "");
    TURN_UNTIL(loop, client.ready && server.s && (!door.tls || server.ready));
    assert_int_equal(client.err, TR_OK);
}

/* Runs body once for each kind in a world of its own. */
static void for_each_kind(void (*body)(enum kind kind))
{
    for (enum kind kind = TCP; kind < KINDS; kind++) {
        assert_int_equal(start(NULL), 0);
        pair_of(kind);
        body(kind);
        assert_int_equal(stop(NULL), 0);
    }
}

static char block[200000];

static void exchange_body(enum kind kind)
{
    uint64_t seed = tr_test_seed() + kind;
    size_t sent = 0;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)tr_test_rand(&seed);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    while (sent < sizeof block) {
        struct tr_span pieces[5];
        size_t at = sent;
        for (int i = 0; i < 5; i++) {
            size_t len = tr_test_rand(&seed) % (i == 2 ? 30000 : 50);
            if (len > sizeof block - at)
                len = sizeof block - at;
            pieces[i] = tr_span(block + at, len);
            at += len;
        }
        ssize_t n = tr_stream_writev(client.s, pieces, 5);
        assert_true(n >= 0 && (size_t)n <= at - sent);
        sent += (size_t)n;
        if (n == 0 && at > sent) {
            int seen = client.writable;
            tr_stream_want(client.s, false, true);
            TURN_UNTIL(loop, client.writable > seen);
        }
    }
    TURN_UNTIL(loop, server.got == sizeof block);
    assert_memory_equal(server.in, block, sizeof server.in);
}

static void bytes_arrive_in_order_whatever_the_pieces(void **state)
{
    (void)state;
    for_each_kind(exchange_body);
}

static void half_close_body(enum kind kind)
{
    (void)kind;
    client.read_all = server.read_all = true;
    tr_stream_want(client.s, true, false);
    tr_stream_want(server.s, true, false);
    assert_int_equal(tr_stream_write(client.s, "last", 4), 4);
    tr_stream_shutdown(client.s);
    tr_stream_shutdown(client.s);
    assert_int_equal(tr_stream_write(client.s, "x", 1), TR_STREAM_ERROR);
    TURN_UNTIL(loop, server.ended);
    assert_int_equal(server.got, 4);
    assert_int_equal(tr_stream_write(server.s, "answer", 6), 6);
    TURN_UNTIL(loop, client.got == 6);
    tr_stream_shutdown(server.s);
    TURN_UNTIL(loop, client.ended);
}

static void half_close_ends_one_direction(void **state)
{
    (void)state;
    for_each_kind(half_close_body);
}

static void abort_body(enum kind kind)
{
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    end_close(&client, true);
    TURN_UNTIL(loop, server.failed || server.ended);
    if (kind != UNIX) { /* which has no RST */
        assert_true(server.failed);
        assert_true(server.error[0] != 0);
    }
}

static void abort_is_an_error_to_the_peer(void **state)
{
    (void)state;
    for_each_kind(abort_body);
}

static void close_body(enum kind kind)
{
    (void)kind;
    assert_int_equal(tr_stream_write(client.s, "to be read", 10), 10);
    server.close_on_read = server.close_on_write = true;
    client.close_on_write = true;
    tr_stream_want(server.s, true, true);
    tr_stream_want(client.s, true, true);
    TURN_UNTIL(loop, !server.s && !client.s);
    turn_idle(loop);
    assert_int_equal(server.readable + server.writable, 1);
    assert_int_equal(client.writable, 1);
}

static void close_in_a_callback_ends_all_callbacks(void **state)
{
    (void)state;
    for_each_kind(close_body);
}

static void level_body(enum kind kind)
{
    (void)kind;
    char c;
    assert_int_equal(tr_stream_write(client.s, "abc", 3), 3);
    tr_stream_want(server.s, true, false);
    for (int i = 0; i < 3; i++) {
        int seen = server.readable;
        TURN_UNTIL(loop, server.readable > seen);
        assert_int_equal(tr_stream_read(server.s, &c, 1), 1);
        assert_int_equal(c, "abc"[i]);
    }
    assert_int_equal(tr_stream_read(server.s, &c, 1), TR_STREAM_AGAIN);
    int seen = server.readable;
    turn_idle(loop);
    assert_true(server.readable <= seen + 1); /* one that was already on its way */
}

static void readable_comes_again_until_all_is_read(void **state)
{
    (void)state;
    for_each_kind(level_body);
}

static void no_memory_body(enum kind kind)
{
    (void)kind;
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    uint64_t calls = tr_alloc_stats().calls;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(tr_stream_write(client.s, "ping", 4), 4);
        size_t want = (size_t)(i + 1) * 4;
        for (int turns = 0; server.got < want && turns < 1000000; turns++)
            tr_loop_turn(loop, false);
        assert_int_equal(server.got, want);
    }
    assert_int_equal(tr_alloc_stats().calls, calls);
}

static void exchange_allocates_nothing(void **state)
{
    (void)state;
    for_each_kind(no_memory_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_in_order_whatever_the_pieces),
        cmocka_unit_test(half_close_ends_one_direction),
        cmocka_unit_test(abort_is_an_error_to_the_peer),
        cmocka_unit_test(close_in_a_callback_ends_all_callbacks),
        cmocka_unit_test(readable_comes_again_until_all_is_read),
        cmocka_unit_test(exchange_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
