/* The breaker, outliers, rings and health of a cluster against backends on loopback. */
#include "test.h"
#include "upstream/eslot.h"
#include "upstream_world.h"

#define MS  ((uint64_t)1000000)
#define SEC ((uint64_t)1000000000)

static struct world w;

static struct tr_breaker_conf breaker = {.failure_ratio = 500000,
                                         .minimum_requests = 3,
                                         .window_ns = 60 * SEC,
                                         .open_for_ns = 60 * SEC,
                                         .probes = 1};
static struct tr_outlier_conf outlier = {2, 60 * SEC, 50};
static struct tr_health_conf health = {20 * MS, 5 * SEC, {NULL, 0}};
static struct tr_eslot slots[16];

static int setup(void **state)
{
    (void)state;
    w_init(&w);
    memset(slots, 0, sizeof slots);
    breaker.open_for_ns = 60 * SEC;
    health.timeout_ns = 5 * SEC;
    w.shared.slots = slots;
    w.shared.slot_count = 16;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    w_fini(&w);
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SEC + (uint64_t)ts.tv_nsec;
}

/* Turns until what the condition says, for at most ten seconds. */
#define turn_until(condition)                                                                      \
    do {                                                                                           \
        uint64_t end_ = now_ns() + 10 * SEC;                                                       \
        while (!(condition) && now_ns() < end_)                                                    \
            w_step(&w);                                                                            \
        assert_true(condition);                                                                    \
    } while (0)

/* A call that stands with a backend that holds it. */
static struct test_call *held_call(void)
{
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(tc->err, TR_OK);
    turn_until(tc->call.endpoint != NULL);
    return tc;
}

static void cancel(struct test_call *tc)
{
    tr_ucall_cancel(&tc->call);
    tc->ends = 1;
}

static void fail_by_deadline(struct test_call *tc)
{
    tr_ucall_report_err(&tc->call, TR_ERR_DEADLINE);
    cancel(tc);
}

static void world_of(enum backend_kind kind, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        (void)w_backend(&w, kind, 1);
}

/* ---- breaker --------------------------------------------------------------------------------- */

static void breaker_counts_what_found_no_connection(void **state)
{
    (void)state;
    struct backend *b = w_backend(&w, B_ECHO, 1);
    backend_stop(b);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (int i = 0; i < 3; i++)
        (void)w_call(&w, "x");
    assert_int_equal(w_until(&w, 3, 5000), 3);
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(tc->err, TR_ERR_BREAKER_OPEN);
    assert_int_equal(w.shared.active, 0);
    assert_int_equal(tr_cluster_stats(w.cluster)->breaker_refused, 1);
    assert_in_range(tr_cluster_retry_after_ns(w.cluster), 50 * SEC, 67 * SEC);
    struct tr_upstream_state st = tr_upstream_state(&w.upstream, now_ns());
    assert_int_equal(st.breaker, 2);
    assert_int_equal(st.breaker_opened, 1);
}

static void breaker_counts_our_deadline_and_no_cancel(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (int i = 0; i < 10; i++)
        cancel(held_call());
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
        fail_by_deadline(held_call());
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 2);
}

