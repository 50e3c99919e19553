/* When load shedding begins and ends, and how much of the load it takes, as arithmetic.
 *
 * Vocabulary: a *level* is a measure, its bound, whether the bound counts as passed, and the
 * *share* of new requests that is refused meanwhile. A bound is passed above it, and until the
 * measure has fallen clearly below it: without the distance a gateway at its bound would answer
 * every other request.
 *
 * Contract
 *  1. Lag is smoothed, each sample moving it a quarter of the way: from rest one turn passes that
 * is late by up to four times the bound, two in a row count from three times on, and what goes on
 *     counts from the bound itself. Above the bound the share rises with each sample, from half to
 * 15 of 16; below half the bound it falls; between the two it stays. It never reaches all: refusals
 * take time too, and where clients ask again at once, a gateway that refuses everything would lag
 * from refusing alone and serve nobody.
 *  2. Memory is taken as it is; above the bound the share is all.
 *  3. A bound of 0 is never passed. */
#ifndef TR_FILTERS_SHED_LEVEL_H
#define TR_FILTERS_SHED_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#define TR_SHED_ALL 16

struct tr_shed_level {
    uint64_t value; /* smoothed ns, or bytes */
    bool over;
    uint8_t share; /* of TR_SHED_ALL */
    uint8_t turn;  /* tr_shed_refuses: what is left over of the last request */
};

/* Samples of lag must come at a steady pace, also while nothing is asked: else the last one before
 * a pause would stand. */
void tr_shed_lag(struct tr_shed_level *level, uint64_t sample_ns, uint64_t bound_ns);
/* Over above the bound, until 95 % of it. */
void tr_shed_memory(struct tr_shed_level *level, uint64_t bytes, uint64_t bound_bytes);
/* Whether the next request is to be refused: share of them, spread evenly. */
static inline bool tr_shed_refuses(struct tr_shed_level *level)
{
    level->turn = (uint8_t)(level->turn + level->share);
    if (level->turn < TR_SHED_ALL)
        return false;
    level->turn = (uint8_t)(level->turn - TR_SHED_ALL);
    return true;
}

/* How often lag is to be sampled. */
uint64_t tr_shed_lag_interval(uint64_t bound_ns);

/* Resident pages of a line of /proc/PID/statm; 0: it has another form. */
uint64_t tr_shed_statm_pages(const char *text, uint32_t len);

#endif
