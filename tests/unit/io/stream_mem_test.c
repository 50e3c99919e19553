#include "test.h"
#include "turn.h"

static struct tr_loop *loop;
static struct end a, b;

static int start(void **state)
{
    (void)state;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    if (tr_loop_new(&loop) || tr_stream_mem_pair(loop, 10, &a.s, &b.s))
        return -1;
    tr_stream_set_events(a.s, &end_events, &a);
    tr_stream_set_events(b.s, &end_events, &b);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    end_close(&a, false);
    end_close(&b, false);
    tr_loop_free(loop);
    return 0;
}

static void bytes_pass_through_a_ring_of_the_capacity(void **state)
{
    (void)state;
    char buf[16];
    assert_int_equal(tr_stream_write(a.s, "0123456", 7), 7);
    assert_int_equal(tr_stream_read(b.s, buf, 5), 5);
    struct tr_span pieces[3] = {TR_SPAN("789"), TR_SPAN(""), TR_SPAN("abcdefghi")};
    assert_int_equal(tr_stream_writev(a.s, pieces, 3), 8); /* wraps, 10 inside */
    assert_int_equal(tr_stream_write(a.s, "x", 1), 0);
    assert_int_equal(tr_stream_read(b.s, buf, sizeof buf), 10);
    assert_memory_equal(buf, "56789abcde", 10);
    assert_int_equal(tr_stream_read(b.s, buf, sizeof buf), TR_STREAM_AGAIN);
    assert_false(tr_stream_is_tls(a.s));
    assert_int_equal(tr_stream_alpn(a.s).len, 0);
    assert_int_equal(tr_stream_peer(a.s)->len, 0);
}

static void events_come_from_the_loop_and_only_when_wanted(void **state)
{
    (void)state;
    assert_int_equal(tr_stream_write(a.s, "hello", 5), 5);
    turn_idle(loop);
    assert_int_equal(b.readable, 0);
    tr_stream_want(b.s, true, false);
    assert_int_equal(b.readable, 0);
    TURN_UNTIL(loop, b.readable == 3); /* level-triggered */
    b.read_all = true;
    TURN_UNTIL(loop, b.got == 5);
    int seen = b.readable;
    turn_idle(loop);
    assert_int_equal(b.readable, seen);
}

static void full_ring_becomes_writable_when_read(void **state)
{
    (void)state;
    char buf[4];
    tr_stream_want(a.s, false, true);
    TURN_UNTIL(loop, a.writable == 1);
    assert_int_equal(tr_stream_write(a.s, "0123456789", 10), 10);
    tr_stream_want(a.s, false, true);
    turn_idle(loop);
    assert_int_equal(a.writable, 1);
    assert_int_equal(tr_stream_read(b.s, buf, 4), 4);
    TURN_UNTIL(loop, a.writable == 2);
}

static void half_close_ends_one_direction(void **state)
{
    (void)state;
    a.read_all = b.read_all = true;
    tr_stream_want(a.s, true, false);
    tr_stream_want(b.s, true, false);
    assert_int_equal(tr_stream_write(a.s, "bye", 3), 3);
    tr_stream_shutdown(a.s);
    TURN_UNTIL(loop, b.ended);
    assert_int_equal(b.got, 3);
    assert_int_equal(tr_stream_write(a.s, "x", 1), TR_STREAM_ERROR);
    assert_int_equal(tr_stream_write(b.s, "yes", 3), 3);
    TURN_UNTIL(loop, a.got == 3);
}

static void close_gives_the_peer_the_rest_and_the_end(void **state)
{
    (void)state;
    b.read_all = true;
    tr_stream_want(b.s, true, false);
    assert_int_equal(tr_stream_write(a.s, "bye", 3), 3);
    end_close(&a, false);
    TURN_UNTIL(loop, b.ended);
    assert_int_equal(b.got, 3);
    assert_int_equal(tr_stream_write(b.s, "x", 1), TR_STREAM_ERROR);
}

static void abort_gives_the_peer_an_error(void **state)
{
    (void)state;
    b.read_all = true;
    tr_stream_want(b.s, true, false);
    assert_int_equal(tr_stream_write(a.s, "bye", 3), 3);
    end_close(&a, true);
    TURN_UNTIL(loop, b.failed);
    assert_string_equal(b.error, "Connection reset by peer");
}

static void close_inside_callbacks_is_safe(void **state)
{
    (void)state;
    a.close_on_write = b.close_on_read = true;
    assert_int_equal(tr_stream_write(a.s, "x", 1), 1);
    tr_stream_want(a.s, true, true);
    tr_stream_want(b.s, true, true);
    TURN_UNTIL(loop, !a.s && !b.s);
    turn_idle(loop);
    assert_int_equal(a.writable, 1);
    assert_int_equal(b.readable, 1);
}

static void making_a_pair_survives_each_failing_allocation(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 100; n++) {
        struct tr_stream *x, *y;
        tr_alloc_fail_after(n);
        enum tr_err err = tr_stream_mem_pair(loop, 100, &x, &y);
        tr_alloc_fail_after(0);
        if (!err) {
            tr_stream_close(x, false);
            tr_stream_close(y, false);
            return;
        }
        assert_int_equal(err, TR_ERR_NOMEM);
    }
    fail();
}

#define MEM_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEM_TEST(bytes_pass_through_a_ring_of_the_capacity),
        MEM_TEST(events_come_from_the_loop_and_only_when_wanted),
        MEM_TEST(full_ring_becomes_writable_when_read),
        MEM_TEST(half_close_ends_one_direction),
        MEM_TEST(close_gives_the_peer_the_rest_and_the_end),
        MEM_TEST(abort_gives_the_peer_an_error),
        MEM_TEST(close_inside_callbacks_is_safe),
        MEM_TEST(making_a_pair_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
