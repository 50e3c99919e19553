/* Outlier detection: an endpoint that fails several calls in a row is left out for a while. Atomics
 * that all workers share, `now` passed in.
 *
 * Vocabulary: *ejected* until a time: the n-th ejection in a row lasts n x base_ejection, n at most
 * TR_OUTLIER_TIMES_MAX; n falls by one for each base_ejection that the endpoint was in use since. A
 * *group* is the endpoints of one upstream: max_ejected_percent of them, but at least one where
 * there are two, may be ejected at once; the only endpoint never is.
 *
 * Contract: failures that come while an endpoint is ejected (calls that were under way) do not
 * count; a success sets the count to zero. An ejection ends when somebody sees that its time is
 * over (tr_outlier_settle), which gives its place in the group back.
 *
 * Thread: any; zeroed is ready. */
#ifndef TR_UPSTREAM_OUTLIER_H
#define TR_UPSTREAM_OUTLIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TR_OUTLIER_TIMES_MAX 10

struct tr_outlier_conf {
    uint32_t consecutive_failures;
    uint64_t base_ejection_ns;
    uint32_t max_ejected_percent;
};

struct tr_outlier {
    _Atomic uint32_t failures; /* in a row */
    _Atomic uint32_t times;    /* ejections in a row */
    _Atomic uint64_t until_ns; /* 0: not ejected */
    _Atomic uint64_t back_ns;  /* when the last ejection ended */
};

/* Places for ejected endpoints in a group of `count`. */
uint32_t tr_outlier_places(const struct tr_outlier_conf *conf, uint32_t count);

/* A call of the endpoint ended. `ejected` counts the group's ejections. True: this ejected it. */
bool tr_outlier_report(struct tr_outlier *o, const struct tr_outlier_conf *conf,
                       _Atomic uint32_t *ejected, uint32_t count, bool failure, uint64_t now_ns);
/* Is it ejected at `now`? Ends an ejection whose time is over; *ret_ended is set true when this
 * call did that, and is left alone else. */
bool tr_outlier_settle(struct tr_outlier *o, _Atomic uint32_t *ejected, uint64_t now_ns,
                       bool *ret_ended);
/* The endpoint goes: forgets all. */
void tr_outlier_reset(struct tr_outlier *o, _Atomic uint32_t *ejected);

#endif
