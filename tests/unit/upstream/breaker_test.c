#include "upstream/breaker.h"

#include "test.h"

#include <pthread.h>

#define MS  ((uint64_t)1000000)
#define SEC ((uint64_t)1000000000)
#define MID 0x80000000u /* no jitter */

static const struct tr_breaker_conf conf = {.failure_ratio = 500000,
                                            .minimum_requests = 20,
                                            .window_ns = 10 * SEC,
                                            .open_for_ns = 5 * SEC,
                                            .probes = 3};

static struct tr_breaker b;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    memset(&b, 0, sizeof b);
    now = 1000 * SEC;
    return 0;
}

static uint32_t admit(void)
{
    uint32_t ticket = TR_BREAKER_NO_TICKET;
    assert_true(tr_breaker_admit(&b, &conf, now, &ticket));
    assert_int_not_equal(ticket, TR_BREAKER_NO_TICKET);
    return ticket;
}

static bool refused(void)
{
    uint32_t ticket = 77;
    bool admitted = tr_breaker_admit(&b, &conf, now, &ticket);
    assert_true(admitted || ticket == 77);
    return !admitted;
}

static bool call(bool failure)
{
    return tr_breaker_report(&b, &conf, admit(), failure, now, MID);
}

static void calls(unsigned count, bool failure)
{
    for (unsigned i = 0; i < count; i++)
        (void)call(failure);
}

static void open_it(void)
{
    calls(19, true);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    assert_true(call(true));
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_OPEN);
}

static void breaker_opens_at_the_ratio(void **state)
{
    (void)state;
    calls(11, false);
    calls(10, true);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED); /* 10 of 21 */
    assert_true(call(true));                                   /* 11 of 22 */
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_OPEN);
    assert_int_equal(b.opened, 1);
}

static void breaker_stays_closed_below_the_minimum(void **state)
{
    (void)state;
    calls(19, true);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    now += 11 * SEC; /* they are forgotten */
    calls(19, true);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    assert_true(call(true));
}

static void breaker_forgets_slice_by_slice(void **state)
{
    (void)state;
    uint64_t n, f;
    for (int i = 0; i < 10; i++) {
        calls(3, i % 3 == 2);
        now += SEC;
    }
    /* ten slices back there are the last nine of those, and the new one is empty */
    tr_breaker_window(&b, &conf, now, &n, &f);
    assert_int_equal(n, 27);
    assert_int_equal(f, 9);
    now += 4 * SEC;
    tr_breaker_window(&b, &conf, now, &n, &f);
    assert_int_equal(n, 15);
    assert_int_equal(f, 6);
    now += 100 * SEC;
    tr_breaker_window(&b, &conf, now, &n, &f);
    assert_int_equal(n, 0);
}

static void breaker_refuses_while_open_and_says_for_how_long(void **state)
{
    (void)state;
    open_it();
    assert_true(refused());
    assert_in_range(tr_breaker_wait_ns(&b, now), 5 * SEC - MS, 5 * SEC + MS);
    now += 4900 * MS;
    assert_true(refused());
    assert_in_range(tr_breaker_wait_ns(&b, now), 99 * MS, 102 * MS);
}

static void breaker_jitters_by_a_tenth(void **state)
{
    (void)state;
    const uint32_t ends[] = {0, UINT32_MAX};
    const uint64_t want[] = {4500 * MS, 5500 * MS};
    for (int i = 0; i < 2; i++) {
        setup(NULL);
        calls(19, true);
        assert_true(tr_breaker_report(&b, &conf, admit(), true, now, ends[i]));
        assert_in_range(tr_breaker_wait_ns(&b, now), want[i] - 2 * MS, want[i] + 2 * MS);
    }
}

static void breaker_lets_so_many_probes_through_and_closes(void **state)
{
    (void)state;
    open_it();
    now += 5001 * MS;
    uint32_t probes[3] = {admit(), admit(), admit()};
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_HALF_OPEN);
    assert_true(refused());
    (void)tr_breaker_report(&b, &conf, probes[0], false, now, MID);
    assert_true(refused()); /* in total, not at once */
    (void)tr_breaker_report(&b, &conf, probes[1], false, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_HALF_OPEN);
    (void)tr_breaker_report(&b, &conf, probes[2], false, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    assert_int_equal(tr_breaker_wait_ns(&b, now), 0);
    /* what failed before does not count any more */
    assert_false(call(true));
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

static void breaker_opens_again_when_a_probe_fails(void **state)
{
    (void)state;
    open_it();
    now += 5001 * MS;
    uint32_t good = admit(), bad = admit(), late = admit();
    (void)tr_breaker_report(&b, &conf, good, false, now, MID);
    assert_true(tr_breaker_report(&b, &conf, bad, true, now, MID));
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_OPEN);
    assert_true(refused());
    /* the others of that round say nothing any more */
    assert_false(tr_breaker_report(&b, &conf, late, false, now, MID));
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_OPEN);
    assert_int_equal(b.opened, 2);
}

