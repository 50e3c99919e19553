#include "test.h"
#include "upstream_world.h"

static struct world w;

static void assert_all_ok(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(w.calls[i].err, TR_OK);
        assert_int_equal(w.calls[i].status, 200);
        assert_string_equal(w.calls[i].grpc_status, "0");
    }
}

static void cluster_makes_a_call(void **state)
{
    (void)state;
    w_init(&w);
    w_backend(&w, B_ECHO, 1);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "hello");
    assert_int_equal(tc->ends, 0); /* never from inside start */
    assert_int_equal(w_until(&w, 1, 2000), 1);
    assert_all_ok(0, 1);
    assert_span_equal(tr_buf_span(&tc->data), "hello");
    assert_int_equal(tc->call.progress, TR_PROGRESS_ANSWERED);
    assert_ptr_equal(tc->call.endpoint, &w.endpoints[0]);
    assert_int_equal(tr_cluster_stats(w.cluster)->endpoints_up, 1);
    tr_ucall_cancel(&tc->call); /* harmless */
    w_fini(&w);
}

static void cluster_reuses_its_connection(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_ECHO, 1);
    w_cluster(&w);
    for (unsigned i = 0; i < 50; i++)
        (void)w_call(&w, "x");
    assert_int_equal(w_until(&w, 50, 3000), 50);
    assert_all_ok(0, 50);
    assert_int_equal(b->accepted, 1);
    w_fini(&w);
}

static void cluster_respects_the_peers_streams(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_HOLD, 1);
    b->limits.max_concurrent_streams = 3;
    w.conf.max_connections = 2;
    w_cluster(&w);
    for (unsigned i = 0; i < 20; i++)
        (void)w_call(&w, "x");
    w_turns(&w, 50);
    assert_int_equal(b->accepted, 2);
    assert_int_equal(b->requests, 6);
    assert_int_equal(tr_cluster_stats(w.cluster)->pending_requests, 14);
    for (unsigned i = 0; i < 20; i++) {
        assert_true(i < b->held_count);
        backend_answer(b->held[i], false);
        b->held[i] = NULL;
        w_turns(&w, 8);
    }
    assert_int_equal(w_until(&w, 20, 1000), 20);
    assert_all_ok(0, 20);
    w_fini(&w);
}

/* A backend that bears one connection, and ends each further one: the first one serves on, and the
 * backend is not flooded with connects by the calls that wait. */
static void further_connections(bool goes_away)
{
    w_init(&w);
    struct backend *b = w_backend(&w, B_HOLD, 1);
    b->limits.max_concurrent_streams = 1;
    w_cluster(&w);
    (void)w_call(&w, "x");
    while (b->held_count == 0)
        w_step(&w);
    f_settings(&b->script, NULL, 0);
    f_head(&b->script, 8, F_GOAWAY, 0, 0);
    f_u32(&b->script, 0);
    f_u32(&b->script, 0);
    b->kind = goes_away ? B_RAW : B_CLOSE;
    for (unsigned i = 0; i < 10; i++)
        (void)w_call(&w, "x");
    for (unsigned i = 0; i < 400; i++) { /* each call that comes looks for a connection again */
        tr_ucall_cancel(&w.calls[10].call);
        assert_int_equal(tr_ucall_start(&w.calls[10].call, w.cluster), TR_OK);
        tr_ucall_commit(&w.calls[10].call, true);
        w_step(&w);
        assert_int_equal(tr_cluster_stats(w.cluster)->endpoints_up, 1);
    }
    assert_in_range(b->accepted, 2, 12);
    b->kind = B_HOLD;
    for (unsigned i = 0; i < 11; i++) {
        while (b->held_count <= i)
            w_step(&w);
        backend_answer(b->held[i], false);
        b->held[i] = NULL;
        w_turns(&w, 8);
    }
    assert_int_equal(w_until(&w, 11, 1000), 11);
    assert_all_ok(0, 11);
    w_fini(&w);
}

static void cluster_lives_with_one_connection(void **state)
{
    (void)state;
    further_connections(false);
    further_connections(true);
}

