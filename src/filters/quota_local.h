/* Quotas that are counted in this process: one table of counters, shared by all workers.
 *
 * Contract
 *  1. Exact for the process: of one key at most what GCRA allows (base/gcra.h) is admitted, however
 *     many workers ask at once. Several quotas of one request are charged all or none.
 *  2. Lock-free: a counter that is known is charged by one 16-byte compare-and-swap; a key that is
 *     not there is brought in by any thread that meets it, so that none waits for another.
 *  3. A charge that is taken back (a race between quotas of one request, or a store that refused)
 *     gives back what is certain to be still owed for it: a counter that would have been idle
 *     without it gets less, never more.
 *  4. Bounded: buckets of TR_QUOTA_WAYS counters, made at start. An idle counter (all paid for) is
 *     as good as none, and its place is taken first; when no place of a bucket is idle, the one
 *     that owes least goes, and is counted as evicted: its key starts anew.
 *  5. A key is known by its bucket and 64 more bits, of two hashes with secret seeds. Two keys
 * share a counter when both are the same: a key that comes in meets at most 8 others, so of n keys
 *     that ever come the chance that any two do is below n * 8 / 2^64 (a thousand million keys:
 *     one in two thousand million).
 *
 * Thread: any. Time is passed in: monotonic ns since an origin that all callers share. */
#ifndef TR_FILTERS_QUOTA_LOCAL_H
#define TR_FILTERS_QUOTA_LOCAL_H

#include "base/gcra.h"
#include "base/span.h"
#include "base/status.h"

#define TR_QUOTA_WAYS 8
#define TR_QUOTA_MAX  16 /* quotas of one request */

struct tr_quota_local;

/* One quota of one request. */
struct tr_quota_ask {
    struct tr_gcra gcra;
    struct tr_span key;           /* name and values; what is equal shares a counter */
    struct tr_gcra_result result; /* set by the check */
    uint64_t hash, paid_from;     /* the table's own, as is the next */
    uint32_t bucket;
};

/* entries is rounded up to a power of two. */
enum tr_err tr_quota_local_new(uint32_t entries, uint64_t seed,
                               struct tr_quota_local **ret_table) TR_MUST_USE;
void tr_quota_local_free(struct tr_quota_local *table);

/* Charges `cost` to each of the count (at most TR_QUOTA_MAX) quotas, or to none. true: admitted.
 * Cost 0 always passes, and makes no counter. Each result tells what is left; of a refused request
 * only those with allowed false refused it. */
bool tr_quota_local_check(struct tr_quota_local *table, struct tr_quota_ask *asks, uint32_t count,
                          uint32_t cost, uint64_t now_ns);
/* Whether it would be admitted now; charges nothing and makes no counter. */
bool tr_quota_local_peek(const struct tr_quota_local *table, struct tr_quota_ask *ask,
                         uint32_t cost, uint64_t now_ns);
/* Takes back what a check just admitted, when another store refused; results then say so. */
void tr_quota_local_undo(struct tr_quota_local *table, struct tr_quota_ask *asks, uint32_t count,
                         uint32_t cost);
uint64_t tr_quota_local_evictions(const struct tr_quota_local *table);

#endif
