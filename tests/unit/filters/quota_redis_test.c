#include "quota_world.h"

static void what_is_free_passes_and_leaves_nothing(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct ask large = {0}, small = {0};
    ask_add(&large, "k", tr_quota_redis_rate_make(10, 10 * HOUR, 10));
    ask_add(&small, "k", tr_quota_redis_rate_make(10, HOUR, 1));
    assert_true(ask(&large, 0));
    assert_int_equal(large.items[0].result.remaining, 10);
    assert_string_equal(redis_say("DBSIZE\r\n"), ":0\r\n");
    assert_true(ask(&large, 10));
    assert_true(ask(&large, 0));
    assert_int_equal(large.items[0].result.remaining, 0);
    assert_false(ask(&small, 1));
    assert_true(ask(&small, 0)); /* also where more is owed than it may */
    assert_true(small.items[0].result.allowed);
}

/* ---- the real clock -------------------------------------------------------------------------- */

static void burst_passes_at_once_then_it_says_when(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_gcra_result r;
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(ask_one("a", 10, 10 * HOUR, 5, &r));
        assert_int_equal(r.remaining, 4 - i);
        assert_true(r.allowed && r.retry_after_ns == 0);
    }
    assert_false(ask_one("a", 10, 10 * HOUR, 5, &r));
    assert_false(r.allowed);
    assert_int_equal(r.remaining, 0);
    assert_true(r.retry_after_ns > HOUR - 60 * SECOND && r.retry_after_ns <= HOUR);
    assert_true(r.reset_ns > 5 * HOUR - 60 * SECOND && r.reset_ns <= 5 * HOUR);
    assert_true(ask_one("b", 10, 10 * HOUR, 5, &r)); /* another key, another counter */
    const char *pttl = redis_say("PTTL \"{transom}:a\"\r\n");
    long long ms = strtoll(pttl + 1, NULL, 10);
    assert_true(ms > 4 * 3600 * 1000 && ms <= 5 * 3600 * 1000 + 1000);
}

static void idle_counters_go_away(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_gcra_result r;
    assert_true(ask_one("short", 1000, SECOND, 1, &r));
    for (int i = 0; i < 4000 && strcmp(redis_say("DBSIZE\r\n"), ":0\r\n") != 0; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_string_equal(redis_say("DBSIZE\r\n"), ":0\r\n");
}

static void none_is_charged_when_one_refuses(void **state)
{
    (void)state;
    NEEDS_REDIS();
    for (int round = 0; round < 4; round++) {
        struct ask a = {0};
        ask_add(&a, "wide", tr_quota_redis_rate_make(10, 10 * HOUR, 10));
        ask_add(&a, "narrow", tr_quota_redis_rate_make(1, HOUR, 1));
        ask_add(&a, "last", tr_quota_redis_rate_make(10, 10 * HOUR, 10));
        assert_int_equal(ask(&a, 1), round == 0);
        assert_int_equal(a.items[0].result.remaining, 9);
        assert_int_equal(a.items[1].result.remaining, 0);
        assert_int_equal(a.items[2].result.remaining, 9);
        assert_int_equal(a.items[1].result.allowed, round == 0);
        assert_true(a.items[0].result.allowed && a.items[0].result.retry_after_ns == 0);
        assert_int_equal(a.items[1].result.retry_after_ns != 0, round != 0);
    }
}

static void cost_beyond_the_capacity_never_passes(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct ask a = {0};
    ask_add(&a, "x", tr_quota_redis_rate_make(10, 10 * HOUR, 5));
    assert_false(ask(&a, 6));
    assert_true(a.items[0].result.retry_after_ns == UINT64_MAX);
    assert_int_equal(a.items[0].result.remaining, 5);
    assert_true(ask(&a, 5));
    assert_true(ask(&a, 0)); /* costs nothing */
    assert_false(ask(&a, 1));
}

static void sixteen_quotas_and_any_bytes_in_keys(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct ask a = {0};
    char keys[16][40];
    for (int i = 0; i < 16; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "q%d\r\n$3\r\n{x}\xff\x01", i);
        ask_add(&a, keys[i], tr_quota_redis_rate_make((uint32_t)i + 1, HOUR, 0));
    }
    assert_true(ask(&a, 1));
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(a.items[i].result.remaining, i);
    assert_false(ask(&a, 1)); /* the first has one */
    struct ask none = {0};
    ask_add(&none, "", tr_quota_redis_rate_make(1, HOUR, 0));
    assert_true(ask(&none, 1));
}

