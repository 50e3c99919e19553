/* What all workers know of an endpoint, by its address: a bounded table of slots.
 *
 * Contract: a worker that makes an endpoint takes the slot of its address, and gives it back when
 * the endpoint goes; the last one to do so clears it. When the table is full a worker goes on with
 * a slot of its own (its knowledge is then not shared). Without locks; taking and giving back
 * happens when endpoints come and go, never in a request.
 *
 * Thread: any. */
#ifndef TR_UPSTREAM_ESLOT_H
#define TR_UPSTREAM_ESLOT_H

#include "io/stream.h"
#include "upstream/outlier.h"

#define TR_ESLOTS_FOR_NAMES 256 /* addresses of names, beside those that are configured */

struct tr_eslot {
    _Atomic uint64_t owner; /* key (48 bits), workers that hold it (16) */
    struct tr_outlier outlier;
    _Atomic uint32_t health;        /* enum tr_health */
    _Atomic uint64_t healthy_ns;    /* when it was healthy again; 0: it always was */
    _Atomic uint64_t next_check_ns; /* nobody checks it before */
    _Atomic bool down_told;         /* the log has that it cannot be connected to */
};

/* The same for all processes: an address's identity. Never 0. */
uint64_t tr_addr_key(const struct tr_addr *addr);

/* NULL: the table is full (or there is none: slots NULL). */
struct tr_eslot *tr_eslot_take(struct tr_eslot *slots, uint32_t count, uint64_t key);
/* `ejected` as in tr_outlier_reset. */
void tr_eslot_give(struct tr_eslot *slot, _Atomic uint32_t *ejected);
static inline bool tr_eslot_held(const struct tr_eslot *slot)
{
    return atomic_load_explicit(&slot->owner, memory_order_relaxed) != 0;
}

#endif
