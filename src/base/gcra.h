/* The generic cell rate algorithm: how many requests a quota still has, from one number.
 *
 * Vocabulary: the *interval* is what one request costs in time, window/limit; the *capacity* is
 * what may be owed at once, burst * interval; the *TAT* (theoretical arrival time) is when
 * everything admitted so far is paid for. From idle `burst` requests pass at once, then one each
 * interval: in any time t since it was idle at most burst + floor(t / interval).
 *
 * Time is in *ticks* of 1/16 ns since an origin of the caller's, so that an interval which is no
 * whole number of nanoseconds is rounded up by less than 63 ps: never one more request than the
 * limit, one fewer after 16 * interval_ns requests without a pause at the earliest. 64 bits of
 * ticks are 36 years: of a process that runs, and of what it may be owed, 18 each. Pure functions.
 */
#ifndef TR_BASE_GCRA_H
#define TR_BASE_GCRA_H

#include <stdbool.h>
#include <stdint.h>

#define TR_GCRA_TICKS_PER_NS ((uint64_t)16)
/* Longer windows and larger bursts are cut to this: 18 years. */
#define TR_GCRA_CAPACITY_MAX ((uint64_t)1 << 63)

struct tr_gcra {
    uint64_t interval; /* ticks, at least 1 */
    uint64_t capacity; /* ticks, a multiple of interval */
};

struct tr_gcra_result {
    bool allowed;
    uint32_t remaining;      /* requests of cost 1 that would pass now, after this one */
    uint64_t retry_after_ns; /* until a request of this cost passes; 0 when allowed; UINT64_MAX:
                                never, it costs more than the capacity */
    uint64_t reset_ns;       /* until the whole capacity is there again */
};

/* limit and window_ns at least 1; burst 0 means limit. */
struct tr_gcra tr_gcra_make(uint32_t limit, uint64_t window_ns, uint32_t burst);

static inline uint64_t tr_gcra_ticks(uint64_t ns)
{
    return ns * TR_GCRA_TICKS_PER_NS;
}

/* What a request of `cost` at `now` (ticks) makes of a counter whose TAT is `tat` (0 or in the
 * past: idle). Cost 0 always passes, also when more is owed than this capacity: by a greater one.
 * *ret_tat is set also when it is refused: to what it was, or now. */
struct tr_gcra_result tr_gcra_ask(const struct tr_gcra *g, uint64_t tat, uint64_t now,
                                  uint32_t cost, uint64_t *ret_tat);

#endif
