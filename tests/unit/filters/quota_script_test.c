/* The arithmetic of quotas in Redis: rates, and the script under a clock of the test's. */
#include "base/buf.h"
#include "quota_world.h"

/* ---- arithmetic, without a store ------------------------------------------------------------- */

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
    assert_true(ask(&a, 1));     /* and back */
    struct ask c = {0}, d = {0}; /* a third of a microsecond is not a seventh */
    ask_add(&c, "other", tr_quota_redis_rate_make(3, SECOND, 3));
    ask_add(&d, "other", tr_quota_redis_rate_make(7, SECOND, 7));
    assert_true(ask(&c, 1) && ask(&d, 1));
    assert_true(d.items[0].result.reset_ns >= 333333334 + 142857142);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_whole_numbers_and_lose_nothing),
        cmocka_unit_test(capacities_beyond_exact_numbers_are_cut),
        BARE(script_counts_as_whole_numbers_say),
        BARE(changed_limit_rounds_once_and_never_down),
        BARE(clock_that_is_set_back_costs_no_more_than_what_was_owed),
        BARE(clock_that_is_set_back_lets_never_one_more_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
