#include "io/loop.h"

#include "test.h"
#include "turn.h"

#include <signal.h>
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
    int fired;
};

static void on_alarm(struct tr_timer *timer)
{
    tr_container_of(timer, struct alarm, timer)->fired++;
}

static struct alarm alarm_of(void)
{
    struct alarm a = {.fired = 0};
    tr_timer_init(&a.timer, loop, on_alarm);
    return a;
}

/* -- tasks ------------------------------------------------------------------------------------ */
struct job {
    struct tr_task task;
    int ran;
    int turn;
    struct job *defer, *cancel;
};
static int turn_number;

static void on_job(struct tr_task *task)
{
    struct job *j = tr_container_of(task, struct job, task);
    j->ran++;
    j->turn = turn_number;
    if (j->defer)
        tr_loop_defer(loop, &j->defer->task);
    if (j->cancel)
        tr_task_cancel(&j->cancel->task);
}

static void job_init(struct job *j)
{
    *j = (struct job){.ran = 0};
    tr_task_init(&j->task, on_job);
}

static void tasks_run_once_at_the_end_of_the_turn(void **state)
{
    (void)state;
    struct job a, b, c;
    job_init(&a), job_init(&b), job_init(&c);
    a.defer = &b; /* runs in the same end of turn */
    a.cancel = &c;
    turn_number = 1;
    tr_loop_defer(loop, &a.task);
    tr_loop_defer(loop, &a.task);
    tr_loop_defer(loop, &c.task);
    assert_int_equal(a.ran, 0);
    tr_loop_turn(loop, false);
    assert_int_equal(a.ran, 1);
    assert_int_equal(b.ran, 1);
    assert_int_equal(b.turn, 1);
    assert_int_equal(c.ran, 0);
    turn_idle(loop);
    assert_int_equal(a.ran, 1);
}

static struct job from_timer;
static void on_defer_alarm(struct tr_timer *timer)
{
    (void)timer;
    tr_loop_defer(loop, &from_timer.task);
}

static void tasks_deferred_by_timers_run_before_the_loop_sleeps(void **state)
{
    (void)state;
    struct tr_timer timer;
    job_init(&from_timer);
    tr_timer_init(&timer, loop, on_defer_alarm);
    assert_int_equal(tr_timer_start(&timer, 0), TR_OK);
    struct alarm late = alarm_of();
    assert_int_equal(tr_timer_start(&late.timer, 50 * MS), TR_OK);
    tr_loop_turn(loop, false); /* a turn that does not wait has run both */
    assert_int_equal(from_timer.ran, 1);
    assert_int_equal(late.fired, 0);
    tr_timer_stop(&late.timer);
}

/* -- clocks ----------------------------------------------------------------------------------- */
static uint64_t first_now, second_now;
static void on_clock(struct tr_timer *timer)
{
    first_now = tr_loop_now_ns(timer->loop);
    uint64_t from = real_now();
    while (real_now() - from < MS)
        continue;
    second_now = tr_loop_now_ns(timer->loop);
}

static void now_is_read_once_per_turn(void **state)
{
    (void)state;
    struct tr_timer timer;
    tr_timer_init(&timer, loop, on_clock);
    first_now = 0;
    assert_int_equal(tr_timer_start(&timer, 0), TR_OK);
    TURN_UNTIL(loop, first_now != 0);
    assert_true(first_now == second_now);
    assert_true(tr_loop_now_ns(loop) > second_now);
    int64_t unix_s = tr_loop_unix_s(loop);
    assert_true(unix_s >= time(NULL) - 5 && unix_s <= time(NULL) + 1);
}

static void lag_tells_how_late_a_turn_began(void **state)
{
    (void)state;
    struct alarm a = alarm_of();
    assert_int_equal(tr_timer_start(&a.timer, MS), TR_OK);
    uint64_t from = real_now();
    while (real_now() - from < 6 * MS)
        continue;
    tr_loop_turn(loop, false);
    assert_int_equal(a.fired, 1);
    assert_true(tr_loop_lag_ns(loop) >= 4 * MS);
    tr_loop_turn(loop, false);
    assert_true(tr_loop_lag_ns(loop) == 0);
}

static void on_stop(struct tr_timer *timer)
{
    tr_loop_stop(timer->loop);
}

static void run_ends_with_stop(void **state)
{
    (void)state;
    struct tr_timer timer;
    tr_timer_init(&timer, loop, on_stop);
    assert_int_equal(tr_timer_start(&timer, MS), TR_OK);
    tr_loop_run(loop);
    assert_int_equal(tr_timer_start(&timer, MS), TR_OK);
    tr_loop_run(loop);
    assert_false(tr_timer_running(&timer));
}

/* -- signals ---------------------------------------------------------------------------------- */
static int signals;
static void on_signal(int signum, void *ctx)
{
    assert_int_equal(signum, SIGUSR1);
    assert_ptr_equal(ctx, &signals);
    signals++;
}

static void signal_runs_on_the_loop(void **state)
{
    (void)state;
    signals = 0;
    assert_int_equal(tr_loop_on_signal(loop, SIGUSR1, on_signal, &signals), TR_OK);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(signals, 0);
    TURN_UNTIL(loop, signals == 1);
}

static void making_a_loop_survives_each_failing_allocation(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct tr_loop *other = NULL;
        struct tr_mailbox *box = NULL;
        tr_alloc_fail_after(n);
        enum tr_err err = tr_loop_new(&other);
        if (!err)
            err = tr_mailbox_new(other, NULL, &box);
        tr_alloc_fail_after(0);
        tr_mailbox_free(box);
        tr_loop_free(other);
        if (!err)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 100);
    }
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, make_loop, free_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(tasks_run_once_at_the_end_of_the_turn),
        LOOP_TEST(tasks_deferred_by_timers_run_before_the_loop_sleeps),
        LOOP_TEST(now_is_read_once_per_turn),
        LOOP_TEST(lag_tells_how_late_a_turn_began),
        LOOP_TEST(run_ends_with_stop),
        LOOP_TEST(signal_runs_on_the_loop),
        cmocka_unit_test(making_a_loop_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
