/* Quotas that gateways share: counted in Redis by one Lua script, one call for all quotas of a
 * request.
 *
 * Contract
 *  1. Exact for the store: of one key at most what GCRA allows is admitted, burst at once from idle
 *     and one each window/limit after, by the store's own clock (TIME, microseconds), however many
 *     gateways ask. All quotas of a call are charged or none: a script is atomic.
 *  2. Arithmetic is in whole numbers: a counter is microseconds and a fraction over `den`, the
 *     denominator of window/limit in microseconds, so nothing is rounded. Each number stays below
 * 2^53, what a Lua number holds exactly: windows and bursts whose capacity is longer than 2^51
 *     microseconds (71 years) are cut to that. When the limit of a counter changes its fraction is
 *     rounded up once, by less than a microsecond. When the store's clock is set back, what was
 * owed at the last charge is owed still, and no longer. Cost 0 always passes and makes no counter.
 *  3. Keys are "{transom}:" and what is given: one hash tag, so that a Redis Cluster has all of
 * them in one slot. They expire when they are idle.
 *  4. The keys of one check must differ from one another.
 *
 * Thread: that of the link. Nothing is allocated for a check. */
#ifndef TR_FILTERS_QUOTA_REDIS_H
#define TR_FILTERS_QUOTA_REDIS_H

#include "base/gcra.h"
#include "base/span.h"
#include "io/kv_redis.h"

#define TR_QUOTA_REDIS_MAX 16 /* quotas of one check */

/* For tr_kv_redis_options.script. */
extern const struct tr_span tr_quota_redis_script;

/* How much and how fast, as the script counts; made once for each quota and tier. Microseconds and
 * a fraction of one over den. */
struct tr_quota_redis_rate {
    uint64_t interval_us, interval_frac;
    uint64_t capacity_us, capacity_frac;
    uint64_t den;
};
/* limit, window_ns at least 1; burst 0 means limit. */
struct tr_quota_redis_rate tr_quota_redis_rate_make(uint32_t limit, uint64_t window_ns,
                                                    uint32_t burst);

struct tr_quota_redis_item {
    const struct tr_quota_redis_rate *rate;
    struct tr_span key;           /* what is equal shares a counter; at most 64 KiB */
    struct tr_gcra_result result; /* set before fn when there was no failure */
};

/* Embedded in whoever asks; zeroed before its first use. */
struct tr_quota_redis_check {
    struct tr_kv_call call;
    struct tr_quota_redis_item *items; /* must stay, with the keys, until fn or the cancel */
    uint32_t count;
    uint32_t cost;
    /* TR_KV_OK: `admitted` and the results are set. Else the store failed: no result is, and
     * whether it charged is unknown after TIMEOUT and LOST. See contract 1 of io/kv.h. */
    void (*fn)(struct tr_quota_redis_check *check, enum tr_kv_failure failure);
    void *ctx; /* the owner's */
    bool admitted;
};

/* Charges `cost` to each of the count quotas, or to none. items, count (1 to TR_QUOTA_REDIS_MAX),
 * cost and fn are set by the caller. TR_KV_OK: fn will be called; else it will not. */
enum tr_kv_failure tr_quota_redis_check(struct tr_kv_redis *link,
                                        struct tr_quota_redis_check *check) TR_MUST_USE;
/* fn will not run; also when none is under way. */
static inline void tr_quota_redis_cancel(struct tr_quota_redis_check *check)
{
    tr_kv_cancel(&check->call);
}

#endif
