#include "upstream/upstream_int.h"

#define SHARE_WHOLE 1024u
#define SCAN_MAX    4 /* as many endpoints as are compared all; with more, two random ones */

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

uint32_t tr_uendpoint_share(const struct tr_uendpoint *e, uint64_t now_ns, uint64_t slow_start_ns)
{
    uint64_t age = now_ns - e->ramp_ns;
    if (e->ramp_ns == 0 || age >= slow_start_ns)
        return SHARE_WHOLE;
    const uint32_t least = SHARE_WHOLE / 10;
    return least + (uint32_t)((double)(SHARE_WHOLE - least) * (double)age / (double)slow_start_ns);
}

/* How much is asked of an endpoint, from the most to the least, until one is found. */
enum { LEVEL_ALL, LEVEL_RAMPING, LEVEL_AVOIDED, LEVELS };

/* Slow start is a lottery here: scaled weights would leave a ramping endpoint without any call
 * while the others are idle, and with all its share after. */
static bool is_candidate(const struct tr_pick *pick, const struct tr_uendpoint *e, int level,
                         uint64_t *random)
{
    if (!tr_uendpoint_usable(e))
        return false;
    if (level < LEVEL_AVOIDED && tr_pick_avoids(pick, e))
        return false;
    return level > LEVEL_ALL || !random || e->ramp_ns == 0 ||
           next_random(random) % SHARE_WHOLE <
               tr_uendpoint_share(e, pick->now_ns, pick->slow_start_ns);
}

static uint32_t scan_least(const struct tr_pick *pick, struct tr_uendpoint *const *live,
                           uint32_t count, uint64_t *random)
{
    for (int level = LEVEL_ALL; level < LEVELS; level++) {
        /* from a random place on, so that equals share */
        uint32_t best = count, at = (uint32_t)(next_random(random) % count);
        for (uint32_t i = 0; i < count; i++, at = at + 1 == count ? 0 : at + 1) {
            if (is_candidate(pick, live[at], level, random) &&
                (best == count || less_loaded(live[at], live[best])))
                best = at;
        }
        if (best < count)
            return best;
    }
    return count;
}

static uint32_t pick_least(const struct tr_pick *pick, struct tr_uendpoint *const *live,
                           uint32_t count, uint64_t *random)
{
    if (count <= SCAN_MAX)
        return scan_least(pick, live, count, random);
    /* a few draws find two that may be used; when most may not, all are compared */
    uint32_t one = count;
    for (int draw = 0; draw < 8; draw++) {
        uint32_t at = (uint32_t)(next_random(random) % count);
        if (at == one || !is_candidate(pick, live[at], LEVEL_ALL, random))
            continue;
        if (one == count)
            one = at;
        else
            return less_loaded(live[at], live[one]) ? at : one;
    }
    return scan_least(pick, live, count, random);
}

/* Smooth weighted round robin: each turn every endpoint gains its weight, the richest serves and
 * pays the sum. */
static uint32_t pick_round_robin(const struct tr_pick *pick, struct tr_uendpoint *const *live,
                                 uint32_t count)
{
    for (int level = LEVEL_RAMPING; level < LEVELS; level++) {
        uint32_t best = count;
        int64_t sum = 0;
        for (uint32_t i = 0; i < count; i++) {
            if (!is_candidate(pick, live[i], level, NULL))
                continue;
            int64_t weight =
                (int64_t)live[i]->conf->weight *
                (live[i]->ramp_ns ? tr_uendpoint_share(live[i], pick->now_ns, pick->slow_start_ns)
                                  : SHARE_WHOLE);
            live[i]->smooth += weight;
            sum += weight;
            if (best == count || live[i]->smooth > live[best]->smooth)
                best = i;
        }
        if (best < count) {
            live[best]->smooth -= sum;
            return best;
        }
    }
    return count;
}

struct ring_walk {
    const struct tr_pick *pick;
    struct tr_uendpoint *const *live;
    uint32_t count;
    int level;
};

static bool ring_takes(void *ctx, uint32_t owner)
{
    const struct ring_walk *walk = ctx;
    return owner < walk->count && is_candidate(walk->pick, walk->live[owner], walk->level, NULL);
}

static uint32_t pick_ring(const struct tr_pick *pick, struct tr_uendpoint *const *live,
                          uint32_t count)
{
    uint32_t at = count;
    for (int level = LEVEL_RAMPING; level < LEVELS && at == count; level++) {
        struct ring_walk walk = {pick, live, count, level};
        at = tr_ring_find(pick->ring, pick->hash, ring_takes, &walk, count);
        if (!pick->avoid)
            break;
    }
    return at;
}

uint32_t tr_balance_pick(const struct tr_pick *pick, struct tr_uendpoint *const *live,
                         uint32_t count, uint64_t *random)
{
    if (count == 0)
        return 0;
    if (count == 1)
        return tr_uendpoint_usable(live[0]) ? 0 : 1;
    if (pick->how == TR_BALANCE_ROUND_ROBIN)
        return pick_round_robin(pick, live, count);
    if (pick->how == TR_BALANCE_RING_HASH && pick->ring && pick->hashed)
        return pick_ring(pick, live, count);
    return pick_least(pick, live, count, random);
}