static void what_is_no_counter_is_an_error(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct ask a = {0};
    (void)redis_say("SET \"{transom}:k\" hello\r\nRPUSH \"{transom}:l\" x\r\n");
    for (int i = 0; i < 2; i++) {
        memset(&a, 0, sizeof a);
        ask_add(&a, i ? "l" : "k", tr_quota_redis_rate_make(1, HOUR, 0));
        assert_int_equal(ask_start(&a, store, 1), TR_KV_OK);
        UNTIL(a.ended);
        assert_int_equal(a.failure, TR_KV_ERROR);
    }
    assert_true(up(store));
}

/* ---- many clients ---------------------------------------------------------------------------- */

#define CLIENTS 4
#define WAVE    100

static uint64_t wall_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t hammer(struct tr_kv_redis **links, const char *key, struct tr_quota_redis_rate rate,
                       int waves)
{
    static struct ask asks[CLIENTS][WAVE];
    uint64_t admitted = 0;
    for (int w = 0; w < waves; w++) {
        memset(asks, 0, sizeof asks);
        for (int i = 0; i < WAVE; i++)
            for (int c = 0; c < CLIENTS; c++) {
                ask_add(&asks[c][i], key, rate);
                assert_int_equal(ask_start(&asks[c][i], links[c], 1), TR_KV_OK);
            }
        for (int c = 0; c < CLIENTS; c++) {
            UNTIL(asks[c][WAVE - 1].ended);
            for (int i = 0; i < WAVE; i++) {
                assert_true(asks[c][i].ended);
                assert_int_equal(asks[c][i].failure, TR_KV_OK);
                admitted += asks[c][i].check.admitted;
            }
        }
    }
    return admitted;
}

static void many_clients_get_the_limit_and_never_one_more(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_kv_redis *links[CLIENTS];
    for (int c = 0; c < CLIENTS; c++) {
        links[c] = open_link("", "", tr_quota_redis_script, 10 * SECOND);
        UNTIL(up(links[c]));
    }
    /* nothing is earned meanwhile */
    assert_int_equal(hammer(links, "still", tr_quota_redis_rate_make(321, 9999 * HOUR, 0), 5), 321);
    /* 1 each millisecond and a third */
    uint64_t begin = wall_ns();
    uint64_t admitted = hammer(links, "moving", tr_quota_redis_rate_make(750, SECOND, 50), 12);
    uint64_t elapsed = wall_ns() - begin;
    assert_true(admitted <= 50 + elapsed * 750 / SECOND);
    assert_true(admitted >= 50);
    for (int c = 0; c < CLIENTS; c++)
        tr_kv_redis_free(links[c]);
}

/* ---- what happens to a store ----------------------------------------------------------------- */

static void forgotten_script_is_sent_again(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_gcra_result r;
    assert_true(ask_one("a", 3, HOUR, 3, &r));
    assert_string_equal(redis_say("SCRIPT FLUSH\r\n"), "+OK\r\n");
    assert_true(ask_one("a", 3, HOUR, 3, &r));
    assert_true(ask_one("a", 3, HOUR, 3, &r));
    assert_false(ask_one("a", 3, HOUR, 3, &r)); /* charged once each */
    assert_int_equal(tr_kv_redis_counters(store)->repeated, 1);
}

static void killed_connection_comes_back(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_gcra_result r;
    assert_true(ask_one("a", 2, HOUR, 2, &r));
    (void)redis_say("CLIENT KILL TYPE normal SKIPME yes\r\n");
    UNTIL(tr_kv_redis_counters(store)->losses == 1);
    UNTIL(up(store));
    assert_true(ask_one("a", 2, HOUR, 2, &r));
    assert_false(ask_one("a", 2, HOUR, 2, &r));
}

