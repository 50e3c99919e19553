#include "test.h"
#include "turn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static struct tr_loop *loop;
static struct door door;
static struct end client, server;

static int start(void **state)
{
    (void)state;
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    if (tr_loop_new(&loop) != TR_OK)
        return -1;
    door_open(&door, loop, "127.0.0.1:0", &server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    end_close(&client, false);
    end_close(&server, false);
    tr_listener_close(door.l);
    tr_loop_free(loop);
    return 0;
}

static void pair_up(void)
{
    end_connect(&client, loop, tr_listener_addr(door.l), NULL, "");
    assert_int_equal(client.ready, 0);
    TURN_UNTIL(loop, client.ready && server.s);
    assert_int_equal(client.err, TR_OK);
    assert_int_equal(client.ready, 1);
    assert_int_equal(server.ready, 0);
}

static void connect_and_exchange_bytes(void **state)
{
    (void)state;
    pair_up();
    assert_false(tr_stream_is_tls(client.s));
    assert_int_equal(tr_stream_peer(server.s)->ss.ss_family, AF_INET);
    assert_int_equal(tr_stream_write(client.s, "hello", 5), 5);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.got == 5);
    assert_memory_equal(server.in, "hello", 5);
    struct tr_span pieces[3] = {TR_SPAN("one "), TR_SPAN(""), TR_SPAN("two")};
    assert_int_equal(tr_stream_writev(server.s, pieces, 3), 7);
    client.read_all = true;
    tr_stream_want(client.s, true, false);
    TURN_UNTIL(loop, client.got == 7);
    assert_memory_equal(client.in, "one two", 7);
    assert_int_equal(tr_stream_read(client.s, client.in, 10), TR_STREAM_AGAIN);
}

static void readable_is_level_triggered_and_stops_when_not_wanted(void **state)
{
    (void)state;
    pair_up();
    assert_int_equal(tr_stream_write(client.s, "x", 1), 1);
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.readable == 3); /* nothing was read */
    tr_stream_want(server.s, false, false);
    int seen = server.readable;
    turn_idle(loop);
    assert_int_equal(server.readable, seen);
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.readable > seen);
}

static void half_close_gives_the_end_and_leaves_the_other_direction(void **state)
{
    (void)state;
    pair_up();
    assert_int_equal(tr_stream_write(client.s, "bye", 3), 3);
    tr_stream_shutdown(client.s);
    tr_stream_shutdown(client.s);
    server.read_all = client.read_all = true;
    tr_stream_want(server.s, true, false);
    tr_stream_want(client.s, true, false);
    TURN_UNTIL(loop, server.ended);
    assert_int_equal(server.got, 3);
    assert_false(client.ended);
    assert_int_equal(tr_stream_write(server.s, "still", 5), 5);
    TURN_UNTIL(loop, client.got == 5);
    assert_int_equal(tr_stream_write(client.s, "x", 1), TR_STREAM_ERROR); /* and no SIGPIPE */
}

static void abort_shows_the_peer_a_reset(void **state)
{
    (void)state;
    pair_up();
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    end_close(&client, true);
    TURN_UNTIL(loop, server.failed || server.ended);
    assert_true(server.failed);
    assert_string_equal(server.error, "Connection reset by peer");
}

static void parked_stream_finds_the_error_at_the_next_want(void **state)
{
    (void)state;
    pair_up();
    end_close(&client, true);
    turn_idle(loop);
    assert_int_equal(server.readable + server.writable, 0);
    server.read_all = true;
    tr_stream_want(server.s, false, true);
    TURN_UNTIL(loop, server.writable);
    TURN_UNTIL(loop, server.failed);
}

static void write_fills_up_and_becomes_writable_again(void **state)
{
    (void)state;
    static char block[1 << 16];
    size_t sent = 0;
    ssize_t n;
    pair_up();
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)('a' + i % 23);
    while ((n = tr_stream_write(client.s, block, sizeof block)) > 0) {
        sent += (size_t)n;
        assert_true(sent < (size_t)256 << 20);
    }
    assert_int_equal(n, 0);
    tr_stream_want(client.s, false, true);
    turn_idle(loop);
    assert_int_equal(client.writable, 0);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, client.writable == 1);
    TURN_UNTIL(loop, server.got == sent);
    assert_memory_equal(server.in, block, 1000);
}

static void close_inside_each_callback_is_safe(void **state)
{
    (void)state;
    client.close_on_ready = true;
    end_connect(&client, loop, tr_listener_addr(door.l), NULL, "");
    TURN_UNTIL(loop, client.ready && server.s);
    assert_null(client.s);
    /* the server's end: both events are possible at once, and the first one closes */
    server.close_on_read = server.close_on_write = true;
    tr_stream_want(server.s, true, true);
    TURN_UNTIL(loop, !server.s);
    turn_idle(loop);
    assert_int_equal(server.readable + server.writable, 1);
}

