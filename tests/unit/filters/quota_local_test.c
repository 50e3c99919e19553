#include "filters/quota_local.h"

#include "base/alloc.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define SECOND UINT64_C(1000000000)

static struct tr_quota_local *table(uint32_t entries)
{
    struct tr_quota_local *t = NULL;
    assert_int_equal(tr_quota_local_new(entries, 99, &t), TR_OK);
    return t;
}

static struct tr_quota_ask quota(const char *key, uint32_t limit, uint64_t window_ns,
                                 uint32_t burst)
{
    return (struct tr_quota_ask){.gcra = tr_gcra_make(limit, window_ns, burst),
                                 .key = tr_span_cstr(key)};
}

static bool one(struct tr_quota_local *t, struct tr_quota_ask ask, uint64_t now)
{
    return tr_quota_local_check(t, &ask, 1, 1, now);
}

static void keys_have_counters_of_their_own(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    assert_true(one(t, quota("a", 1, SECOND, 1), 0));
    assert_false(one(t, quota("a", 1, SECOND, 1), 0));
    assert_true(one(t, quota("b", 1, SECOND, 1), 0));
    assert_true(one(t, quota("a", 1, SECOND, 1), SECOND));
    assert_false(one(t, quota("a", 1, SECOND, 1), SECOND));
    tr_quota_local_free(t);
}

static void a_look_charges_nothing(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    struct tr_quota_ask ask = quota("a", 2, SECOND, 2);
    for (int i = 0; i < 10; i++)
        assert_true(tr_quota_local_peek(t, &ask, 1, 0));
    assert_int_equal(ask.result.remaining, 2);
    assert_true(one(t, ask, 0) && one(t, ask, 0));
    assert_false(tr_quota_local_peek(t, &ask, 1, 0));
    assert_true(ask.result.retry_after_ns > 0 && ask.result.retry_after_ns <= SECOND / 2 + 1);
    assert_true(tr_quota_local_peek(t, &ask, 1, SECOND / 2 + 1));
    assert_false(tr_quota_local_peek(t, &ask, 2, SECOND / 2 + 1));
    tr_quota_local_free(t);
}

static void none_is_charged_when_one_refuses(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    struct tr_quota_ask asks[3];
    for (int round = 0; round < 5; round++) {
        asks[0] = quota("wide", 10, SECOND, 10);
        asks[1] = quota("narrow", 1, SECOND, 1);
        asks[2] = quota("last", 10, SECOND, 10);
        assert_int_equal(tr_quota_local_check(t, asks, 3, 1, 0), round == 0);
        assert_int_equal(asks[0].result.remaining, 9);
        assert_int_equal(asks[2].result.remaining, 9);
        assert_int_equal(asks[1].result.remaining, 0);
        assert_int_equal(asks[1].result.retry_after_ns != 0, round != 0);
        assert_int_equal(asks[0].result.retry_after_ns, 0);
    }
    uint32_t left = 0;
    while (one(t, quota("wide", 10, SECOND, 10), 0))
        left++;
    assert_int_equal(left, 9);
    tr_quota_local_free(t);
}

/* What a race does: each has room by itself, and not after the other. */
static void what_was_charged_before_another_refused_is_taken_back(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    struct tr_quota_ask asks[3] = {quota("other", 9, SECOND, 9), quota("one", 1, SECOND, 1),
                                   quota("one", 1, SECOND, 1)};
    assert_false(tr_quota_local_check(t, asks, 3, 1, 0));
    assert_int_equal(asks[0].result.remaining, 9);
    assert_true(asks[2].result.retry_after_ns > 0);
    assert_true(one(t, quota("one", 1, SECOND, 1), 0));
    for (int i = 0; i < 9; i++)
        assert_true(one(t, quota("other", 9, SECOND, 9), 0));
    assert_false(one(t, quota("other", 9, SECOND, 9), 0));
    tr_quota_local_free(t);
}