static void cluster_limits_active_and_pending(void **state)
{
    (void)state;
    w_init(&w);
    w_backend(&w, B_SILENT, 1);
    w.conf.max_pending = 3;
    w_cluster(&w);
    for (unsigned i = 0; i < 5; i++)
        (void)w_call(&w, "x");
    assert_int_equal(w.calls[2].err, TR_OK);
    assert_int_equal(w.calls[3].err, TR_ERR_UPSTREAM_PENDING);
    w.conf.max_requests = 3;
    w.conf.max_pending = 100;
    assert_int_equal(w_call(&w, "x")->err, TR_ERR_UPSTREAM_ACTIVE);
    /* the backend never sends SETTINGS: the calls end with the connect timeout */
    assert_int_equal(w_until(&w, 6, 2000), 6);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(w.calls[i].err, TR_ERR_UPSTREAM_CONNECT);
    w_fini(&w);
}

static void cluster_fails_at_once_when_refused_and_recovers(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_ECHO, 1);
    backend_stop(b);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(w_until(&w, 1, 200), 1);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_CONNECT);
    assert_int_equal(tc->call.progress, TR_PROGRESS_NOT_SENT);
    backend_listen(b, &b->addr);
    unsigned tries = 0;
    do { /* by itself, after its backoff */
        w_turns(&w, 20);
    } while (tr_cluster_stats(w.cluster)->endpoints_up == 0 && ++tries < 500);
    tc = w_call(&w, "x");
    assert_int_equal(w_until(&w, 2, 1000), 2);
    assert_int_equal(tc->err, TR_OK);
    w_fini(&w);
}

/* Tried again after 100 ms, 200, 400, ...: after t not more often than that allows. */
static void cluster_backs_off_from_an_endpoint_that_is_down(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_ECHO, 1);
    struct timespec begin, now;
    uint64_t ms = 0, most;
    backend_stop(b);
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    w_cluster(&w);
    (void)w_call(&w, "x");
    while (ms < 900) {
        w_step(&w);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        ms = (uint64_t)((now.tv_sec - begin.tv_sec) * 1000 +
                        (now.tv_nsec - begin.tv_nsec) / 1000000);
    }
    most = 1;
    for (uint64_t at = 100, delay = 100; at <= ms; at += delay) {
        most++;
        delay *= 2;
    }
    assert_in_range(tr_cluster_stats(w.cluster)->connects, 2, most);
    assert_int_equal(w.calls[0].err, TR_ERR_UPSTREAM_CONNECT);
    w_fini(&w);
}

static void cluster_fails_over(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *dead = w_backend(&w, B_ECHO, 1);
    struct backend *closing = w_backend(&w, B_CLOSE, 1);
    struct backend *good = w_backend(&w, B_ECHO, 1);
    backend_stop(dead);
    w_cluster(&w);
    for (unsigned i = 0; i < 30; i++)
        (void)w_call(&w, "x");
    assert_int_equal(w_until(&w, 30, 2000), 30);
    assert_all_ok(0, 30);
    assert_int_equal(good->requests, 30);
    assert_true(closing->accepted < 10);
    w_fini(&w);
}

static void cluster_names_the_loss_of_a_connection(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_HOLD, 1);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    w_turns(&w, 30);
    assert_int_equal(b->requests, 1);
    assert_int_equal(tc->call.progress, TR_PROGRESS_SENT);
    backend_stop(b);
    assert_int_equal(w_until(&w, 1, 1000), 1);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_CLOSED);
    w_fini(&w);
}

static void cluster_cancels(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_HOLD, 1);
    w_cluster(&w);
    struct test_call *pending = w_call(&w, "x"), *sent = w_call(&w, "y");
    tr_ucall_cancel(&pending->call);
    pending->ends = 1;
    w_turns(&w, 30);
    assert_int_equal(b->requests, 1);
    tr_ucall_cancel(&sent->call);
    sent->ends = 1;
    assert_int_equal(w.shared.active, 0);
    w_turns(&w, 30);
    assert_null(b->held[0]); /* the backend was told */
    assert_int_equal(tr_cluster_stats(w.cluster)->connections, 1);
    w_fini(&w);
}

