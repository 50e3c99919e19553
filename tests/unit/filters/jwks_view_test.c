/* Views on threads of their own: what tests of one thread cannot show, for the thread sanitizer. */
#include "base/log.h"
#include "jwks_world.h"
#include "test.h"

#include <pthread.h>

#define ROUNDS 200

struct worker {
    pthread_t thread;
    struct tr_loop *loop;
    struct tr_mailbox *box;
    struct tr_jwks_view view;
    struct asker asker;
    struct tr_timer tick;
    int waits, rounds;
    uint64_t generations; /* how often the set was another */
    bool done;            /* atomic */
};

static struct worker workers[VIEWS];
static const char *const rotation[] = {WORLD_KEYS("a"), WORLD_KEYS("b"), WORLD_BROKEN};
static int turn;

static const char *rotating(struct peer *p, const char *target)
{
    (void)p, (void)target;
    return rotation[turn++ % 3];
}

static void on_tick(struct tr_timer *timer)
{
    (void)timer;
}

/* Asks again and again, as requests with unknown kids would, and reads the set between. */
static void *work(void *arg)
{
    struct worker *w = arg;
    uint64_t last = 0;
    for (; w->rounds < ROUNDS; w->rounds++) {
        enum tr_jwks_ask what = w->view.set ? TR_JWKS_ASK_KID : TR_JWKS_ASK_KEYS;
        w->asker.woken = 0;
        bool waits = tr_jwks_view_wait(&w->view, &w->asker.waiter, what, asker_woken,
                                       tr_loop_now_ns(w->loop)) == TR_JWKS_WAIT;
        w->waits += waits;
        do {
            (void)tr_timer_start(&w->tick, MS);
            tr_loop_turn(w->loop, true);
        } while (waits && !w->asker.woken);
        if (w->view.set && tr_jwks_generation(w->view.set) != last) {
            last = tr_jwks_generation(w->view.set);
            w->generations++;
            (void)(knows(&w->view, "a") || knows(&w->view, "b"));
        }
    }
    tr_timer_stop(&w->tick);
    __atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
    return NULL;
}

static bool all_done(void)
{
    bool done = true;
    for (int i = 0; i < VIEWS; i++)
        done = done && __atomic_load_n(&workers[i].done, __ATOMIC_ACQUIRE);
    return done;
}

static void workers_see_what_the_control_thread_publishes(void **state)
{
    (void)state;
    source.schedule.unknown_kid_interval_ns = MS;
    source.schedule.refresh_interval_ns = SECOND / 10;
    issuer.answer = rotating;
    memset(workers, 0, sizeof workers);
    assert_int_equal(tr_jwks_refresh_new(&control, &source, &refresh, NULL), TR_OK);
    for (int i = 0; i < VIEWS; i++) {
        struct worker *w = &workers[i];
        assert_int_equal(tr_loop_new(&w->loop), TR_OK);
        assert_int_equal(tr_mailbox_new(w->loop, NULL, &w->box), TR_OK);
        assert_int_equal(tr_jwks_view_init(&w->view, refresh, w->box, control_box), TR_OK);
        tr_timer_init(&w->tick, w->loop, on_tick);
    }
    for (int i = 0; i < VIEWS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    struct tr_timer tick;
    tr_timer_init(&tick, loop, on_tick);
    while (!all_done()) {
        (void)tr_timer_start(&tick, MS);
        tr_loop_turn(loop, true);
        struct tr_jwks_refresh_stats stats = tr_jwks_refresh_stats(refresh);
        assert_true(stats.waiters <= VIEWS);
    }
    tr_timer_stop(&tick);
    for (int i = 0; i < VIEWS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_int_equal(workers[i].rounds, ROUNDS);
        assert_true(workers[i].waits > 1);
        assert_true(workers[i].generations > 1);
    }
}

/* As world_close, with the workers' own loops. */
static int close_threads(void **state)
{
    tr_mailbox_free(control_box);
    tr_jwks_refresh_free(refresh);
    for (int i = 0; i < VIEWS; i++) {
        tr_mailbox_free(workers[i].box);
        tr_jwks_view_fini(&workers[i].view);
        tr_loop_free(workers[i].loop);
    }
    refresh = NULL;
    return tr_mailbox_new(loop, NULL, &control_box) || world_close(state);
}

static int quiet(void **state)
{
    (void)state;
    tr_log_set_level(TR_LOG_ERROR);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(workers_see_what_the_control_thread_publishes, world_open,
                                        close_threads),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