static void what_is_free_passes_and_takes_no_place(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(TR_QUOTA_WAYS);
    struct tr_quota_ask large = quota("k", 10, SECOND, 10), small = quota("k", 10, SECOND, 1);
    char key[16];
    assert_true(tr_quota_local_check(t, &large, 1, 10, 0));
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "free %d", i);
        struct tr_quota_ask free_one = quota(key, 1, SECOND, 1);
        assert_true(tr_quota_local_check(t, &free_one, 1, 0, 0));
        assert_int_equal(free_one.result.remaining, 1);
    }
    for (int i = 1; i < TR_QUOTA_WAYS; i++) { /* every place but one is free still */
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_true(one(t, quota(key, 1, SECOND, 1), 0));
    }
    assert_int_equal(tr_quota_local_evictions(t), 0);
    assert_false(tr_quota_local_check(t, &small, 1, 1, 0));
    assert_true(tr_quota_local_check(t, &small, 1, 0, 0)); /* though more is owed than it may */
    assert_true(small.result.allowed && small.result.retry_after_ns == 0);
    tr_quota_local_free(t);
}

static void undo_gives_back_what_was_charged(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    struct tr_quota_ask ask = quota("a", 5, SECOND, 5);
    assert_true(tr_quota_local_check(t, &ask, 1, 5, 0));
    tr_quota_local_undo(t, &ask, 1, 5);
    assert_true(tr_quota_local_check(t, &ask, 1, 5, 0));
    assert_false(tr_quota_local_check(t, &ask, 1, 1, 0));
    tr_quota_local_free(t);
}

/* The charge that is taken back was paid for meanwhile: what came after stands as it is. */
static void late_undo_gives_back_only_what_is_still_owed(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    struct tr_quota_ask first = quota("a", 1000, SECOND, 1), last = first;
    uint64_t ms = SECOND / 1000;
    assert_true(tr_quota_local_check(t, &first, 1, 1, 0));
    assert_true(one(t, quota("a", 1000, SECOND, 1), ms)); /* as if the first had never been */
    tr_quota_local_undo(t, &first, 1, 1);
    assert_false(one(t, quota("a", 1000, SECOND, 1), ms));
    assert_true(tr_quota_local_check(t, &last, 1, 1, 2 * ms));
    tr_quota_local_undo(t, &last, 1, 1); /* at once: all of it */
    assert_true(one(t, quota("a", 1000, SECOND, 1), 2 * ms));
    tr_quota_local_free(t);
}

/* The same against all histories: counters with and without the charge that is taken back. */
static void undo_never_lets_one_more_pass(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    for (int round = 0; round < 3000; round++) {
        struct tr_quota_local *t = table(8);
        uint64_t now = 0, interval = 100, tat = 0; /* of the model, which never saw the charge */
        uint32_t burst = 1 + (uint32_t)(tr_test_rand(&seed) % 4);
        struct tr_quota_ask taken = quota("a", 1, interval, burst);
        bool charged = false, undone = false;
        for (int i = 0; i < 20; i++) {
            now += tr_test_rand(&seed) % 120;
            if (!charged && tr_test_rand(&seed) % 4 == 0)
                charged = tr_quota_local_check(t, &taken, 1, 1, now);
            if (charged && !undone && tr_test_rand(&seed) % 4 == 0) {
                tr_quota_local_undo(t, &taken, 1, 1);
                undone = true;
            }
            bool got = one(t, quota("a", 1, interval, burst), now);
            uint64_t from = tat > now ? tat : now;
            bool may = from + interval <= now + interval * burst;
            assert_true(may || !got);
            if (got)
                tat = from + interval;
        }
        tr_quota_local_free(t);
    }
}