static void cluster_streams_both_ways_with_backpressure(void **state)
{
    (void)state;
    static char big[400000];
    w_init(&w);
    w_backend(&w, B_ECHO, 1);
    w_cluster(&w);
    struct test_call *tc = w_call_prepare(&w, "");
    tc->keep_credit = true;
    assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
    assert_int_equal(tr_buf_append(&tc->req, tr_span(big, sizeof big)), TR_OK);
    tr_ucall_commit(&tc->call, false);
    unsigned turns = 0;
    while (tc->call.req_pos < sizeof big && turns++ < 3000)
        w_step(&w);
    assert_int_equal(tc->call.req_pos, sizeof big);
    assert_int_equal(tc->writables, 1);
    tr_ucall_compact(&tc->call);
    assert_int_equal(tc->call.req_pos, 0);
    assert_int_equal(tc->req.len, 0);
    tr_ucall_commit(&tc->call, true);
    w_turns(&w, 300);
    /* nothing was consumed: what came is bounded, and another call passes */
    assert_true(tc->data.len <= 262144);
    assert_int_equal(tc->ends, 0);
    (void)w_call(&w, "small");
    assert_int_equal(w_until(&w, 1, 1000), 1);
    assert_int_equal(w.calls[1].err, TR_OK);
    tc->keep_credit = false;
    tr_ucall_consume(&tc->call, tc->data.len);
    assert_int_equal(w_until(&w, 2, 2000), 2);
    assert_int_equal(tc->data.len, sizeof big);
    assert_int_equal(tc->err, TR_OK);
    w_fini(&w);
}

static void cluster_retires_when_its_calls_have_ended(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *b = w_backend(&w, B_HOLD, 1);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    w_turns(&w, 30);
    tr_cluster_retire(w.cluster);
    w_turns(&w, 30);
    assert_int_equal(tc->ends, 0);
    backend_answer(b->held[0], false);
    assert_int_equal(w_until(&w, 1, 1000), 1);
    assert_int_equal(tc->err, TR_OK);
    w_turns(&w, 10);
    w.cluster = NULL; /* freed by itself */
    w_fini(&w);
}

static void spread(enum tr_balance how, const uint32_t *weights, unsigned n, unsigned calls)
{
    w_init(&w);
    w.conf.balance = how;
    for (unsigned i = 0; i < n; i++)
        w_backend(&w, B_ECHO, weights[i]);
    w_cluster(&w);
    (void)w_call(&w, "warm");
    (void)w_until(&w, 1, 1000);
    for (unsigned i = 0; i < 40; i++) { /* until each endpoint is connected */
        w_turns(&w, 4);
        if (tr_cluster_stats(w.cluster)->endpoints_up == n)
            break;
        (void)w_call(&w, "warm");
    }
    assert_int_equal(tr_cluster_stats(w.cluster)->endpoints_up, n);
    (void)w_until(&w, w.call_count, 1000);
    for (unsigned i = 0; i < n; i++)
        w.backends[i].requests = 0;
    for (unsigned i = 0; i < calls; i++)
        (void)w_call(&w, "x");
    assert_int_equal(w_until(&w, w.call_count, 3000), w.call_count);
    assert_all_ok(0, w.call_count);
}

static void cluster_spreads_by_least_request(void **state)
{
    (void)state;
    const uint32_t even[] = {1, 1, 1}, uneven[] = {1, 3};
    spread(TR_BALANCE_LEAST_REQUEST, even, 3, 90);
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(w.backends[i].requests, 28, 32);
    w_fini(&w);
    spread(TR_BALANCE_LEAST_REQUEST, uneven, 2, 80);
    assert_in_range(w.backends[1].requests, 56, 64);
    w_fini(&w);
}

static void cluster_spreads_by_round_robin(void **state)
{
    (void)state;
    const uint32_t weights[] = {1, 2, 5};
    spread(TR_BALANCE_ROUND_ROBIN, weights, 3, 80);
    assert_int_equal(w.backends[0].requests, 10);
    assert_int_equal(w.backends[1].requests, 20);
    assert_int_equal(w.backends[2].requests, 50);
    w_fini(&w);
}

/* The endpoint whose turn it is has no room: a retry goes to one that has, and to the one where it
 * failed only when that is the last. */
