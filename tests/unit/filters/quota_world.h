/* A real Redis, a link to it, and quotas asked of it. */
#ifndef TR_TESTS_UNIT_FILTERS_QUOTA_WORLD_H
#define TR_TESTS_UNIT_FILTERS_QUOTA_WORLD_H

#include "filters/quota_redis.h"
#include "io/loop.h"
#include "redis_world.h"
#include "test.h"

#define MS     UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)
#define HOUR   (3600 * SECOND)

static struct tr_loop *loop;
static struct tr_kv_redis *store;

static inline void tick(struct tr_timer *timer)
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

static inline struct tr_kv_redis *open_link(const char *user, const char *tail,
                                            struct tr_span script, uint64_t timeout_ns)
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

static inline bool up(const struct tr_kv_redis *l)
{
    return tr_kv_redis_counters(l)->up == 1;
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct ask {
    struct tr_quota_redis_check check;
    struct tr_quota_redis_rate rates[TR_QUOTA_REDIS_MAX];
    struct tr_quota_redis_item items[TR_QUOTA_REDIS_MAX];
    bool ended;
    enum tr_kv_failure failure;
};

static inline void ask_ended(struct tr_quota_redis_check *check, enum tr_kv_failure failure)
{
    struct ask *a = check->ctx;
    a->ended = true;
    a->failure = failure;
}

static inline void ask_add(struct ask *a, const char *key, struct tr_quota_redis_rate rate)
{
    uint32_t i = a->check.count++;
    a->rates[i] = rate;
    a->items[i] = (struct tr_quota_redis_item){.rate = &a->rates[i], .key = tr_span_cstr(key)};
}

static inline enum tr_kv_failure ask_start(struct ask *a, struct tr_kv_redis *l, uint32_t cost)
{
    a->check.items = a->items;
    a->check.cost = cost;
    a->check.fn = ask_ended;
    a->check.ctx = a;
    a->ended = false;
    return tr_quota_redis_check(l, &a->check);
}

/* To its end; the store must answer. */
static inline bool ask(struct ask *a, uint32_t cost)
{
    assert_int_equal(ask_start(a, store, cost), TR_KV_OK);
    UNTIL(a->ended);
    assert_int_equal(a->failure, TR_KV_OK);
    return a->check.admitted;
}

static inline bool ask_one(const char *key, uint32_t limit, uint64_t window_ns, uint32_t burst,
                           struct tr_gcra_result *ret)
{
    struct ask a = {0};
    ask_add(&a, key, tr_quota_redis_rate_make(limit, window_ns, burst));
    bool admitted = ask(&a, 1);
    *ret = a.items[0].result;
    return admitted;
}

/* ---- the world ------------------------------------------------------------------------------- */

static inline int start_bare(void **state)
{
    (void)state;
    if (!redis_is_here())
        return 0;
    redis_dir_make();
    redis_start("");
    return tr_loop_new(&loop) ? -1 : 0;
}

static inline int start(void **state)
{
    if (!redis_is_here())
        return 0;
    if (start_bare(state))
        return -1;
    store = open_link("", "", tr_quota_redis_script, 10 * SECOND);
    UNTIL(up(store));
    return 0;
}

static inline int stop(void **state)
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
            skip(); /* redis-server is not installed */                                            \
    } while (0)

#define BARE(name) cmocka_unit_test_setup_teardown(name, start_bare, stop)
#define REAL(name) cmocka_unit_test_setup_teardown(name, start, stop)

#endif