/* One bucket: idle counters make room, and what is not idle goes only when all are not. */
static void idle_keys_are_forgotten_and_the_idlest_is_evicted(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(TR_QUOTA_WAYS);
    char key[16];
    for (int i = 0; i < 100; i++) { /* each is paid for when the next one comes */
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_true(one(t, quota(key, 1, SECOND, 1), (uint64_t)i * SECOND));
    }
    assert_int_equal(tr_quota_local_evictions(t), 0);
    uint64_t now = 1000 * SECOND;
    for (int i = 0; i < TR_QUOTA_WAYS; i++) {
        (void)snprintf(key, sizeof key, "n%d", i);
        assert_true(one(t, quota(key, 1, (10 + (uint64_t)i) * SECOND, 1), now));
    }
    assert_int_equal(tr_quota_local_evictions(t), 0);
    assert_true(one(t, quota("one more", 1, 100 * SECOND, 1), now));
    assert_int_equal(tr_quota_local_evictions(t), 1);
    assert_true(one(t, quota("n0", 1, 10 * SECOND, 1), now)); /* it owed least: it starts anew */
    assert_false(one(t, quota("n7", 1, 17 * SECOND, 1), now));
    tr_quota_local_free(t);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    struct tr_quota_local *t = NULL;
    for (uint64_t n = 1; n <= 2; n++) {
        tr_alloc_fail_after(n);
        enum tr_err err = tr_quota_local_new(64, 1, &t);
        tr_alloc_fail_after(0);
        assert_int_equal(err, TR_ERR_NOMEM);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

struct hammer {
    struct tr_quota_local *t;
    _Atomic uint64_t *clock; /* fake: every ask moves it */
    _Atomic uint64_t *admitted;
    uint32_t keys, rounds, offset;
};

#define KEYS  4
#define STEP  UINT64_C(10000)
#define LIMIT 1000

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    char key[16];
    for (uint32_t i = 0; i < h->rounds; i++) {
        uint32_t k = (i + h->offset) % h->keys;
        (void)snprintf(key, sizeof key, "key %u", k);
        struct tr_quota_ask asks[2] = {quota(key, LIMIT, SECOND, 50),
                                       quota("never full", 1000000000, SECOND, 1000000000)};
        uint64_t now = atomic_fetch_add(h->clock, STEP);
        if (tr_quota_local_check(h->t, asks, 2, 1, now))
            (void)atomic_fetch_add(&h->admitted[k], 1);
    }
    return NULL;
}

static void threads_admit_never_one_more_and_lose_none(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(1024);
    _Atomic uint64_t clock = 0, admitted[KEYS] = {0};
    pthread_t threads[4];
    struct hammer hammers[4];
    for (uint32_t i = 0; i < 4; i++) {
        hammers[i] = (struct hammer){t, &clock, admitted, KEYS, 20000, i};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    uint64_t elapsed = atomic_load(&clock), most = 50 + elapsed * LIMIT / SECOND;
    for (int k = 0; k < KEYS; k++) {
        assert_true(atomic_load(&admitted[k]) <= most);
        /* each key is asked far more often than it may: all that was earned is spent, but for what
         * threads with an older time did not see */
        assert_true(atomic_load(&admitted[k]) + 10 >= most);
    }
    assert_int_equal(tr_quota_local_evictions(t), 0);
    tr_quota_local_free(t);
}

static void *first_ask(void *arg)
{
    struct hammer *h = arg;
    for (uint32_t i = 0; i < h->rounds; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "new %u", i);
        struct tr_quota_ask ask = quota(key, 1, 3600 * SECOND, 1);
        if (tr_quota_local_check(h->t, &ask, 1, 1, 0))
            (void)atomic_fetch_add(h->admitted, 1);
    }
    return NULL;
}

static void threads_that_bring_one_new_key_share_its_counter(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(65536);
    _Atomic uint64_t admitted = 0;
    pthread_t threads[4];
    struct hammer h = {t, NULL, &admitted, 0, 2000, 0};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, first_ask, &h), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&admitted), 2000);
    tr_quota_local_free(t);
}

/* Two quotas that requests need together or alone: each gives its burst, to the last one. */
static void *pairs(void *arg)
{
    struct hammer *h = arg;
    for (uint32_t i = 0; i < h->rounds; i++) {
        struct tr_quota_ask asks[3] = {quota("A", 1, 9999 * SECOND, 500),
                                       quota("B", 1, 9999 * SECOND, 300),
                                       quota("C", 1, 9999 * SECOND, 100)};
        uint32_t from = (i + h->offset) % 3, count = from ? 3 - from : 2 + i % 2;
        if (tr_quota_local_check(h->t, asks + from, count, 1, 0))
            for (uint32_t k = from; k < from + count; k++)
                (void)atomic_fetch_add(&h->admitted[k], 1);
    }
    return NULL;
}

