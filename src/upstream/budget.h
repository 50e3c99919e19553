/* The retry budget of an upstream: how many attempts it is given beyond the first ones.
 *
 * A token bucket that all workers of the process share: a first attempt adds percent/100 of a
 * token, time adds min_per_second, a retry takes one. It holds at most TR_BUDGET_TOKENS (or
 * min_per_second, where that is more) and has ten seconds of the floor in it at start; time counts
 * from the first take. So in any time t with n first attempts there are never more than n *
 * percent/100 + t * min_per_second + the bucket retries (SPEC §10).
 *
 * A budget that is all zeroes is a new one. Any thread; no locks. Arithmetic: `now` is passed in.
 */
#ifndef TR_UPSTREAM_BUDGET_H
#define TR_UPSTREAM_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TR_BUDGET_TOKENS        100u
#define TR_BUDGET_START_SECONDS 10

struct tr_budget_conf {
    uint32_t percent; /* 0..1000 */
    uint32_t min_per_second;
};

struct tr_budget {
    _Atomic int64_t spent;     /* what it held at start less what it holds, in millionths */
    _Atomic uint64_t until_ns; /* time has been credited up to here; 0: none was asked for yet */
};

/* A first attempt goes out. */
void tr_budget_earn(struct tr_budget *budget, const struct tr_budget_conf *conf);
/* false: there is none left. */
bool tr_budget_take(struct tr_budget *budget, const struct tr_budget_conf *conf, uint64_t now_ns);

#endif
