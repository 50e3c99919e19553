#include "upstream/upstream_int.h"

#define SCAN_MAX 4 /* as many endpoints as are compared all; with more, two random ones */

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Which of two has less to do for its weight, without division. */
static bool less_loaded(const struct tr_uendpoint *a, const struct tr_uendpoint *b)
{
    return (uint64_t)(a->active + 1) * b->conf->weight <
           (uint64_t)(b->active + 1) * a->conf->weight;
}

static uint32_t scan_least(struct tr_uendpoint *const *live, uint32_t count, uint64_t *random)
{
    /* from a random place on, so that equals share */
    uint32_t best = count, at = (uint32_t)(next_random(random) % count);
    for (uint32_t i = 0; i < count; i++, at = at + 1 == count ? 0 : at + 1) {
        if (live[at]->state != TR_ENDPOINT_DOWN &&
            (best == count || less_loaded(live[at], live[best])))
            best = at;
    }
    return best;
}

static uint32_t pick_least(struct tr_uendpoint *const *live, uint32_t count, uint64_t *random)
{
    if (count <= SCAN_MAX)
        return scan_least(live, count, random);
    /* a few draws find two that are up; when most are down, all are compared */
    uint32_t one = count;
    for (int draw = 0; draw < 8; draw++) {
        uint32_t at = (uint32_t)(next_random(random) % count);
        if (live[at]->state == TR_ENDPOINT_DOWN || at == one)
            continue;
        if (one == count)
            one = at;
        else
            return less_loaded(live[at], live[one]) ? at : one;
    }
    return scan_least(live, count, random);
}

/* Smooth weighted round robin: each turn every endpoint gains its weight, the richest serves and
 * pays the sum. */
static uint32_t pick_round_robin(struct tr_uendpoint *const *live, uint32_t count)
{
    uint32_t best = count;
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (live[i]->state == TR_ENDPOINT_DOWN)
            continue;
        live[i]->smooth += live[i]->conf->weight;
        sum += live[i]->conf->weight;
        if (best == count || live[i]->smooth > live[best]->smooth)
            best = i;
    }
    if (best < count)
        live[best]->smooth -= sum;
    return best;
}

uint32_t tr_balance_pick(enum tr_balance how, struct tr_uendpoint *const *live, uint32_t count,
                         uint64_t *random)
{
    if (count == 0)
        return 0;
    if (count == 1)
        return live[0]->state == TR_ENDPOINT_DOWN ? 1 : 0;
    return how == TR_BALANCE_ROUND_ROBIN ? pick_round_robin(live, count)
                                         : pick_least(live, count, random);
}
