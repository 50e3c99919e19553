#include "filters/quota_redis.h"

#include "base/buf.h"
#include "io/loop.h"
#include "redis_world.h"
#include "test.h"

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define HOUR   (3600 * SECOND)

static struct tr_loop *loop;
static struct tr_kv_redis *store;

static void tick(struct tr_timer *timer)
{
    (void)timer;
}

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        struct tr_timer tick_;                                                                     \
        tr_timer_init(&tick_, loop, tick);                                                         \
        for (int turn_ = 0; turn_ < 20000 && !(cond); turn_++) {                                   \
            assert_int_equal(tr_timer_start(&tick_, MS), TR_OK);                                   \
            tr_loop_turn(loop, true);                                                              \
        }                                                                                          \
        tr_timer_stop(&tick_);                                                                     \
        assert_true(cond);                                                                         \
    } while (0)

static struct tr_kv_redis *open_link(const char *user, const char *tail, struct tr_span script,
                                     uint64_t timeout_ns)
{
    struct tr_kv_redis_url url;
    struct tr_kv_redis *l;
    char text[200];
    (void)snprintf(text, sizeof text, "unix://%s%s%s", user, redis.path, tail);
    assert_int_equal(tr_kv_redis_parse(tr_span_cstr(text), &url, NULL), TR_OK);
    struct tr_kv_redis_options o = {.loop = loop,
                                    .url = &url,
                                    .script = script,
                                    .timeout_ns = timeout_ns,
                                    .silence_ns = timeout_ns < 200 * MS ? 200 * MS : 0,
                                    .backoff_ns = 5 * MS};
    assert_int_equal(tr_kv_redis_new(&o, &l), TR_OK);
    return l;
}

static bool up(const struct tr_kv_redis *l)
{
    return tr_kv_redis_counters(l)->up == 1;
}

/* ---- asking ---- */

struct ask {
    struct tr_quota_redis_check check;
    struct tr_quota_redis_rate rates[TR_QUOTA_REDIS_MAX];
    struct tr_quota_redis_item items[TR_QUOTA_REDIS_MAX];
    bool ended;
    enum tr_kv_failure failure;
};

static void ask_ended(struct tr_quota_redis_check *check, enum tr_kv_failure failure)
{
    struct ask *a = check->ctx;
    a->ended = true;
    a->failure = failure;
}

static void ask_add(struct ask *a, const char *key, struct tr_quota_redis_rate rate)
{
    uint32_t i = a->check.count++;
    a->rates[i] = rate;
    a->items[i] = (struct tr_quota_redis_item){.rate = &a->rates[i], .key = tr_span_cstr(key)};
}

static enum tr_kv_failure ask_start(struct ask *a, struct tr_kv_redis *l, uint32_t cost)
{
    a->check.items = a->items;
    a->check.cost = cost;
    a->check.fn = ask_ended;
    a->check.ctx = a;
    a->ended = false;
    return tr_quota_redis_check(l, &a->check);
}

/* To its end; the store must answer. */
static bool ask(struct ask *a, uint32_t cost)
{
    assert_int_equal(ask_start(a, store, cost), TR_KV_OK);
    UNTIL(a->ended);
    assert_int_equal(a->failure, TR_KV_OK);
    return a->check.admitted;
}

static bool ask_one(const char *key, uint32_t limit, uint64_t window_ns, uint32_t burst,
                    struct tr_gcra_result *ret)
{
    struct ask a = {0};
    ask_add(&a, key, tr_quota_redis_rate_make(limit, window_ns, burst));
    bool admitted = ask(&a, 1);
    *ret = a.items[0].result;
    return admitted;
}

/* ---- the world ---- */

static int start_bare(void **state)
{
    (void)state;
    if (!redis_is_here())
        return 0;
    redis_dir_make();
    redis_start("");
    return tr_loop_new(&loop) ? -1 : 0;
}

