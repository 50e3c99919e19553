#include "io/watch.h"

#include "test.h"
#include "turn.h"

#include <sys/socket.h>
#include <unistd.h>

struct eye {
    struct tr_watch watch;
    int calls, closed;
    unsigned events;
    struct eye *blind; /* loses interest when this one sees something */
};

static struct tr_loop *loop;
static int fds[2];
static struct eye eye;

static int start(void **state)
{
    (void)state;
    memset(&eye, 0, sizeof eye);
    return tr_loop_new(&loop) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) ? -1 : 0;
}

static void on_closed(struct tr_watch *w)
{
    tr_container_of(w, struct eye, watch)->closed++;
}

static int stop(void **state)
{
    (void)state;
    tr_watch_close(&eye.watch, on_closed);
    (void)close(fds[0]);
    (void)close(fds[1]);
    tr_loop_free(loop);
    return eye.closed == 1 ? 0 : -1;
}

static void on_event(struct tr_watch *w, unsigned events)
{
    struct eye *e = tr_container_of(w, struct eye, watch);
    e->calls++;
    e->events = events;
    if (e->blind)
        tr_watch_want(&e->blind->watch, 0);
}

static void open_eye(unsigned mask)
{
    assert_int_equal(tr_watch_init(&eye.watch, loop, fds[0], on_event), TR_OK);
    tr_watch_want(&eye.watch, mask);
}

static void nothing_is_told_that_is_not_wanted(void **state)
{
    (void)state;
    open_eye(TR_WATCH_READ);
    turn_idle(loop);
    assert_int_equal(eye.calls, 0); /* writable, but not asked */
    tr_watch_want(&eye.watch, TR_WATCH_READ | TR_WATCH_WRITE);
    TURN_UNTIL(loop, eye.calls);
    assert_int_equal(eye.events, TR_WATCH_WRITE);
    assert_int_equal(write(fds[1], "x", 1), 1);
    TURN_UNTIL(loop, eye.events == (TR_WATCH_READ | TR_WATCH_WRITE));
    tr_watch_want(&eye.watch, TR_WATCH_READ);
    TURN_UNTIL(loop, eye.events == TR_WATCH_READ);
}

static void wanting_and_not_wanting_again_reaches_no_kernel(void **state)
{
    (void)state;
    open_eye(TR_WATCH_READ);
    tr_loop_turn(loop, false);
    assert_int_equal(eye.watch.now, TR_WATCH_READ);
    tr_watch_want(&eye.watch, TR_WATCH_WRITE);
    assert_int_equal(eye.watch.now, TR_WATCH_READ); /* told before the next sleep only */
    tr_watch_want(&eye.watch, TR_WATCH_READ);
    turn_idle(loop);
    assert_int_equal(eye.calls, 0);
    tr_watch_want(&eye.watch, 0);
    tr_loop_turn(loop, false);
    assert_int_equal(eye.watch.now, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    turn_idle(loop);
    assert_int_equal(eye.calls, 0);
}

static void end_of_the_peer_tells_what_was_wanted(void **state)
{
    (void)state;
    open_eye(TR_WATCH_WRITE);
    TURN_UNTIL(loop, eye.calls);
    (void)close(fds[1]);
    fds[1] = -1;
    eye.calls = 0;
    TURN_UNTIL(loop, eye.calls);
    assert_int_equal(eye.events, TR_WATCH_WRITE);
    tr_watch_want(&eye.watch, TR_WATCH_READ);
    TURN_UNTIL(loop, eye.events == TR_WATCH_READ);
}

static void interest_lost_in_the_same_round_is_respected(void **state)
{
    (void)state;
    static struct eye other;
    int more[2];
    memset(&other, 0, sizeof other);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, more), 0);
    open_eye(TR_WATCH_READ);
    assert_int_equal(tr_watch_init(&other.watch, loop, more[0], on_event), TR_OK);
    tr_watch_want(&other.watch, TR_WATCH_READ);
    eye.blind = &other; /* whichever comes first silences the other */
    other.blind = &eye;
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(write(more[1], "x", 1), 1);
    TURN_UNTIL(loop, eye.calls + other.calls);
    assert_int_equal(eye.calls + other.calls, 1);
    tr_watch_close(&other.watch, on_closed);
    (void)close(more[0]);
    (void)close(more[1]);
    TURN_UNTIL(loop, other.closed);
}

static void regular_file_cannot_be_watched(void **state)
{
    (void)state;
    char path[] = "/tmp/transom-watch-XXXXXX";
    int fd = mkstemp(path);
    struct tr_watch w;
    assert_true(fd >= 0);
    assert_int_equal(tr_watch_init(&w, loop, fd, on_event), TR_ERR_IO);
    (void)close(fd);
    (void)unlink(path);
    open_eye(0);
}

#define WATCH_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(nothing_is_told_that_is_not_wanted),
        WATCH_TEST(wanting_and_not_wanting_again_reaches_no_kernel),
        WATCH_TEST(end_of_the_peer_tells_what_was_wanted),
        WATCH_TEST(interest_lost_in_the_same_round_is_respected),
        WATCH_TEST(regular_file_cannot_be_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
