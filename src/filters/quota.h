/* Quotas: how many requests a client may make in a time.
 *
 * Vocabulary: a quota has a *name*, a *key* of parts whose values say whose counter it is, and a
 * *tier* that says how much; its *store* is this process (filters/quota_local.h) or Redis, shared
 * by gateways (filters/quota_redis.h).
 *
 * Contract: all quotas of a request must have room, and none is charged when one has not; charged
 * once on admission, never per attempt, never given back. A part without a value counts as one
 * shared value. What a failing store leaves undecided is decided by on_failure, counted and noted
 * for the access log. `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)
 * stand on every answer to what came as far, of a store that failed the policy alone; `Retry-After`
 * on 429. Those with before_authentication are checked before
 * it, the others after authorization.
 *
 * Two filters, since they have two places: QUOTA_EARLY and QUOTA. */
#ifndef TR_FILTERS_QUOTA_H
#define TR_FILTERS_QUOTA_H

#include "config/snapshot.h"
#include "filters/quota_local.h"
#include "filters/quota_redis.h"

enum tr_quota_part_kind {
    TR_QUOTA_CLAIM,
    TR_QUOTA_CONSUMER,
    TR_QUOTA_HEADER,
    TR_QUOTA_CLIENT_ADDRESS,
    TR_QUOTA_CLIENT_NETWORK, /* tr_ip_site */
    TR_QUOTA_METHOD,
    TR_QUOTA_CONSTANT,
    TR_QUOTA_TIER /* of the credential: in `tiers.from` alone */
};

struct tr_quota_part {
    enum tr_quota_part_kind kind;
    struct tr_span name; /* of the claim or header; the constant */
};

struct tr_quota_tier {
    struct tr_span value; /* whose tier it is; empty: those of no other */
    struct tr_gcra gcra;
    struct tr_quota_redis_rate rate;
    uint32_t limit, burst;
    uint64_t window_ns;
    struct tr_span policy_text; /* its member of RateLimit-Policy */
};

struct tr_quota {
    struct tr_span name;
    struct tr_quota_part parts[8];
    uint32_t part_count;
    struct tr_quota_part tier_from;
    const struct tr_quota_tier *tiers; /* tier_count + 1: the last is the quota's own */
    uint32_t tier_count;
    uint32_t index; /* of its name among all names of the snapshot: of its counters */
    bool shared, early;
    uint8_t on_failure; /* TR_ON_FAILURE_* */
};

struct tr_quotas { /* TR_POLICY_QUOTA */
    const struct tr_quota *items;
    uint32_t count, early;
};

struct tr_quota_conf { /* of a snapshot */
    const struct tr_span *names;
    uint32_t name_count, name_cap;
    struct tr_kv_redis_url redis; /* where, when any_shared */
    bool any, any_shared;         /* there is a quota; one in Redis */
};

/* Compiles the quotas of every policy into its slot; problems go to the snapshot. */
enum tr_err tr_quota_compile(struct tr_snapshot *snap, struct tr_quota_conf *conf) TR_MUST_USE;

#endif