static int start(void **state)
{
    if (!redis_is_here())
        return 0;
    if (start_bare(state))
        return -1;
    store = open_link("", "", tr_quota_redis_script, 10 * SECOND);
    UNTIL(up(store));
    return 0;
}

static int stop(void **state)
{
    (void)state;
    if (!redis_is_here())
        return 0;
    tr_kv_redis_free(store);
    store = NULL;
    tr_loop_free(loop);
    redis_stop();
    redis_dir_remove();
    return 0;
}

#define NEEDS_REDIS()                                                                              \
    do {                                                                                           \
        if (!redis_is_here())                                                                      \
            skip();                                                                                \
    } while (0)

/* ---- arithmetic, without a store ---- */

static void rates_are_whole_numbers_and_lose_nothing(void **state)
{
    (void)state;
    static const struct {
        uint32_t limit, burst;
        uint64_t window_ns;
    } cases[] = {{1000, 0, 60 * SECOND},    {7, 0, SECOND},         {3, 5, SECOND},
                 {1000000000, 1, SECOND},   {999999937, 3, SECOND}, {1, 1, 1},
                 {997, 13, 86399 * SECOND}, {1, 1, 366 * 24 * HOUR}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_quota_redis_rate r =
            tr_quota_redis_rate_make(cases[i].limit, cases[i].window_ns, cases[i].burst);
        uint64_t burst = cases[i].burst ? cases[i].burst : cases[i].limit;
        __uint128_t interval = (__uint128_t)r.interval_us * r.den + r.interval_frac;
        __uint128_t capacity = (__uint128_t)r.capacity_us * r.den + r.capacity_frac;
        assert_true(r.interval_frac < r.den && r.capacity_frac < r.den);
        assert_true(r.den < (UINT64_C(1) << 52) && r.capacity_us <= (UINT64_C(1) << 51));
        /* interval / den microseconds = window / limit nanoseconds */
        assert_true(interval * cases[i].limit * 1000 == (__uint128_t)cases[i].window_ns * r.den);
        assert_true(capacity == interval * burst);
    }
}

static void capacities_beyond_exact_numbers_are_cut(void **state)
{
    (void)state;
    struct tr_quota_redis_rate r = tr_quota_redis_rate_make(1, 366 * 24 * HOUR, 1000000000);
    __uint128_t interval = (__uint128_t)r.interval_us * r.den + r.interval_frac;
    __uint128_t capacity = (__uint128_t)r.capacity_us * r.den + r.capacity_frac;
    assert_true(r.capacity_us <= (UINT64_C(1) << 51));
    assert_true(capacity % interval == 0 && capacity >= interval);
    r = tr_quota_redis_rate_make(1, UINT64_MAX, 1000000000);
    assert_true(r.interval_us <= (UINT64_C(1) << 51) && r.capacity_us <= (UINT64_C(1) << 51));
}

/* ---- the script under a clock of the test's, against whole numbers without any limit of size ----
 */

static struct tr_buf clocked;

static void put_script(struct tr_span *rest, const char *until, const char *instead)
{
    const char *at = memmem(rest->ptr, rest->len, until, strlen(until));
    assert_non_null(at);
    size_t before = (size_t)(at - rest->ptr);
    assert_int_equal(tr_buf_append(&clocked, tr_span(rest->ptr, before)), TR_OK);
    assert_int_equal(tr_buf_append(&clocked, tr_span_cstr(instead)), TR_OK);
    *rest = tr_span_from(*rest, before + strlen(until));
}

/* The script with the test's clock; counters expire by the real one, and so much later. */
static struct tr_span clocked_script(void)
{
    struct tr_span rest = tr_quota_redis_script;
    tr_buf_init(&clocked);
    put_script(&rest, "redis.call('TIME')", "redis.call('MGET', 'clock_s', 'clock_us')");
    put_script(&rest, "+ 1000)", "+ 1000000)");
    assert_int_equal(tr_buf_append(&clocked, rest), TR_OK);
    return tr_buf_span(&clocked);
}