static void no_callback_after_close_from_outside(void **state)
{
    (void)state;
    pair_up();
    assert_int_equal(tr_stream_write(client.s, "x", 1), 1);
    tr_stream_want(server.s, true, true);
    end_close(&server, false);
    end_close(&client, false);
    turn_idle(loop);
    assert_int_equal(server.readable + server.writable, 0);
}

static struct tr_addr closed_port(void)
{
    struct tr_addr addr = *tr_listener_addr(door.l);
    tr_listener_close(door.l);
    door.l = NULL;
    return addr;
}

static void refused_connection_comes_through_on_ready(void **state)
{
    (void)state;
    struct tr_addr addr = closed_port();
    end_connect(&client, loop, &addr, NULL, "");
    assert_int_equal(client.ready, 0);
    TURN_UNTIL(loop, client.ready);
    assert_int_equal(client.err, TR_ERR_UPSTREAM_CONNECT);
    assert_string_equal(client.error, "Connection refused");
    assert_int_equal(tr_stream_write(client.s, "x", 1), TR_STREAM_ERROR);
    turn_idle(loop);
    assert_int_equal(client.ready, 1);
}

static void connecting_may_be_given_up(void **state)
{
    (void)state;
    end_connect(&client, loop, tr_listener_addr(door.l), NULL, "");
    end_close(&client, false);
    struct tr_addr addr;
    assert_int_equal(tr_addr_parse(TR_SPAN("unix:/nonexistent/socket"), &addr, NULL), TR_OK);
    end_connect(&client, loop, &addr, NULL, "");
    end_close(&client, false);
    turn_idle(loop);
    assert_int_equal(client.ready, 0);
}

static void refused_unix_connection_comes_through_on_ready(void **state)
{
    (void)state;
    struct tr_addr addr;
    assert_int_equal(tr_addr_parse(TR_SPAN("unix:/nonexistent/socket"), &addr, NULL), TR_OK);
    end_connect(&client, loop, &addr, NULL, "");
    assert_int_equal(client.ready, 0);
    TURN_UNTIL(loop, client.ready);
    assert_int_equal(client.err, TR_ERR_UPSTREAM_CONNECT);
    assert_string_equal(client.error, "No such file or directory");
}

static void events_may_be_handed_on(void **state)
{
    (void)state;
    static struct end other;
    memset(&other, 0, sizeof other);
    pair_up();
    assert_int_equal(tr_stream_write(client.s, "abc", 3), 3);
    other.s = server.s;
    other.read_all = true;
    tr_stream_set_events(server.s, &end_events, &other);
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, other.got == 3);
    assert_int_equal(server.readable, 0);
}

static void churn_reuses_stream_objects(void **state)
{
    (void)state;
    uint64_t calls = 0;
    for (int i = 0; i < 50; i++) {
        memset(&client, 0, sizeof client);
        pair_up();
        end_close(&client, true);
        end_close(&server, true);
        turn_idle(loop);
        if (i == 5)
            calls = tr_alloc_stats().calls;
    }
#ifndef TR_ARENA_EMULATE
    assert_int_equal(tr_alloc_stats().calls, calls);
#else
    (void)calls;
#endif
}

static void making_streams_survives_each_failing_allocation(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        tr_alloc_fail_after(n);
        struct tr_stream *s = NULL;
        enum tr_err err = tr_stream_connect(loop, tr_listener_addr(door.l), NULL, TR_SPAN(""),
                                            &end_events, &client, &s);
        tr_alloc_fail_after(0);
        if (!err) {
            tr_stream_close(s, false);
            break;
        }
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 100);
    }
    TURN_UNTIL(loop, server.s);
}

#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(connect_and_exchange_bytes),
        STREAM_TEST(readable_is_level_triggered_and_stops_when_not_wanted),
        STREAM_TEST(half_close_gives_the_end_and_leaves_the_other_direction),
        STREAM_TEST(abort_shows_the_peer_a_reset),
        STREAM_TEST(parked_stream_finds_the_error_at_the_next_want),
        STREAM_TEST(write_fills_up_and_becomes_writable_again),
        STREAM_TEST(close_inside_each_callback_is_safe),
        STREAM_TEST(no_callback_after_close_from_outside),
        STREAM_TEST(refused_connection_comes_through_on_ready),
        STREAM_TEST(connecting_may_be_given_up),
        STREAM_TEST(refused_unix_connection_comes_through_on_ready),
        STREAM_TEST(events_may_be_handed_on),
        STREAM_TEST(churn_reuses_stream_objects),
        STREAM_TEST(making_streams_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