static void breaker_takes_the_first_report_of_an_attempt(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (int i = 0; i < 5; i++) {
        struct test_call *tc = held_call();
        tr_ucall_report(&tc->call, 4, false); /* the backend's own */
        fail_by_deadline(tc);
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
    for (int i = 0; i < 5; i++) {
        struct test_call *tc = held_call();
        tr_ucall_report_err(&tc->call, TR_ERR_BODY_TIMEOUT); /* the client's fault */
        cancel(tc);
        fail_by_deadline(tc); /* it is over */
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
}

static void breaker_does_not_count_hasty_clients(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (int i = 0; i < 10; i++) {
        struct test_call *tc = held_call();
        tc->call.hasty = true;
        tc->call.start_ns = tr_loop_now_ns(w.loop); /* whatever the connection took */
        fail_by_deadline(tc);
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
    for (int i = 0; i < 3; i++) {
        struct test_call *tc = held_call();
        tc->call.hasty = true;
        tc->call.start_ns = tr_loop_now_ns(w.loop) - TR_CALL_PATIENCE_NS;
        fail_by_deadline(tc);
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 2);
}

/* Of a client that does not finish its request; but what the backend does not read is its affair.
 */
static void breaker_does_not_count_what_waits_for_the_client(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    cancel(held_call()); /* connected */
    for (unsigned i = 0; i < 9; i++) {
        struct test_call *tc = w_call_prepare(&w, "half of it");
        assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
        tr_ucall_commit(&tc->call, false);
        if (i < 6)
            turn_until(tc->call.req_pos == tc->req.len);
        assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
        fail_by_deadline(tc);
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 2);
}

/* The time of a stream is over: that it began says that the backend works. */
static void breaker_does_not_count_streams_whose_time_is_over(void **state)
{
    (void)state;
    struct backend *b = w_backend(&w, B_RAW, 1);
    f_settings(&b->script, NULL, 0);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (uint32_t i = 0; i < 5; i++) {
        struct test_call *tc = held_call();
        tc->call.has_data = true;
        fail_by_deadline(tc);
    }
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
}

static void breaker_counts_unary_answers_without_a_message(void **state)
{
    (void)state;
    world_of(B_ECHO, 1);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (unsigned i = 0; i < 4; i++) {
        struct test_call *tc = w_call_prepare(&w, "");
        tc->call.unary = i >= 2; /* an empty stream is an answer */
        assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
        tr_ucall_commit(&tc->call, true);
        turn_until(tc->ends);
        assert_int_equal(tc->err, TR_OK);
        assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, i == 3 ? 2 : 0);
    }
}

static void breaker_counts_resets(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (int i = 0; i < 3; i++)
        (void)held_call();
    turn_until(w.backends[0].held_count == 3);
    backend_stop(&w.backends[0]);
    assert_int_equal(w_until(&w, 3, 5000), 3);
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 2);
}

static void breaker_probe_that_a_bound_refuses_is_no_probe(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    breaker.open_for_ns = 10 * MS;
    w.conf.breaker = &breaker;
    w_cluster(&w);
    for (int i = 0; i < 3; i++)
        fail_by_deadline(held_call());
    struct timespec nap = {0, 20000000};
    (void)nanosleep(&nap, NULL);
    breaker.open_for_ns = 60 * SEC; /* of the round of probes that begins now */
    w_step(&w);
    w.conf.max_requests = 0;
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_ACTIVE);
    w.conf.max_requests = 10;
    struct test_call *left = w_call(&w, "x");
    assert_int_equal(left->err, TR_OK); /* the slot is free again */
    assert_int_equal(w_call(&w, "x")->err, TR_ERR_BREAKER_OPEN);
    cancel(left); /* and again */
    tc = w_call(&w, "x");
    assert_int_equal(tc->err, TR_OK);
    w.backends[0].kind = B_ECHO;
    turn_until(tc->ends);
    assert_int_equal(tr_upstream_state(&w.upstream, 0).breaker, 0);
}

/* ---- outliers -------------------------------------------------------------------------------- */

/* One call: fails when it went to `bad`, else succeeds. */
static void call_but(const struct tr_endpoint_conf *bad)
{
    struct test_call *tc = held_call();
    if (tc->call.endpoint == bad)
        tr_ucall_report_err(&tc->call, TR_ERR_DEADLINE);
    else
        tr_ucall_report(&tc->call, 0, false);
    cancel(tc);
}

/* Fails calls of one endpoint until it is out. */
static void eject(const struct tr_endpoint_conf *bad)
{
    for (int i = 0; i < 100 && tr_cluster_stats(w.cluster)->ejections == 0; i++)
        call_but(bad);
    assert_int_equal(tr_cluster_stats(w.cluster)->ejections, 1);
}

static void outlier_gets_no_calls_of_any_worker(void **state)
{
    (void)state;
    world_of(B_HOLD, 3);
    w.conf.outlier = &outlier;
    w_cluster(&w);
    eject(&w.endpoints[1]);
    struct tr_cluster *mine = w.cluster;
    w_cluster(&w); /* another worker */
    for (int i = 0; i < 30; i++) {
        struct test_call *tc = held_call();
        assert_ptr_not_equal(tc->call.endpoint, &w.endpoints[1]);
        cancel(tc);
    }
    tr_cluster_free(mine);
    assert_int_equal(tr_upstream_state(&w.upstream, now_ns()).ejected, 1);
}