static void breaker_gives_the_slot_of_a_cancelled_probe_back(void **state)
{
    (void)state;
    open_it();
    now += 5001 * MS;
    uint32_t probes[3] = {admit(), admit(), admit()};
    assert_true(refused());
    tr_breaker_abandon(&b, probes[1]);
    probes[1] = admit();
    assert_true(refused());
    for (int i = 0; i < 3; i++)
        (void)tr_breaker_report(&b, &conf, probes[i], false, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

static void breaker_tries_anew_when_probes_do_not_end(void **state)
{
    (void)state;
    open_it();
    now += 5001 * MS;
    uint32_t old[3] = {admit(), admit(), admit()};
    now += 4900 * MS;
    assert_true(refused());
    now += 200 * MS;
    uint32_t probes[3] = {admit(), admit(), admit()};
    assert_true(refused());
    tr_breaker_abandon(&b, old[0]); /* of another round: no slot of this one */
    assert_true(refused());
    tr_breaker_abandon(&b, probes[0]);
    probes[0] = admit();
    assert_true(refused());
    for (int i = 0; i < 3; i++)
        (void)tr_breaker_report(&b, &conf, probes[i], false, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    assert_false(tr_breaker_report(&b, &conf, old[1], true, now, MID)); /* of another time */
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

/* A backend whose every answer takes longer than open_for. */
static void breaker_closes_by_probes_that_take_longer_than_a_round(void **state)
{
    (void)state;
    open_it();
    now += 5001 * MS;
    uint32_t first[3] = {admit(), admit(), admit()};
    now += 5001 * MS;
    uint32_t second[2] = {admit(), admit()};
    (void)tr_breaker_report(&b, &conf, first[0], false, now, MID);
    (void)tr_breaker_report(&b, &conf, first[1], false, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_HALF_OPEN);
    now += 5001 * MS; /* what succeeded is not asked for again */
    (void)admit();
    assert_true(refused());
    (void)tr_breaker_report(&b, &conf, second[0], false, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    (void)tr_breaker_report(&b, &conf, second[1], true, now, MID);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

/* A backend that hangs: each probe fails by a deadline that is later than open_for. */
static void breaker_opens_again_by_a_late_probe(void **state)
{
    (void)state;
    open_it();
    now += 5001 * MS;
    uint32_t first = admit();
    for (int round = 0; round < 3000; round++) { /* rounds wrap */
        now += 5001 * MS;
        (void)admit();
    }
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_HALF_OPEN);
    assert_true(tr_breaker_report(&b, &conf, first, true, now, MID));
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_OPEN);
    assert_true(refused());
    assert_int_equal(b.opened, 2);
}

static void breaker_does_not_count_calls_of_before(void **state)
{
    (void)state;
    uint32_t slow[30];
    for (int i = 0; i < 30; i++)
        slow[i] = admit();
    open_it();
    for (int i = 0; i < 10; i++)
        assert_false(tr_breaker_report(&b, &conf, slow[i], false, now, MID));
    now += 5001 * MS;
    for (int i = 0; i < 3; i++)
        (void)call(false);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
    for (int i = 10; i < 30; i++)
        assert_false(tr_breaker_report(&b, &conf, slow[i], true, now, MID));
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

static void breaker_ignores_calls_without_a_ticket(void **state)
{
    (void)state;
    uint64_t n, f;
    for (int i = 0; i < 100; i++)
        assert_false(tr_breaker_report(&b, &conf, TR_BREAKER_NO_TICKET, true, now, MID));
    tr_breaker_abandon(&b, TR_BREAKER_NO_TICKET);
    tr_breaker_window(&b, &conf, now, &n, &f);
    assert_int_equal(n, 0);
}

static void breaker_keeps_the_ratio_when_a_slice_is_full(void **state)
{
    (void)state;
    uint64_t n, f;
    uint32_t ticket = admit();
    const struct tr_breaker_conf high = {.failure_ratio = 900000,
                                         .minimum_requests = 20,
                                         .window_ns = 10 * SEC,
                                         .open_for_ns = SEC,
                                         .probes = 1};
    for (int i = 0; i < 3000000; i++)
        (void)tr_breaker_report(&b, &high, ticket, i % 4 == 0, now, MID);
    tr_breaker_window(&b, &conf, now, &n, &f);
    assert_in_range(n, 200000, 1048575);
    assert_in_range(f * 1000 / n, 249, 251);
}

/* For a while that is long to the clock: generations wrap, and it goes on. */
static void breaker_lives_through_many_rounds(void **state)
{
    (void)state;
    open_it();
    for (int i = 0; i < 1100000; i++) {
        now += 5001 * MS;
        assert_true(tr_breaker_report(&b, &conf, admit(), true, now, MID));
        if (i % 1000 == 0)
            assert_true(refused());
    }
    now += 5001 * MS;
    calls(3, false);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS  20000

static _Atomic uint32_t in_flight, most_in_flight, go;
static const struct tr_breaker_conf fast = {.failure_ratio = 500000,
                                            .minimum_requests = 20,
                                            .window_ns = 10 * SEC,
                                            .open_for_ns = SEC,
                                            .probes = 3};

static void *count_calls(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    uint32_t ticket;
    for (int i = 0; i < ROUNDS; i++) {
        assert_true(tr_breaker_admit(&b, &conf, now, &ticket));
        (void)tr_breaker_report(&b, &conf, ticket, tr_test_rand(&seed) % 10 == 0, now, MID);
    }
    return NULL;
}

static void breaker_counts_each_call_of_all_threads_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t n, f;
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_calls, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    tr_breaker_window(&b, &conf, now, &n, &f);
    assert_int_equal(n, THREADS * ROUNDS);
    assert_in_range(f, n / 10 - n / 100, n / 10 + n / 100);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_CLOSED);
}

static void *probe(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    uint32_t ticket;
    while (!atomic_load(&go))
        ;
    for (int i = 0; i < ROUNDS; i++) {
        if (!tr_breaker_admit(&b, &fast, now, &ticket))
            continue;
        uint32_t n = atomic_fetch_add(&in_flight, 1) + 1, most = atomic_load(&most_in_flight);
        while (n > most && !atomic_compare_exchange_weak(&most_in_flight, &most, n))
            ;
        (void)atomic_fetch_sub(&in_flight, 1);
        if (tr_test_rand(&seed) % 2)
            tr_breaker_abandon(&b, ticket);
        /* else it stays in flight for good: its slot is taken */
    }
    return NULL;
}

static void breaker_never_lets_more_probes_through_than_it_may(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint32_t ticket, left = 0;
    for (int i = 0; i < 20; i++) {
        assert_true(tr_breaker_admit(&b, &fast, now, &ticket));
        (void)tr_breaker_report(&b, &fast, ticket, true, now, MID);
    }
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_OPEN);
    now += 1100 * MS; /* the clock stands still from here: one round of probes */
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, probe, (void *)(i + 1)), 0);
    atomic_store(&go, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(tr_breaker_state(&b), TR_BREAKER_HALF_OPEN);
    assert_in_range(atomic_load(&most_in_flight), 1, 3);
    while (tr_breaker_admit(&b, &fast, now, &ticket))
        left++;
    assert_in_range(left, 0, 3);
}

/* Whoever sees it, it opens once. */
static void *fail_calls(void *arg)
{
    _Atomic uint32_t *opened = arg;
    uint32_t ticket;
    for (int i = 0; i < 1000; i++) {
        if (tr_breaker_admit(&b, &conf, now, &ticket) &&
            tr_breaker_report(&b, &conf, ticket, true, now, MID))
            (void)atomic_fetch_add(opened, 1);
    }
    return NULL;
}

static void breaker_opens_once_whoever_sees_it(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    _Atomic uint32_t opened = 0;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fail_calls, &opened), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(opened, 1);
    assert_int_equal(b.opened, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(breaker_opens_at_the_ratio, setup),
        cmocka_unit_test_setup(breaker_stays_closed_below_the_minimum, setup),
        cmocka_unit_test_setup(breaker_forgets_slice_by_slice, setup),
        cmocka_unit_test_setup(breaker_refuses_while_open_and_says_for_how_long, setup),
        cmocka_unit_test_setup(breaker_jitters_by_a_tenth, setup),
        cmocka_unit_test_setup(breaker_lets_so_many_probes_through_and_closes, setup),
        cmocka_unit_test_setup(breaker_opens_again_when_a_probe_fails, setup),
        cmocka_unit_test_setup(breaker_gives_the_slot_of_a_cancelled_probe_back, setup),
        cmocka_unit_test_setup(breaker_tries_anew_when_probes_do_not_end, setup),
        cmocka_unit_test_setup(breaker_closes_by_probes_that_take_longer_than_a_round, setup),
        cmocka_unit_test_setup(breaker_opens_again_by_a_late_probe, setup),
        cmocka_unit_test_setup(breaker_does_not_count_calls_of_before, setup),
        cmocka_unit_test_setup(breaker_ignores_calls_without_a_ticket, setup),
        cmocka_unit_test_setup(breaker_keeps_the_ratio_when_a_slice_is_full, setup),
        cmocka_unit_test_setup(breaker_lives_through_many_rounds, setup),
        cmocka_unit_test_setup(breaker_counts_each_call_of_all_threads_once, setup),
        cmocka_unit_test_setup(breaker_never_lets_more_probes_through_than_it_may, setup),
        cmocka_unit_test_setup(breaker_opens_once_whoever_sees_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