static void quotas_asked_together_give_all_and_never_one_more(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(64);
    _Atomic uint64_t admitted[3] = {0};
    pthread_t threads[4];
    struct hammer hammers[4];
    for (uint32_t i = 0; i < 4; i++) {
        hammers[i] = (struct hammer){t, NULL, admitted, 0, 3000, i};
        assert_int_equal(pthread_create(&threads[i], NULL, pairs, &hammers[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(atomic_load(&admitted[0]) <= 500);
    for (int i = 0; i < 500; i++) /* what is left, alone: each once */
        admitted[0] += one(t, quota("A", 1, 9999 * SECOND, 500), 0);
    for (int i = 0; i < 300; i++)
        admitted[1] += one(t, quota("B", 1, 9999 * SECOND, 300), 0);
    for (int i = 0; i < 100; i++)
        admitted[2] += one(t, quota("C", 1, 9999 * SECOND, 100), 0);
    assert_int_equal(atomic_load(&admitted[0]), 500);
    assert_int_equal(atomic_load(&admitted[1]), 300);
    assert_int_equal(atomic_load(&admitted[2]), 100);
    tr_quota_local_free(t);
}

/* One bucket, and in each step eight keys that were not there, brought by all threads at once: the
 * idle ones of the step before make room, and each new key passes once. */
#define STEPS 400
struct churn {
    struct tr_quota_local *t;
    pthread_barrier_t *barrier;
    _Atomic uint64_t *admitted;
    uint32_t offset;
};

static void *churn(void *arg)
{
    struct churn *c = arg;
    for (uint32_t step = 0; step < STEPS; step++) {
        (void)pthread_barrier_wait(c->barrier);
        for (uint32_t i = 0; i < TR_QUOTA_WAYS; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "%u %u", step, (i * 3 + c->offset) % TR_QUOTA_WAYS);
            if (one(c->t, quota(key, 1, SECOND, 1), step * SECOND))
                (void)atomic_fetch_add(c->admitted, 1);
        }
    }
    return NULL;
}

static void keys_that_come_and_go_at_once_are_counted_exactly(void **state)
{
    (void)state;
    struct tr_quota_local *t = table(TR_QUOTA_WAYS);
    _Atomic uint64_t admitted = 0;
    pthread_barrier_t barrier;
    pthread_t threads[4];
    struct churn churns[4];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 4), 0);
    for (uint32_t i = 0; i < 4; i++) {
        churns[i] = (struct churn){t, &barrier, &admitted, i * 2};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&admitted), STEPS * TR_QUOTA_WAYS);
    assert_int_equal(tr_quota_local_evictions(t), 0);
    (void)pthread_barrier_destroy(&barrier);
    tr_quota_local_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_counters_of_their_own),
        cmocka_unit_test(a_look_charges_nothing),
        cmocka_unit_test(none_is_charged_when_one_refuses),
        cmocka_unit_test(what_was_charged_before_another_refused_is_taken_back),
        cmocka_unit_test(what_is_free_passes_and_takes_no_place),
        cmocka_unit_test(undo_gives_back_what_was_charged),
        cmocka_unit_test(late_undo_gives_back_only_what_is_still_owed),
        cmocka_unit_test(undo_never_lets_one_more_pass),
        cmocka_unit_test(idle_keys_are_forgotten_and_the_idlest_is_evicted),
        cmocka_unit_test(out_of_memory_is_told),
        cmocka_unit_test(threads_admit_never_one_more_and_lose_none),
        cmocka_unit_test(threads_that_bring_one_new_key_share_its_counter),
        cmocka_unit_test(quotas_asked_together_give_all_and_never_one_more),
        cmocka_unit_test(keys_that_come_and_go_at_once_are_counted_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