static void outlier_comes_back_with_slow_start(void **state)
{
    (void)state;
    world_of(B_HOLD, 2);
    struct tr_outlier_conf brief = {2, 30 * MS, 50};
    w.conf.outlier = &brief;
    w.conf.slow_start_ns = 3600 * SEC;
    w_cluster(&w);
    eject(&w.endpoints[0]);
    turn_until(tr_upstream_state(&w.upstream, now_ns()).ejected == 0);
    unsigned back = 0;
    for (int i = 0; i < 100; i++) {
        struct test_call *tc = held_call();
        back += tc->call.endpoint == &w.endpoints[0];
        cancel(tc);
    }
    assert_in_range(back, 1, 25); /* a tenth of a half is 5; without slow start 50 */
}

static void slow_start_follows_a_connect_that_succeeds_again(void **state)
{
    (void)state;
    world_of(B_HOLD, 2);
    w.conf.slow_start_ns = 3600 * SEC;
    backend_stop(&w.backends[0]);
    w_cluster(&w);
    for (int i = 0; i < 8; i++)
        cancel(held_call());
    turn_until(tr_cluster_stats(w.cluster)->connect_failures > 0);
    backend_listen(&w.backends[0], &w.backends[0].addr);
    turn_until(tr_cluster_stats(w.cluster)->endpoints_up == 2);
    unsigned back = 0;
    for (int i = 0; i < 100; i++) {
        struct test_call *tc = held_call();
        back += tc->call.endpoint == &w.endpoints[0];
        cancel(tc);
    }
    assert_in_range(back, 1, 25); /* a tenth of a half is 5; without slow start 50 */
}

static void outlier_knowledge_goes_with_the_endpoints(void **state)
{
    (void)state;
    world_of(B_HOLD, 2);
    w.conf.outlier = &outlier;
    w_cluster(&w);
    eject(&w.endpoints[0]);
    tr_cluster_free(w.cluster);
    w.cluster = NULL;
    assert_int_equal(w.shared.ejected, 0);
    assert_int_equal(tr_upstream_state(&w.upstream, now_ns()).ejected, 0);
}

static void outlier_without_a_table_is_each_workers_own(void **state)
{
    (void)state;
    world_of(B_HOLD, 2);
    w.conf.outlier = &outlier;
    w.shared.slots = NULL;
    w.shared.slot_count = 0;
    w_cluster(&w);
    eject(&w.endpoints[0]);
    for (int i = 0; i < 10; i++) {
        struct test_call *tc = held_call();
        assert_ptr_equal(tc->call.endpoint, &w.endpoints[1]);
        cancel(tc);
    }
}

/* ---- health ---------------------------------------------------------------------------------- */

static void health_checks_leave_out_who_does_not_serve(void **state)
{
    (void)state;
    world_of(B_SERVING, 1);
    world_of(B_ECHO, 1); /* answers with the request, which is no SERVING */
    w.conf.health = &health;
    w_cluster(&w);
    turn_until(tr_upstream_state(&w.upstream, 0).unhealthy == 1);
    turn_until(tr_cluster_stats(w.cluster)->checks_healthy >= 2);
    unsigned seen = w.backends[1].requests;
    for (int i = 0; i < 20; i++) {
        struct test_call *tc = w_call(&w, "x");
        turn_until(tc->ends);
        assert_ptr_equal(tc->call.endpoint, &w.endpoints[0]);
    }
    turn_until(w.backends[1].requests > seen); /* which were checks */
    assert_int_equal(tr_cluster_stats(w.cluster)->requests, 20);
}

static void health_checks_that_are_not_answered_fail(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    world_of(B_SILENT, 1);
    world_of(B_CLOSE, 1);
    world_of(B_SERVING, 1);
    health.timeout_ns = 50 * MS;
    w.conf.health = &health;
    w_cluster(&w);
    turn_until(tr_upstream_state(&w.upstream, 0).unhealthy == 3);
    turn_until(tr_cluster_stats(w.cluster)->checks_healthy >= 1);
}

