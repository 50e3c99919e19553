#include "filters/jwks_refresh.h"

#include "base/log.h"
#include "jwks_world.h"
#include "test.h"

static void keys_are_fetched_at_start_for_all_workers(void **state)
{
    (void)state;
    world_begin();
    assert_null(views[0].set);
    TURN_UNTIL(loop, views[0].set && views[1].set);
    assert_true(knows(&views[0], "a"));
    assert_ptr_equal(views[0].set, views[1].set);
    assert_int_equal(views[1].state, TR_JWKS_FRESH);
    struct tr_jwks_refresh_stats stats = tr_jwks_refresh_stats(refresh);
    assert_int_equal(stats.fetches, 1);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.keys, 1);
    assert_int_equal(stats.state, TR_JWKS_FRESH);
    assert_int_equal(keys_requests, 1);
}

static void requests_wait_for_the_first_keys(void **state)
{
    (void)state;
    struct asker a[3] = {{.woken = 0}};
    world_begin();
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask_by(&a[i], i % 2, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a[0].woken && a[1].woken && a[2].woken);
    assert_true(knows(&views[0], "a") && knows(&views[1], "a"));
    turn_idle(loop);
    for (int i = 0; i < 3; i++)
        assert_int_equal(a[i].woken, 1);
    assert_int_equal(keys_requests, 1); /* they joined the first attempt */
    assert_int_equal(tr_jwks_refresh_stats(refresh).waiters, 0);
}

static void server_that_is_down_at_start_is_asked_again(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    keys_answer = WORLD_BROKEN;
    world_begin();
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a.woken);
    assert_null(views[0].set);
    assert_int_equal(views[0].state, TR_JWKS_NONE);
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT_REFUSED); /* too soon */
    keys_answer = WORLD_KEYS("a");
    TURN_UNTIL(loop, views[0].set && views[1].set); /* without being asked */
    struct tr_jwks_refresh_stats stats = tr_jwks_refresh_stats(refresh);
    assert_true(stats.failures >= 1);
    assert_int_equal(stats.fetches, 1);
    assert_int_equal(stats.refused, 1);
}

static void server_that_refuses_connections_is_asked_again(void **state)
{
    (void)state;
    int port = issuer.port;
    peer_close(&issuer);
    world_begin();
    TURN_UNTIL(loop, tr_jwks_refresh_stats(refresh).failures == 1);
    peer_open(&issuer, loop, port, world_answer);
    TURN_UNTIL(loop, views[0].set);
}

static void ask_until_it_waits(struct asker *a)
{
    bool waits = false;
    TURN_UNTIL(loop, waits || (waits = ask_by(a, 0, TR_JWKS_ASK_KEYS) == TR_JWKS_WAIT));
}

static void waiting_requests_bring_an_attempt_forward(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    source.schedule.unknown_kid_interval_ns = SECOND / 100;
    keys_answer = WORLD_BROKEN;
    world_begin();
    TURN_UNTIL(loop, tr_jwks_refresh_stats(refresh).failures == 1);
    keys_answer = WORLD_KEYS("a");
    ask_until_it_waits(&a);
    TURN_UNTIL(loop, a.woken && views[0].set);
}

static void unknown_kid_brings_the_rotated_keys(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    world_begin();
    TURN_UNTIL(loop, views[0].set && views[1].set);
    keys_answer = WORLD_KEYS("b");
    uint64_t before = tr_jwks_generation(views[0].set);
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KID), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a.woken && knows(&views[1], "b"));
    assert_true(knows(&views[0], "b"));
    assert_false(knows(&views[0], "a"));
    assert_true(tr_jwks_generation(views[0].set) != before);
    assert_int_equal(keys_requests, 2);
}

static void flood_of_unknown_kids_makes_one_request(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    world_begin();
    TURN_UNTIL(loop, views[0].set && views[1].set);
    int waits = 0, refused = 0;
    for (int i = 0; i < 2000; i++) {
        a.woken = 0;
        if (ask_by(&a, i % VIEWS, TR_JWKS_ASK_KID) == TR_JWKS_WAIT) {
            waits++;
            TURN_UNTIL(loop, a.woken);
        } else {
            refused++;
        }
    }
    assert_int_equal(keys_requests, 2);
    assert_true(waits <= 2); /* the other view learns of it by the same mail, or by one refusal */
    assert_int_equal(waits + refused, 2000);
    assert_true(tr_jwks_refresh_stats(refresh).refused >= (uint64_t)refused);
}

