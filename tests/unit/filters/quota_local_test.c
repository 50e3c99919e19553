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
    for (uint64_t n = 1; n <= 3; n++) {
        tr_alloc_fail_after(n);
        enum tr_err err = tr_quota_local_new(64, 1, &t);
        tr_alloc_fail_after(0);
        assert_int_equal(err, TR_ERR_NOMEM);
    }
}

/* ---- threads ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_have_counters_of_their_own),
        cmocka_unit_test(none_is_charged_when_one_refuses),
        cmocka_unit_test(undo_gives_back_what_was_charged),
        cmocka_unit_test(idle_keys_are_forgotten_and_the_idlest_is_evicted),
        cmocka_unit_test(out_of_memory_is_told),
        cmocka_unit_test(threads_admit_never_one_more_and_lose_none),
        cmocka_unit_test(threads_that_bring_one_new_key_share_its_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