static void set_clock(uint64_t now_us)
{
    char text[128];
    (void)snprintf(text, sizeof text, "MSET clock_s %llu clock_us %llu\r\n",
                   (unsigned long long)(now_us / 1000000), (unsigned long long)(now_us % 1000000));
    assert_string_equal(redis_say(text), "+OK\r\n");
}

/* Units of 1/limit nanoseconds: everything is a whole number. */
struct model {
    __uint128_t tat, interval, capacity;
    uint32_t limit;
};

static bool model_ask(struct model *m, uint64_t now_us, uint32_t cost, uint32_t *ret_remaining)
{
    __uint128_t now = (__uint128_t)now_us * 1000 * m->limit;
    __uint128_t tat = m->tat > now ? m->tat : now, next = tat + m->interval * cost;
    bool admitted = next <= now + m->capacity;
    if (admitted)
        m->tat = tat = next;
    *ret_remaining = (uint32_t)((now + m->capacity - tat) / m->interval);
    return admitted;
}

static void script_counts_as_whole_numbers_say(void **state)
{
    (void)state;
    NEEDS_REDIS();
    static const uint32_t limits[] = {1, 3, 7, 997, 1000, 999983, 999999937, 1000000000};
    uint64_t seed = tr_test_seed(), admitted = 0, refused = 0;
    store = open_link("", "", clocked_script(), 10 * SECOND);
    UNTIL(up(store));
    for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++) {
        uint64_t window = (k % 2 ? 60 : 1) * SECOND + (k == 2 ? 1 : 0);
        uint64_t now = UINT64_C(1800000000000000) + tr_test_rand(&seed) % 1000000;
        uint32_t burst = 1 + (uint32_t)(tr_test_rand(&seed) % 20);
        struct model m = {
            .interval = window, .capacity = (__uint128_t)window * burst, .limit = limits[k]};
        uint64_t step = window / 1000 / limits[k]; /* of the interval, in microseconds */
        char key[32];
        (void)snprintf(key, sizeof key, "model %zu", k);
        for (int i = 0; i < 150; i++) {
            uint64_t kind = tr_test_rand(&seed) % 4;
            now += kind == 0 ? 0 : kind == 1 ? 1 : tr_test_rand(&seed) % (2 * step + 2);
            set_clock(now);
            uint32_t cost = (uint32_t)(tr_test_rand(&seed) % 3), remaining;
            struct ask a = {0};
            ask_add(&a, key, tr_quota_redis_rate_make(limits[k], window, burst));
            bool want = model_ask(&m, now, cost, &remaining);
            assert_int_equal(ask(&a, cost), want);
            assert_int_equal(a.items[0].result.remaining, remaining);
            assert_int_equal(a.items[0].result.allowed, want);
            __uint128_t now_units = (__uint128_t)now * 1000 * m.limit;
            __uint128_t owed = m.tat > now_units ? m.tat - now_units : 0;
            assert_true(a.items[0].result.reset_ns == (owed + m.limit - 1) / m.limit);
            if (!want) {
                __uint128_t price = m.interval * cost, room = m.capacity - price;
                uint64_t wait =
                    cost > burst ? UINT64_MAX : (uint64_t)((owed - room + m.limit - 1) / m.limit);
                assert_true(a.items[0].result.retry_after_ns == wait);
            }
            admitted += want;
            refused += !want;
        }
    }
    assert_true(admitted > 100 && refused > 20); /* the walk saw both */
    tr_buf_fini(&clocked);
}

