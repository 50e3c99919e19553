#include "io/loop.h"

#include "test.h"
#include "turn.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
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

/* -- timers ----------------------------------------------------------------------------------- */
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

/* -- mailbox ---------------------------------------------------------------------------------- */
enum { SENDERS = 4, LETTERS = 2000 };
struct letter {
    struct tr_mail mail;
    int sender, number;
};
struct reader {
    int last[SENDERS], count;
    pthread_t thread;
};

static void on_letter(struct tr_mail *mail, void *ctx)
{
    struct letter *l = tr_container_of(mail, struct letter, mail);
    struct reader *r = ctx;
    assert_true(pthread_equal(r->thread, pthread_self()));
    assert_int_equal(l->number, r->last[l->sender] + 1); /* in order of posting */
    r->last[l->sender] = l->number;
    r->count++;
    free(l);
}

struct sender {
    struct tr_mailbox *box;
    int id;
};

static void *send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 1; i <= LETTERS; i++) {
        struct letter *l = malloc(sizeof *l);
        *l = (struct letter){{NULL, on_letter}, s->id, i};
        tr_mailbox_post(s->box, &l->mail);
    }
    return NULL;
}

static void mailbox_delivers_from_several_threads_in_order(void **state)
{
    (void)state;
    struct reader reader = {.thread = pthread_self()};
    struct tr_mailbox *box;
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    assert_int_equal(tr_mailbox_new(loop, &reader, &box), TR_OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){box, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
    }
    TURN_UNTIL(loop, reader.count == SENDERS * LETTERS);
    for (int i = 0; i < SENDERS; i++)
        (void)pthread_join(threads[i], NULL);
    tr_mailbox_free(box);
}

static void mailbox_delivers_what_waits_when_it_is_freed(void **state)
{
    (void)state;
    struct reader reader = {.thread = pthread_self()};
    struct tr_mailbox *box;
    assert_int_equal(tr_mailbox_new(loop, &reader, &box), TR_OK);
    struct sender s = {box, 0};
    (void)send_letters(&s);
    tr_mailbox_free(box);
    assert_int_equal(reader.count, LETTERS);
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
        LOOP_TEST(timers_fire_in_order_of_due_time),
        LOOP_TEST(timer_never_fires_early),
        LOOP_TEST(timer_restarts_and_stops),
        LOOP_TEST(timer_may_restart_itself_stop_and_start_others_inside_its_callback),
        LOOP_TEST(timer_of_zero_that_restarts_itself_lets_the_loop_turn),
        LOOP_TEST(many_timers_come_out_of_the_heap_sorted),
        LOOP_TEST(timer_start_says_when_the_heap_cannot_grow),
        LOOP_TEST(tasks_run_once_at_the_end_of_the_turn),
        LOOP_TEST(tasks_deferred_by_timers_run_before_the_loop_sleeps),
        LOOP_TEST(now_is_read_once_per_turn),
        LOOP_TEST(lag_tells_how_late_a_turn_began),
        LOOP_TEST(run_ends_with_stop),
        LOOP_TEST(mailbox_delivers_from_several_threads_in_order),
        LOOP_TEST(mailbox_delivers_what_waits_when_it_is_freed),
        LOOP_TEST(signal_runs_on_the_loop),
        cmocka_unit_test(making_a_loop_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
