/* Consistent hashing: which endpoint a hash belongs to, so that most hashes keep theirs when
 * endpoints come and go.
 *
 * Vocabulary: an *owner* (0..count-1) has points on a circle of 64-bit numbers, 100 for each unit
 * of weight, at places that depend on its key alone; a hash belongs to the owner of the first point
 * at or after it. An owner that cannot be used gives its hashes to the owners of the points that
 * follow.
 *
 * Contract: immutable; built when endpoints change, off the request path. Arithmetic only; the same
 * keys and weights give the same circle in every process. */
#ifndef TR_UPSTREAM_RING_H
#define TR_UPSTREAM_RING_H

#include "base/status.h"

#include <stdbool.h>

#define TR_RING_POINTS     100   /* of an owner with weight 1 */
#define TR_RING_POINTS_MAX 1000  /* of one owner; weights above are scaled down together */
#define TR_RING_TOTAL_MAX  65536 /* of all, but one of each owner at least */

struct tr_ring_node {
    uint64_t key;
    uint32_t weight; /* at least 1 */
};

struct tr_ring;
/* TR_ERR_NOMEM. count at least 1. */
enum tr_err tr_ring_new(const struct tr_ring_node *nodes, uint32_t count,
                        struct tr_ring **ret_ring) TR_MUST_USE;
void tr_ring_free(struct tr_ring *ring);
uint32_t tr_ring_size(const struct tr_ring *ring);

/* The first owner for the hash that `usable` takes; `none` when it takes nobody. */
uint32_t tr_ring_find(const struct tr_ring *ring, uint64_t hash,
                      bool (*usable)(void *ctx, uint32_t owner), void *ctx, uint32_t none);

#endif
