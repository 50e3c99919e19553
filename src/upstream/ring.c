#include "upstream/ring.h"

#include "base/alloc.h"

#include <stdlib.h>

struct point {
    uint64_t at;
    uint32_t owner;
};

struct tr_ring {
    uint32_t count;
    struct point points[];
};

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int by_place(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->owner > y->owner) - (x->owner < y->owner);
}

/* Points of a node: weight x 100, less when that is too many for one or for all. */
static uint32_t points_of(const struct tr_ring_node *node, uint64_t heaviest, uint64_t sum)
{
    uint64_t n = (uint64_t)node->weight * TR_RING_POINTS;
    if (heaviest * TR_RING_POINTS > TR_RING_POINTS_MAX)
        n = (uint64_t)node->weight * TR_RING_POINTS_MAX / heaviest;
    uint64_t share = (uint64_t)node->weight * TR_RING_TOTAL_MAX / sum;
    if (n > share)
        n = share;
    return n ? (uint32_t)n : 1;
}

enum tr_err tr_ring_new(const struct tr_ring_node *nodes, uint32_t count, struct tr_ring **ret_ring)
{
    uint64_t heaviest = 1, sum = 0, total = 0;
    for (uint32_t i = 0; i < count; i++) {
        heaviest = nodes[i].weight > heaviest ? nodes[i].weight : heaviest;
        sum += nodes[i].weight;
    }
    if (sum == 0)
        sum = 1;
    for (uint32_t i = 0; i < count; i++)
        total += points_of(&nodes[i], heaviest, sum);
    struct tr_ring *ring = tr_malloc(sizeof *ring + total * sizeof ring->points[0]);
    if (!ring)
        return TR_ERR_NOMEM;
    ring->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t n = points_of(&nodes[i], heaviest, sum);
        for (uint32_t k = 1; k <= n; k++)
            ring->points[ring->count++] =
                (struct point){mix(nodes[i].key + k * 0x9E3779B97F4A7C15u), i};
    }
    qsort(ring->points, ring->count, sizeof ring->points[0], by_place);
    *ret_ring = ring;
    return TR_OK;
}

void tr_ring_free(struct tr_ring *ring)
{
    tr_free(ring);
}

uint32_t tr_ring_size(const struct tr_ring *ring)
{
    return ring->count;
}

uint32_t tr_ring_find(const struct tr_ring *ring, uint64_t hash,
                      bool (*usable)(void *ctx, uint32_t owner), void *ctx, uint32_t none)
{
    uint32_t low = 0, high = ring->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ring->points[middle].at < hash)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t refused = UINT32_MAX; /* a run of one owner's points is asked once */
    for (uint32_t i = 0, at = low; i < ring->count; i++, at++) {
        uint32_t owner = ring->points[at < ring->count ? at : at - ring->count].owner;
        if (owner == refused)
            continue;
        if (usable(ctx, owner))
            return owner;
        refused = owner;
    }
    return none;
}