static void asks_join_the_attempt_under_way(void **state)
{
    (void)state;
    struct asker a[40] = {{.woken = 0}};
    world_begin();
    TURN_UNTIL(loop, views[0].set && views[1].set);
    keys_answer = NULL;
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_by(&a[i], i % 2, TR_JWKS_ASK_KID), TR_JWKS_WAIT);
    TURN_UNTIL(loop, keys_requests == 2);
    for (int i = 20; i < 40; i++)
        assert_int_equal(ask_by(&a[i], i % 2, TR_JWKS_ASK_KID), TR_JWKS_WAIT);
    turn_idle(loop);
    for (int i = 0; i < 40; i++)
        assert_int_equal(a[i].woken, 0);
    assert_int_equal(tr_jwks_refresh_stats(refresh).waiters, 40);
    assert_int_equal(keys_requests, 2);
    struct peer_conn *c = tr_container_of(issuer.conns.prev, struct peer_conn, node);
    assert_int_equal(tr_stream_write(c->s, WORLD_KEYS("b"), strlen(WORLD_KEYS("b"))),
                     (int)strlen(WORLD_KEYS("b")));
    peer_conn_close(c, false);
    for (int i = 0; i < 40; i++)
        TURN_UNTIL(loop, a[i].woken == 1);
    assert_true(knows(&views[0], "b") && knows(&views[1], "b"));
    assert_int_equal(keys_requests, 2);
}

static void slow_server_ends_the_wait(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    source.timeout_ns = 50 * MS;
    keys_answer = NULL;
    world_begin();
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a.woken);
    assert_null(views[0].set);
}

static void huge_answer_is_a_failed_attempt(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    keys_answer = "HTTP/1.1 200 OK\r\n\r\n{\"keys\":[";
    issuer.endless = true;
    world_begin();
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a.woken);
    assert_null(views[0].set);
    assert_int_equal(tr_jwks_refresh_stats(refresh).failures, 1);
    TURN_UNTIL(loop, tr_list_empty(&issuer.conns));
}

static void keys_that_cannot_be_read_leave_the_old_ones(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    world_begin();
    TURN_UNTIL(loop, views[0].set);
    keys_answer = "HTTP/1.1 200 OK\r\n\r\n<html>log in</html>";
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KID), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a.woken);
    assert_true(knows(&views[0], "a"));
    assert_int_equal(views[0].state, TR_JWKS_FRESH);
    assert_int_equal(tr_jwks_refresh_stats(refresh).failures, 1);
}

static void stale_keys_serve_until_max_stale(void **state)
{
    (void)state;
    source.schedule.refresh_interval_ns = SECOND / 10;
    source.schedule.max_stale_ns = SECOND / 2;
    world_begin();
    TURN_UNTIL(loop, views[0].set);
    keys_answer = WORLD_BROKEN;
    TURN_UNTIL(loop, views[0].state == TR_JWKS_STALE);
    assert_true(knows(&views[0], "a"));
    assert_int_equal(tr_jwks_refresh_stats(refresh).state, TR_JWKS_STALE);
    TURN_UNTIL(loop, views[0].state == TR_JWKS_NONE && views[1].state == TR_JWKS_NONE);
    assert_null(views[0].set);
    assert_int_equal(tr_jwks_refresh_stats(refresh).state, TR_JWKS_NONE);
    assert_int_equal(tr_jwks_refresh_stats(refresh).age_s, 0);
    keys_answer = WORLD_KEYS("a");
    TURN_UNTIL(loop, views[0].set && views[0].state == TR_JWKS_FRESH);
}

static void equal_keys_stay_the_same_set(void **state)
{
    (void)state;
    source.schedule.refresh_interval_ns = SECOND / 10;
    world_begin();
    TURN_UNTIL(loop, views[0].set);
    uint64_t before = tr_jwks_generation(views[0].set);
    TURN_UNTIL(loop, tr_jwks_refresh_stats(refresh).fetches >= 4);
    turn_idle(loop);
    assert_int_equal(tr_jwks_generation(views[0].set), before);
    keys_answer = WORLD_KEYS("b");
    TURN_UNTIL(loop, knows(&views[0], "b")); /* without being asked */
    assert_true(tr_jwks_generation(views[0].set) != before);
}

/* -- waiting ---------------------------------------------------------------------------------- */

