#include "io/loop.h"
#include "test.h"
#include "turn.h"

#include <time.h>

static struct tr_loop *loop;

static int make_loop(void **state)
{
    (void)state;
    return tr_loop_new(&loop) == TR_OK ? 0 : -1;
}

static int free_loop(void **state)
{
    (void)state;
    tr_loop_free(loop);
    return 0;
}

static uint64_t real_now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

struct alarm {
    struct tr_timer timer;
    int fired, order;
    uint64_t at;
    uint64_t again_ns; /* restart in the callback */
    struct alarm *stop, *start;
};
static int order;

static void on_alarm(struct tr_timer *timer)
{
    struct alarm *a = tr_container_of(timer, struct alarm, timer);
    a->fired++;
    a->order = ++order;
    a->at = real_now();
    if (a->again_ns && a->fired < 3)
        assert_int_equal(tr_timer_start(timer, a->again_ns), TR_OK);
    if (a->stop)
        tr_timer_stop(&a->stop->timer);
    if (a->start)
        assert_int_equal(tr_timer_start(&a->start->timer, 0), TR_OK);
}

static struct alarm alarm_of(void)
{
    struct alarm a = {.fired = 0};
    tr_timer_init(&a.timer, loop, on_alarm);
    return a;
}

static void timers_fire_in_order_of_due_time(void **state)
{
    (void)state;
    struct alarm a = alarm_of(), b = alarm_of(), c = alarm_of();
    order = 0;
    assert_int_equal(tr_timer_start(&a.timer, 6 * MS), TR_OK);
    assert_int_equal(tr_timer_start(&b.timer, 2 * MS), TR_OK);
    assert_int_equal(tr_timer_start(&c.timer, 4 * MS), TR_OK);
    TURN_UNTIL(loop, a.fired && b.fired && c.fired);
    assert_int_equal(b.order, 1);
    assert_int_equal(c.order, 2);
    assert_int_equal(a.order, 3);
    assert_int_equal(a.fired + b.fired + c.fired, 3);
    assert_false(tr_timer_running(&a.timer));
}

static void timer_never_fires_early(void **state)
{
    (void)state;
    for (uint64_t delay = MS / 10; delay < 5 * MS; delay += 7 * MS / 10) {
        struct alarm a = alarm_of();
        uint64_t from = real_now();
        assert_int_equal(tr_timer_start(&a.timer, delay), TR_OK);
        TURN_UNTIL(loop, a.fired);
        assert_true(a.at - from >= delay);
        assert_true(a.at - from < delay + 2000 * MS);
    }
}

static void timer_restarts_and_stops(void **state)
{
    (void)state;
    struct alarm a = alarm_of(), b = alarm_of();
    order = 0;
    assert_int_equal(tr_timer_start(&a.timer, MS), TR_OK);
    assert_int_equal(tr_timer_start(&b.timer, 3 * MS), TR_OK);
    assert_int_equal(tr_timer_start(&a.timer, 5 * MS), TR_OK);
    assert_true(tr_timer_running(&a.timer));
    TURN_UNTIL(loop, a.fired);
    assert_int_equal(b.order, 1);
    assert_int_equal(a.order, 2);
    assert_int_equal(tr_timer_start(&a.timer, MS), TR_OK);
    tr_timer_stop(&a.timer);
    tr_timer_stop(&a.timer);
    assert_false(tr_timer_running(&a.timer));
    assert_int_equal(tr_timer_start(&b.timer, 3 * MS), TR_OK);
    TURN_UNTIL(loop, b.fired == 2);
    assert_int_equal(a.fired, 1);
}

static void timer_may_restart_itself_stop_and_start_others_inside_its_callback(void **state)
{
    (void)state;
    struct alarm a = alarm_of(), b = alarm_of(), c = alarm_of();
    a.again_ns = MS / 2;
    a.stop = &b;
    a.start = &c;
    assert_int_equal(tr_timer_start(&a.timer, MS), TR_OK);
    assert_int_equal(tr_timer_start(&b.timer, MS),
                     TR_OK); /* due in the same turn, but stopped by then */
    TURN_UNTIL(loop, a.fired == 3 && c.fired == 3);
    assert_int_equal(b.fired, 0);
}

static void timer_of_zero_that_restarts_itself_lets_the_loop_turn(void **state)
{
    (void)state;
    struct alarm a = alarm_of();
    a.again_ns = 1;
    assert_int_equal(tr_timer_start(&a.timer, 0), TR_OK);
    for (int turns = 1; a.fired < 3; turns++) {
        tr_loop_turn(loop, true);
        assert_true(a.fired <= 2 * turns); /* before and after its sleep */
        assert_true(turns < 10000);
    }
}

static void many_timers_come_out_of_the_heap_sorted(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct alarm all[COUNT];
    uint64_t seed = tr_test_seed();
    order = 0;
    for (int i = 0; i < COUNT; i++) {
        all[i] = alarm_of();
        assert_int_equal(tr_timer_start(&all[i].timer, tr_test_rand(&seed) % (3 * MS)), TR_OK);
    }
    for (int i = 0; i < COUNT; i += 3) /* a third stopped, a third moved */
        tr_timer_stop(&all[i].timer);
    for (int i = 1; i < COUNT; i += 3)
        assert_int_equal(tr_timer_start(&all[i].timer, tr_test_rand(&seed) % (3 * MS)), TR_OK);
    TURN_UNTIL(loop, order == COUNT - (COUNT + 2) / 3);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(all[i].fired, i % 3 ? 1 : 0);
        for (int k = i + 1; k < COUNT && i % 3; k++)
            if (k % 3 && all[i].timer.due_ns != all[k].timer.due_ns)
                assert_true((all[i].order < all[k].order) ==
                            (all[i].timer.due_ns < all[k].timer.due_ns));
    }
}

static void timer_start_says_when_the_heap_cannot_grow(void **state)
{
    (void)state;
    struct alarm a = alarm_of();
    tr_alloc_fail_after(1);
    enum tr_err err = tr_timer_start(&a.timer, MS);
    tr_alloc_fail_after(0);
    assert_int_equal(err, TR_ERR_NOMEM);
    assert_false(tr_timer_running(&a.timer));
    assert_int_equal(tr_timer_start(&a.timer, MS), TR_OK);
    uint64_t calls = tr_alloc_stats().calls;
    TURN_UNTIL(loop, a.fired);
    assert_int_equal(tr_alloc_stats().calls, calls);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, make_loop, free_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(timers_fire_in_order_of_due_time),
        LOOP_TEST(timer_never_fires_early),
        LOOP_TEST(timer_restarts_and_stops),
        LOOP_TEST(timer_may_restart_itself_stop_and_start_others_inside_its_callback),
        LOOP_TEST(timer_of_zero_that_restarts_itself_lets_the_loop_turn),
        LOOP_TEST(many_timers_come_out_of_the_heap_sorted),
        LOOP_TEST(timer_start_says_when_the_heap_cannot_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