static void health_of_nobody_is_panic(void **state)
{
    (void)state;
    world_of(B_ECHO, 2);
    w.conf.health = &health;
    w_cluster(&w);
    turn_until(tr_upstream_state(&w.upstream, 0).unhealthy == 2);
    unsigned at[2] = {0, 0};
    for (int i = 0; i < 40; i++) {
        struct test_call *tc = w_call(&w, "x");
        turn_until(tc->ends);
        assert_int_equal(tc->err, TR_OK);
        at[tc->call.endpoint == &w.endpoints[1]]++;
    }
    assert_true(at[0] && at[1]);
}

/* However many workers, an endpoint is asked once in an interval. */
static void health_is_asked_for_by_one_worker(void **state)
{
    (void)state;
    world_of(B_SERVING, 1);
    struct tr_health_conf slow = {3600 * SEC, 5 * SEC, {NULL, 0}};
    struct tr_cluster *others[3];
    slow.interval_ns = 100 * MS;
    w.conf.health = &slow;
    for (int i = 0; i < 3; i++) {
        w_cluster(&w);
        others[i] = w.cluster;
    }
    w_cluster(&w);
    uint64_t begin = now_ns(), checks = 0;
    while (now_ns() - begin < 1000 * MS)
        w_step(&w);
    uint64_t gone = now_ns() - begin;
    for (int i = 0; i < 3; i++) {
        checks += tr_cluster_stats(others[i])->checks_healthy;
        tr_cluster_free(others[i]);
    }
    checks += tr_cluster_stats(w.cluster)->checks_healthy;
    assert_in_range(checks, 1, gone / (90 * MS) + 1); /* by four they would be forty */
}

static void health_check_stops_with_its_cluster(void **state)
{
    (void)state;
    world_of(B_HOLD, 1);
    w.conf.health = &health;
    w_cluster(&w);
    turn_until(w.backends[0].held_count == 1); /* one is under way */
    tr_cluster_retire(w.cluster);
    w_turns(&w, 20);
    w.cluster = NULL; /* it has gone by itself */
    assert_false(tr_eslot_held(&slots[0]));
    for (int i = 0; i < 16; i++)
        assert_false(tr_eslot_held(&slots[i]));
}