static void cluster_sends_a_retry_elsewhere_when_there_is_room(void **state)
{
    (void)state;
    w_init(&w);
    struct backend *good = w_backend(&w, B_HOLD, 1), *full = w_backend(&w, B_HOLD, 1),
                   *failed = w_backend(&w, B_HOLD, 1);
    full->limits.max_concurrent_streams = 1;
    w.conf.max_connections = 1;
    w.conf.balance = TR_BALANCE_ROUND_ROBIN;
    w_cluster(&w);
    for (unsigned i = 0; i < 9; i++) /* connects all; one of them stays with each */
        (void)w_call(&w, "x");
    while (good->held_count + full->held_count + failed->held_count < 9 ||
           tr_cluster_stats(w.cluster)->endpoints_up < 3)
        w_step(&w);
    while (full->held_count == 0) {
        (void)w_call(&w, "x");
        w_turns(&w, 8);
    }
    unsigned before = failed->requests;
    for (unsigned i = 0; i < 12; i++) {
        struct test_call *tc = w_call_prepare(&w, "x");
        tc->call.avoid = &w.endpoints[2];
        assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
        tr_ucall_commit(&tc->call, true);
        assert_ptr_equal(tc->call.endpoint, &w.endpoints[0]);
    }
    w_turns(&w, 20);
    assert_int_equal(failed->requests, before);
    for (unsigned i = 0; i < w.call_count; i++) {
        tr_ucall_cancel(&w.calls[i].call);
        w.calls[i].ends = 1;
    }
    w_fini(&w);
}

static void cluster_without_endpoints_says_so(void **state)
{
    (void)state;
    w_init(&w);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(w_until(&w, 1, 500), 1);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_NO_ENDPOINT);
    w_fini(&w);
}

static void cluster_ends_open_calls_when_freed(void **state)
{
    (void)state;
    w_init(&w);
    w_backend(&w, B_HOLD, 1);
    w_cluster(&w);
    struct test_call *sent = w_call(&w, "x");
    w_turns(&w, 30);
    struct test_call *late = w_call(&w, "x");
    tr_cluster_free(w.cluster);
    w.cluster = NULL;
    assert_int_equal(sent->err, TR_ERR_UPSTREAM_CLOSED);
    assert_int_equal(late->err, TR_ERR_UPSTREAM_CLOSED);
    w_fini(&w);
}

static void cluster_is_freed_from_inside_a_call(void **state)
{
    (void)state;
    w_init(&w);
    w_backend(&w, B_ECHO, 1);
    w_cluster(&w);
    (void)w_call(&w, "x");
    struct test_call *tc = w_call(&w, "y");
    tc->free_on_head = true;
    (void)w_call(&w, "z");
    assert_int_equal(w_until(&w, 3, 1000), 3);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_CLOSED);
    assert_int_equal(w.calls[2].err, TR_ERR_UPSTREAM_CLOSED);
    w_turns(&w, 10);
    w_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster_makes_a_call),
        cmocka_unit_test(cluster_reuses_its_connection),
        cmocka_unit_test(cluster_respects_the_peers_streams),
        cmocka_unit_test(cluster_lives_with_one_connection),
        cmocka_unit_test(cluster_limits_active_and_pending),
        cmocka_unit_test(cluster_fails_at_once_when_refused_and_recovers),
        cmocka_unit_test(cluster_backs_off_from_an_endpoint_that_is_down),
        cmocka_unit_test(cluster_fails_over),
        cmocka_unit_test(cluster_names_the_loss_of_a_connection),
        cmocka_unit_test(cluster_cancels),
        cmocka_unit_test(cluster_streams_both_ways_with_backpressure),
        cmocka_unit_test(cluster_retires_when_its_calls_have_ended),
        cmocka_unit_test(cluster_spreads_by_least_request),
        cmocka_unit_test(cluster_spreads_by_round_robin),
        cmocka_unit_test(cluster_sends_a_retry_elsewhere_when_there_is_room),
        cmocka_unit_test(cluster_without_endpoints_says_so),
        cmocka_unit_test(cluster_ends_open_calls_when_freed),
        cmocka_unit_test(cluster_is_freed_from_inside_a_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
