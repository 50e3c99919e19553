#include "base/gcra.h"

struct tr_gcra tr_gcra_make(uint32_t limit, uint64_t window_ns, uint32_t burst)
{
    struct tr_gcra g;
    __uint128_t window = (__uint128_t)window_ns * TR_GCRA_TICKS_PER_NS;
    __uint128_t interval = (window + limit - 1) / limit;
    __uint128_t capacity = interval * (burst ? burst : limit);
    g.interval = interval > TR_GCRA_CAPACITY_MAX ? TR_GCRA_CAPACITY_MAX : (uint64_t)interval;
    if (capacity > TR_GCRA_CAPACITY_MAX)
        capacity = TR_GCRA_CAPACITY_MAX - TR_GCRA_CAPACITY_MAX % g.interval;
    g.capacity = (uint64_t)capacity;
    return g;
}

static uint64_t to_ns(uint64_t ticks) /* rounded up: what is told is never too early */
{
    return ticks / TR_GCRA_TICKS_PER_NS + (ticks % TR_GCRA_TICKS_PER_NS != 0);
}

struct tr_gcra_result tr_gcra_ask(const struct tr_gcra *g, uint64_t tat, uint64_t now,
                                  uint32_t cost, uint64_t *ret_tat)
{
    struct tr_gcra_result r = {0};
    uint64_t owed = tat > now ? tat - now : 0, price;
    bool fits =
        !__builtin_mul_overflow(g->interval, (uint64_t)cost, &price) && price <= g->capacity;
    if (fits && (owed <= g->capacity - price || cost == 0)) {
        r.allowed = true;
        owed += price;
    } else {
        r.retry_after_ns = fits ? to_ns(owed - (g->capacity - price)) : UINT64_MAX;
    }
    uint64_t left = owed < g->capacity ? (g->capacity - owed) / g->interval : 0;
    r.remaining = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
    r.reset_ns = to_ns(owed);
    *ret_tat = now + owed;
    return r;
}