static void health_status_reads_one_frame(void **state)
{
    (void)state;
    const struct {
        struct tr_span frame;
        int want;
    } cases[] = {
        {TR_SPAN_INIT("\0\0\0\0\2\10\1"), 1},
        {TR_SPAN_INIT("\0\0\0\0\2\10\2"), 2},
        {TR_SPAN_INIT("\0\0\0\0\0"), 0},
        {TR_SPAN_INIT("\0\0\0\0\4\10\2\10\1"), 1},            /* the last one counts */
        {TR_SPAN_INIT("\0\0\0\0\6\22\2ab\10\1"), 1},          /* unknown fields are skipped */
        {TR_SPAN_INIT("\1\0\0\0\2\10\1"), -1},                /* compressed */
        {TR_SPAN_INIT("\0\0\0\0\3\10\1"), -1},                /* cut */
        {TR_SPAN_INIT("\0\0\0\0\2\10\1\0\0\0\0\2\10\1"), -1}, /* two */
        {TR_SPAN_INIT("\0\0\0\0\1\10"), -1},
        {TR_SPAN_INIT("\0\0\0\0"), -1},
        {TR_SPAN_INIT(""), -1},
        {TR_SPAN_INIT("\0\0\0\0\1\7"), -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(tr_health_status(cases[i].frame), cases[i].want);
}

/* ---- ring hash ------------------------------------------------------------------------------- */

static struct test_call *hashed_call(uint64_t hash)
{
    struct test_call *tc = w_call_prepare(&w, "x");
    tc->call.hash = hash;
    tc->call.hashed = true;
    assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
    tr_ucall_commit(&tc->call, true);
    return tc;
}

static void ring_hash_waits_for_its_own_endpoint(void **state)
{
    (void)state;
    world_of(B_ECHO, 3);
    const struct tr_endpoint_conf *at[16];
    w.conf.balance = TR_BALANCE_RING_HASH;
    w_cluster(&w);
    for (uint64_t i = 0; i < 32; i++) /* nothing is connected yet */
        (void)hashed_call((i % 16) << 60);
    assert_int_equal(w_until(&w, 32, 5000), 32);
    for (uint64_t i = 0; i < 32; i++) {
        assert_int_equal(w.calls[i].err, TR_OK);
        if (i < 16)
            at[i] = w.calls[i].call.endpoint;
        else
            assert_ptr_equal(w.calls[i].call.endpoint, at[i - 16]);
    }
    unsigned used = 0;
    for (int i = 0; i < 3; i++)
        used += w.backends[i].requests > 0;
    assert_true(used >= 2);
}

/* Calls of an endpoint that swallows packets stop nobody else's, and go on when it is given up. */
static void ring_hash_waits_for_nobody_elses_endpoint(void **state)
{
    (void)state;
    world_of(B_SILENT, 1);
    world_of(B_ECHO, 2);
    unsigned quick = 0;
    w.conf.balance = TR_BALANCE_RING_HASH;
    w.conf.connect_timeout_ns = 1500 * MS;
    w_cluster(&w);
    for (uint64_t i = 0; i < 64; i++)
        (void)hashed_call(i << 58);
    uint64_t begin = now_ns();
    unsigned ended = w_until(&w, 64, 700);
    for (unsigned i = 0; i < 64; i++)
        quick += w.calls[i].ends > 0;
    assert_int_equal(quick, ended);
    assert_true(now_ns() - begin >= 1400 * MS || (ended >= 10 && ended < 64));
    assert_int_equal(w_until(&w, 64, 10000), 64);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_equal(w.calls[i].err, TR_OK);
        assert_ptr_not_equal(w.calls[i].call.endpoint, &w.endpoints[0]);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void standing_survives_each_allocation_failing(void **state)
{
    (void)state;
    unsigned hurt = 0;
    enum tr_err err = TR_ERR_NOMEM;
    for (uint64_t n = 1; n < 3000 && err; n++) {
        world_of(B_ECHO, 2);
        w.conf.endpoint_count = 2;
        w.conf.health = &health;
        w.conf.outlier = &outlier;
        w.conf.breaker = &breaker;
        w.conf.balance = TR_BALANCE_RING_HASH;
        w.conf.slow_start_ns = SEC;
        struct test_call *tc = w_call_prepare(&w, "x");
        tc->call.hashed = true;
        tr_alloc_fail_after(n);
        err = tr_cluster_new(&w.worker, NULL, &w.upstream, &w.cluster);
        if (!err)
            err = tr_ucall_start(&tc->call, w.cluster);
        tr_alloc_fail_after(0);
        tc->ends = err ? 1000 : 0;
        hurt += err != TR_OK;
        if (!err) {
            tr_ucall_commit(&tc->call, true);
            (void)w_until(&w, 1, 5000);
        }
        w_fini(&w);
        for (int i = 0; i < 16; i++)
            assert_false(tr_eslot_held(&slots[i]));
        setup(NULL);
    }
    assert_int_equal(err, TR_OK);
    assert_true(hurt >= 6);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(breaker_counts_what_found_no_connection),
        TEST(breaker_counts_our_deadline_and_no_cancel),
        TEST(breaker_takes_the_first_report_of_an_attempt),
        TEST(breaker_does_not_count_hasty_clients),
        TEST(breaker_does_not_count_what_waits_for_the_client),
        TEST(breaker_does_not_count_streams_whose_time_is_over),
        TEST(breaker_counts_unary_answers_without_a_message),
        TEST(breaker_counts_resets),
        TEST(breaker_probe_that_a_bound_refuses_is_no_probe),
        TEST(outlier_gets_no_calls_of_any_worker),
        TEST(outlier_comes_back_with_slow_start),
        TEST(slow_start_follows_a_connect_that_succeeds_again),
        TEST(outlier_knowledge_goes_with_the_endpoints),
        TEST(outlier_without_a_table_is_each_workers_own),
        TEST(health_checks_leave_out_who_does_not_serve),
        TEST(health_checks_that_are_not_answered_fail),
        TEST(health_of_nobody_is_panic),
        TEST(health_is_asked_for_by_one_worker),
        TEST(health_check_stops_with_its_cluster),
        cmocka_unit_test(health_status_reads_one_frame),
        TEST(ring_hash_waits_for_its_own_endpoint),
        TEST(ring_hash_waits_for_nobody_elses_endpoint),
        TEST(standing_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
