/* When load shedding begins and ends, as arithmetic.
 *
 * Vocabulary: a *level* is a measure, its bound, and whether the bound counts as passed. It is
 * passed above the bound, and until the measure has fallen clearly below it: without the distance a
 * gateway at its bound would answer every other request.
 *
 * Contract: lag is smoothed, each sample moving it a quarter of the way: one long turn passes, two
 * in a row count. Memory is taken as it is. A bound of 0 is never passed. */
#ifndef TR_FILTERS_SHED_LEVEL_H
#define TR_FILTERS_SHED_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

struct tr_shed_level {
    uint64_t value; /* smoothed ns, or bytes */
    bool over;
};

/* Samples of lag must come at a steady pace, also while nothing is asked: else the last one before
 * a pause would stand. Over above the bound, until half of it. */
void tr_shed_lag(struct tr_shed_level *level, uint64_t sample_ns, uint64_t bound_ns);
/* Over above the bound, until 95 % of it. */
void tr_shed_memory(struct tr_shed_level *level, uint64_t bytes, uint64_t bound_bytes);
/* How often lag is to be sampled. */
uint64_t tr_shed_lag_interval(uint64_t bound_ns);

/* Resident pages of a line of /proc/PID/statm; 0: it has another form. */
uint64_t tr_shed_statm_pages(const char *text, uint32_t len);

#endif