static void frozen_store_costs_the_timeout_then_nothing(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct ask a = {0}, b = {0};
    tr_kv_redis_free(store);
    store = open_link("", "", tr_quota_redis_script, 20 * MS);
    UNTIL(up(store));
    ask_add(&a, "a", tr_quota_redis_rate_make(5, 999 * HOUR, 5));
    ask_add(&b, "a", tr_quota_redis_rate_make(5, 999 * HOUR, 5));
    assert_int_equal(kill(redis.pid, SIGSTOP), 0);
    assert_int_equal(ask_start(&a, store, 1), TR_KV_OK);
    UNTIL(a.ended);
    assert_int_equal(a.failure, TR_KV_TIMEOUT);
    UNTIL(!up(store));
    assert_int_equal(ask_start(&b, store, 1), TR_KV_DOWN);
    assert_int_equal(kill(redis.pid, SIGCONT), 0);
    UNTIL(up(store));
    uint32_t admitted = 0, ended = 0;
    for (int i = 0; i < 400 && ended < 20; i++) { /* a busy machine may be late now and then */
        if (ask_start(&b, store, 1) != TR_KV_OK) {
            UNTIL(up(store));
            continue;
        }
        UNTIL(b.ended);
        ended += b.failure == TR_KV_OK;
        admitted += b.failure == TR_KV_OK && b.check.admitted;
    }
    assert_int_equal(ended, 20);
    assert_true(admitted <= 5); /* what timed out may have been charged, and never counts less */
}

static void restarted_store_is_found_again(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_gcra_result r;
    struct ask a = {0};
    assert_true(ask_one("a", 1, HOUR, 1, &r));
    redis_stop();
    UNTIL(!up(store));
    ask_add(&a, "a", tr_quota_redis_rate_make(1, HOUR, 1));
    assert_int_equal(ask_start(&a, store, 1), TR_KV_DOWN);
    redis_start("");
    UNTIL(up(store));
    assert_true(ask_one("a", 1, HOUR, 1, &r)); /* it has forgotten all */
    assert_false(ask_one("a", 1, HOUR, 1, &r));
}

static void password_and_database_are_those_of_the_url(void **state)
{
    (void)state;
    NEEDS_REDIS();
    struct tr_gcra_result r;
    redis_stop();
    redis_start("s3cret/@:");
    static const char *const wrong[] = {"", ":other@", "nobody:s3cret@"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct tr_kv_redis *l = open_link(wrong[i], "", tr_quota_redis_script, SECOND);
        UNTIL(tr_kv_redis_counters(l)->failed_connects >= 2);
        struct tr_span why = tr_kv_redis_trouble(l);
        assert_non_null(memmem(why.ptr, why.len, "was refused", 11));
        assert_null(memmem(why.ptr, why.len, "s3cret", 6));
        assert_false(up(l));
        tr_kv_redis_free(l);
    }
    tr_kv_redis_free(store);
    store = open_link("default:s3cret%2F%40%3A@", "?db=3", tr_quota_redis_script, SECOND);
    UNTIL(up(store));
    assert_true(ask_one("a", 1, HOUR, 1, &r));
    const char *said = redis_say("AUTH s3cret/@:\r\nDBSIZE\r\nSELECT 3\r\nDBSIZE\r\n");
    assert_string_equal(said, "+OK\r\n:0\r\n+OK\r\n:1\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(what_is_free_passes_and_leaves_nothing),
        REAL(burst_passes_at_once_then_it_says_when),
        REAL(idle_counters_go_away),
        REAL(none_is_charged_when_one_refuses),
        REAL(cost_beyond_the_capacity_never_passes),
        REAL(sixteen_quotas_and_any_bytes_in_keys),
        REAL(what_is_no_counter_is_an_error),
        REAL(many_clients_get_the_limit_and_never_one_more),
        REAL(forgotten_script_is_sent_again),
        REAL(killed_connection_comes_back),
        REAL(frozen_store_costs_the_timeout_then_nothing),
        REAL(restarted_store_is_found_again),
        REAL(password_and_database_are_those_of_the_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