static void changed_limit_rounds_once_and_never_down(void **state)
{
    (void)state;
    NEEDS_REDIS();
    store = open_link("", "", clocked_script(), 10 * SECOND);
    UNTIL(up(store));
    set_clock(1800000000000000);
    struct ask a = {0}, b = {0};
    ask_add(&a, "k", tr_quota_redis_rate_make(7, SECOND, 7)); /* 142857 1/7 us */
    ask_add(&b, "k", tr_quota_redis_rate_make(3, SECOND, 3)); /* 333333 1/3 us */
    assert_true(ask(&a, 1));
    assert_true(ask(&b, 1));
    assert_true(b.items[0].result.reset_ns >= 142857143 + 333333334);
    assert_true(b.items[0].result.reset_ns <= 142858000 + 333333334);
    assert_true(ask(&a, 1)); /* and back */
    tr_buf_fini(&clocked);
}

/* An hour back: what was owed is owed still, not for an hour more; also a request that is refused
 * lets the time go on from there. */
static void clock_that_is_set_back_costs_no_more_than_what_was_owed(void **state)
{
    (void)state;
    NEEDS_REDIS();
    const uint64_t us = 1000000, begin = 1800000000 * us, back = begin - 3600 * us;
    struct tr_gcra_result r;
    store = open_link("", "", clocked_script(), 10 * SECOND);
    UNTIL(up(store));
    set_clock(begin);
    for (int i = 0; i < 5; i++)
        assert_true(ask_one("k", 10, 10 * SECOND, 5, &r));
    set_clock(back);
    assert_false(ask_one("k", 10, 10 * SECOND, 5, &r));
    assert_true(r.retry_after_ns == SECOND && r.reset_ns == 5 * SECOND);
    set_clock(back + us - 1);
    assert_false(ask_one("k", 10, 10 * SECOND, 5, &r));
    assert_true(r.retry_after_ns == 1000);
    set_clock(back + us);
    assert_true(ask_one("k", 10, 10 * SECOND, 5, &r));
    assert_false(ask_one("k", 10, 10 * SECOND, 5, &r));
    set_clock(back + 3 * us);
    assert_true(ask_one("k", 10, 10 * SECOND, 5, &r) && ask_one("k", 10, 10 * SECOND, 5, &r));
    assert_false(ask_one("k", 10, 10 * SECOND, 5, &r));
    tr_buf_fini(&clocked);
}

/* Whatever the clock was set back by: never one more than by the true time. */
static void clock_that_is_set_back_lets_never_one_more_pass(void **state)
{
    (void)state;
    NEEDS_REDIS();
    uint64_t seed = tr_test_seed(), now = UINT64_C(1800000000000000), behind = 0, admitted = 0;
    struct model m = {.interval = SECOND, .capacity = (__uint128_t)SECOND * 4, .limit = 7};
    store = open_link("", "", clocked_script(), 10 * SECOND);
    UNTIL(up(store));
    for (int i = 0; i < 600; i++) {
        now += tr_test_rand(&seed) % 200000;
        if (tr_test_rand(&seed) % 8 == 0)
            behind += tr_test_rand(&seed) % (tr_test_rand(&seed) % 2 ? 100000000 : 100000);
        set_clock(now - behind);
        struct tr_gcra_result r;
        uint32_t unused;
        if (!ask_one("k", 7, SECOND, 4, &r))
            continue;
        assert_true(model_ask(&m, now, 1, &unused));
        admitted++;
    }
    assert_true(admitted > 150); /* of some 420 that were earned */
    tr_buf_fini(&clocked);
}

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

/* ---- the real clock ---- */

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

/* ---- many clients ---- */

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

/* ---- what happens to a store ---- */

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

#define BARE(name) cmocka_unit_test_setup_teardown(name, start_bare, stop)
#define REAL(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_whole_numbers_and_lose_nothing),
        cmocka_unit_test(capacities_beyond_exact_numbers_are_cut),
        BARE(script_counts_as_whole_numbers_say),
        BARE(changed_limit_rounds_once_and_never_down),
        BARE(clock_that_is_set_back_costs_no_more_than_what_was_owed),
        BARE(clock_that_is_set_back_lets_never_one_more_pass),
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