static void requests_that_wait_are_bounded(void **state)
{
    (void)state;
    static struct asker a[TR_JWKS_WAITERS_MAX + 1];
    memset(a, 0, sizeof a);
    keys_answer = NULL;
    world_begin();
    for (uint32_t i = 0; i < TR_JWKS_WAITERS_MAX; i++)
        assert_int_equal(ask_by(&a[i], 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    struct asker *last = &a[TR_JWKS_WAITERS_MAX];
    assert_int_equal(ask_by(last, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT_FULL);
    tr_jwks_view_unwait(&views[0], &last->waiter); /* did not wait */
    assert_int_equal(views[0].waiters, TR_JWKS_WAITERS_MAX);
    tr_jwks_view_unwait(&views[0], &a[7].waiter);
    tr_jwks_view_unwait(&views[0], &a[7].waiter); /* twice is fine */
    assert_int_equal(views[0].waiters, TR_JWKS_WAITERS_MAX - 1);
    assert_int_equal(ask_by(last, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    assert_int_equal(views[0].full, 1);
}

static void request_that_ended_is_not_woken(void **state)
{
    (void)state;
    struct asker a = {.woken = 0}, b = {.woken = 0}, never = {.woken = 0};
    world_begin();
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    assert_int_equal(ask_by(&b, 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    tr_jwks_view_unwait(&views[0], &a.waiter);
    tr_jwks_view_unwait(&views[0], &never.waiter); /* zeroed */
    TURN_UNTIL(loop, b.woken);
    turn_idle(loop);
    assert_int_equal(a.woken, 0);
    tr_jwks_view_unwait(&views[0], &b.waiter); /* woken */
    assert_int_equal(views[0].waiters, 0);
}

static struct asker chain[3];

static void woken_ends_the_next(struct tr_jwks_waiter *waiter)
{
    asker_woken(waiter);
    tr_jwks_view_unwait(&views[0], &chain[1].waiter);
    if (chain[0].woken == 1) /* and waits again */
        assert_int_equal(tr_jwks_view_wait(&views[0], waiter, TR_JWKS_ASK_KID, woken_ends_the_next,
                                           tr_loop_now_ns(loop)),
                         TR_JWKS_WAIT);
}

static void woken_request_may_end_others_and_wait_again(void **state)
{
    (void)state;
    memset(chain, 0, sizeof chain);
    world_begin();
    assert_int_equal(tr_jwks_view_wait(&views[0], &chain[0].waiter, TR_JWKS_ASK_KEYS,
                                       woken_ends_the_next, tr_loop_now_ns(loop)),
                     TR_JWKS_WAIT);
    assert_int_equal(ask_by(&chain[1], 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    assert_int_equal(ask_by(&chain[2], 0, TR_JWKS_ASK_KEYS), TR_JWKS_WAIT);
    TURN_UNTIL(loop, chain[0].woken == 2 && chain[2].woken == 1);
    assert_int_equal(chain[1].woken, 0);
    assert_int_equal(views[0].waiters, 0);
}

static void fixed_keys_are_never_fetched(void **state)
{
    (void)state;
    struct tr_jwks_view fixed;
    struct tr_jwks *set = NULL;
    struct asker a = {.woken = 0};
    assert_int_equal(tr_jwks_parse(TR_SPAN(WORLD_DOC("a")), &set, NULL), TR_OK);
    tr_jwks_view_init_fixed(&fixed, set);
    tr_jwks_unref(set);
    assert_true(knows(&fixed, "a"));
    assert_int_equal(fixed.state, TR_JWKS_FRESH);
    assert_int_equal(tr_jwks_view_wait(&fixed, &a.waiter, TR_JWKS_ASK_KID, asker_woken, UINT64_MAX),
                     TR_JWKS_WAIT_REFUSED);
    tr_jwks_view_unwait(&fixed, &a.waiter);
    tr_jwks_view_fini(&fixed);
    tr_jwks_view_fini(&fixed);
    world_begin();
}

/* -- memory and the end ----------------------------------------------------------------------- */

static void memory_that_lacks_delays_the_keys(void **state)
{
    (void)state;
    struct tr_status st;
    source.schedule.unknown_kid_interval_ns = MS;
    source.timeout_ns = SECOND / 2;
    for (uint64_t n = 1; !refresh; n++) {
        assert_true(n < 100);
        tr_alloc_fail_after(n);
        enum tr_err err = tr_jwks_refresh_new(&control, &source, &refresh, &st);
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK || err == TR_ERR_NOMEM);
    }
    tr_alloc_fail_after(1);
    assert_int_equal(tr_jwks_view_init(&views[0], refresh, worker_boxes[0], control_box),
                     TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    tr_jwks_view_fini(&views[0]);
    for (int i = 0; i < VIEWS; i++)
        assert_int_equal(tr_jwks_view_init(&views[i], refresh, worker_boxes[i], control_box),
                         TR_OK);
    /* each attempt goes further than the last before memory is gone; asking costs none */
    uint64_t n = 1;
    for (; !views[0].set; n++) {
        assert_true(n < 300);
        uint64_t failures = tr_jwks_refresh_stats(refresh).failures;
        struct asker a = {.woken = 0};
        ask_until_it_waits(&a);
        tr_alloc_fail_after(n);
        while (!a.woken)
            tr_loop_turn(loop, true);
        tr_alloc_fail_after(0);
        assert_true(views[0].set || tr_jwks_refresh_stats(refresh).failures > failures);
        while (!tr_list_empty(&issuer.conns))
            peer_conn_close(tr_container_of(issuer.conns.next, struct peer_conn, node), true);
    }
    assert_true(n > 5);
}

static void end_while_everything_is_under_way_leaks_nothing(void **state)
{
    (void)state;
    static struct asker a; /* outlives the view */
    world_begin();
    TURN_UNTIL(loop, views[0].set);
    keys_answer = WORLD_KEYS("b");
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KID), TR_JWKS_WAIT);
    /* the ask is in the mail: world_close delivers it to a refresh that then ends */
}

static void end_with_keys_in_the_mail_leaks_nothing(void **state)
{
    (void)state;
    world_begin();
    struct tr_jwks *set = NULL;
    struct tr_jwks_schedule s;
    tr_jwks_schedule_init(&s, &source.schedule, 0);
    assert_int_equal(tr_jwks_parse(TR_SPAN(WORLD_DOC("a")), &set, NULL), TR_OK);
    tr_jwks_view_publish(&views[0], set, TR_JWKS_FRESH, &s);
    tr_jwks_view_publish(&views[0], set, TR_JWKS_FRESH, &s); /* replaces what was not read */
    tr_jwks_view_publish(&views[1], set, TR_JWKS_FRESH, &s);
    tr_jwks_view_publish(&views[1], NULL, TR_JWKS_NONE, &s);
    tr_jwks_unref(set);
}

static void source_is_checked_without_the_network(void **state)
{
    (void)state;
    struct tr_status st;
    assert_int_equal(tr_jwks_source_check(&source, &st), TR_OK);
    source.uri = TR_SPAN("https://issuer.example/keys");
    assert_int_equal(tr_jwks_source_check(&source, &st), TR_OK);
    source.ca_file = TR_SPAN("/no/such/file");
    assert_int_equal(tr_jwks_source_check(&source, &st), TR_ERR_CONFIG);
    source.ca_file = TR_SPAN("");
    source.uri = TR_SPAN("nonsense");
    assert_int_equal(tr_jwks_source_check(&source, &st), TR_ERR_CONFIG);
    source.uri = TR_SPAN("");
    static const char *const bad[] = {"http://issuer.example", "issuer", "",
                                      "https://issuer.example/?a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        source.issuer = tr_span_cstr(bad[i]);
        assert_int_equal(tr_jwks_source_check(&source, &st), TR_ERR_CONFIG);
        assert_int_equal(tr_jwks_refresh_new(&control, &source, &refresh, &st), TR_ERR_CONFIG);
    }
    source.issuer = TR_SPAN("https://issuer.example/tenant/");
    assert_int_equal(tr_jwks_source_check(&source, &st), TR_OK);
}

static int quiet(void **state)
{
    (void)state;
    tr_log_set_level(TR_LOG_ERROR);
    return 0;
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(keys_are_fetched_at_start_for_all_workers),
        WORLD_TEST(requests_wait_for_the_first_keys),
        WORLD_TEST(server_that_is_down_at_start_is_asked_again),
        WORLD_TEST(server_that_refuses_connections_is_asked_again),
        WORLD_TEST(waiting_requests_bring_an_attempt_forward),
        WORLD_TEST(unknown_kid_brings_the_rotated_keys),
        WORLD_TEST(flood_of_unknown_kids_makes_one_request),
        WORLD_TEST(asks_join_the_attempt_under_way),
        WORLD_TEST(slow_server_ends_the_wait),
        WORLD_TEST(huge_answer_is_a_failed_attempt),
        WORLD_TEST(keys_that_cannot_be_read_leave_the_old_ones),
        WORLD_TEST(stale_keys_serve_until_max_stale),
        WORLD_TEST(equal_keys_stay_the_same_set),
        WORLD_TEST(requests_that_wait_are_bounded),
        WORLD_TEST(request_that_ended_is_not_woken),
        WORLD_TEST(woken_request_may_end_others_and_wait_again),
        WORLD_TEST(fixed_keys_are_never_fetched),
        WORLD_TEST(memory_that_lacks_delays_the_keys),
        WORLD_TEST(end_while_everything_is_under_way_leaks_nothing),
        WORLD_TEST(end_with_keys_in_the_mail_leaks_nothing),
        WORLD_TEST(source_is_checked_without_the_network),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
