#include "filters/quota_local.h"

#include "base/alloc.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* One counter, changed as a whole: a key and its TAT never come apart. */
union counter {
    struct {
        uint64_t hash; /* 0: never used */
        uint64_t tat;  /* ticks */
    } of;
    __uint128_t whole;
};

struct bucket {
    _Alignas(64) union counter ways[TR_QUOTA_WAYS];
};

struct tr_quota_local {
    uint64_t seed;
    uint32_t mask; /* of buckets */
    struct bucket *buckets;
    atomic_flag *latches; /* of buckets: held while a key is taken in */
    void *memory;
    _Atomic uint64_t evictions;
};

enum tr_err tr_quota_local_new(uint32_t entries, uint64_t seed, struct tr_quota_local **ret_table)
{
    size_t buckets = 1;
    while (buckets * TR_QUOTA_WAYS < entries)
        buckets *= 2;
    struct tr_quota_local *t = tr_calloc(1, sizeof *t);
    char *memory = tr_calloc(1, buckets * sizeof *t->buckets + 64);
    atomic_flag *latches = tr_calloc(buckets, sizeof *latches);
    if (!t || !memory || !latches) {
        tr_free(t);
        tr_free(memory);
        tr_free(latches);
        return TR_ERR_NOMEM;
    }
    size_t off = (64 - ((uintptr_t)memory & 63)) & 63;
    *t = (struct tr_quota_local){.seed = seed,
                                 .mask = (uint32_t)(buckets - 1),
                                 .buckets = (void *)(memory + off),
                                 .latches = latches,
                                 .memory = memory};
    for (size_t i = 0; i < buckets; i++)
        atomic_flag_clear(&latches[i]);
    *ret_table = t;
    return TR_OK;
}

void tr_quota_local_free(struct tr_quota_local *table)
{
    if (!table)
        return;
    tr_free(table->memory);
    tr_free(table->latches);
    tr_free(table);
}

uint64_t tr_quota_local_evictions(const struct tr_quota_local *table)
{
    return atomic_load_explicit(&table->evictions, memory_order_relaxed);
}

/* The halves may be of different times: the swap that follows tells. */
static union counter look(const union counter *c)
{
    union counter v;
    v.of.hash = __atomic_load_n(&c->of.hash, __ATOMIC_RELAXED);
    v.of.tat = __atomic_load_n(&c->of.tat, __ATOMIC_RELAXED);
    return v;
}

static bool swap(union counter *c, union counter from, union counter to)
{
    return __sync_bool_compare_and_swap(&c->whole, from.whole, to.whole);
}

static union counter *find(struct bucket *b, uint64_t hash)
{
    for (unsigned i = 0; i < TR_QUOTA_WAYS; i++)
        if (__atomic_load_n(&b->ways[i].of.hash, __ATOMIC_RELAXED) == hash)
            return &b->ways[i];
    return NULL;
}

static void hold(atomic_flag *latch)
{
    for (unsigned spins = 0; atomic_flag_test_and_set_explicit(latch, memory_order_acquire);)
        if (++spins % 128 == 0)
            (void)sched_yield(); /* its holder was put off the processor */
}

/* Makes a place for the key in its bucket: what owes least goes. */
static union counter *take_in(struct tr_quota_local *t, uint32_t at, uint64_t hash, uint64_t now)
{
    struct bucket *b = &t->buckets[at];
    hold(&t->latches[at]);
    union counter *c = find(b, hash);
    while (!c) {
        union counter *least = &b->ways[0];
        union counter old = look(least);
        for (unsigned i = 1; i < TR_QUOTA_WAYS; i++) {
            union counter v = look(&b->ways[i]);
            if (v.of.tat < old.of.tat || (v.of.hash == 0 && old.of.hash != 0)) {
                least = &b->ways[i];
                old = v;
            }
        }
        union counter fresh = {.of = {hash, now}};
        if (!swap(least, old, fresh)) /* it was charged meanwhile: look again */
            continue;
        if (old.of.hash && old.of.tat > now)
            (void)atomic_fetch_add_explicit(&t->evictions, 1, memory_order_relaxed);
        c = least;
    }
    atomic_flag_clear_explicit(&t->latches[at], memory_order_release);
    return c;
}

static void charge(struct tr_quota_local *t, struct tr_quota_ask *ask, uint32_t cost, uint64_t now)
{
    uint32_t at = (uint32_t)(ask->hash >> 32) & t->mask;
    for (;;) {
        union counter *c = find(&t->buckets[at], ask->hash);
        if (!c)
            c = take_in(t, at, ask->hash, now);
        union counter old = look(c), fresh = old;
        if (old.of.hash != ask->hash)
            continue; /* evicted meanwhile */
        ask->result = tr_gcra_ask(&ask->gcra, old.of.tat, now, cost, &fresh.of.tat);
        if (!ask->result.allowed)
            return;
        if (swap(c, old, fresh))
            return;
    }
}

static void undo(struct tr_quota_local *t, const struct tr_quota_ask *ask, uint32_t cost)
{
    uint32_t at = (uint32_t)(ask->hash >> 32) & t->mask;
    uint64_t price = ask->gcra.interval * cost;
    union counter *c;
    while ((c = find(&t->buckets[at], ask->hash)) != NULL) {
        union counter old = look(c), fresh = old;
        if (old.of.hash != ask->hash)
            continue;
        fresh.of.tat = old.of.tat > price ? old.of.tat - price : 0;
        if (swap(c, old, fresh))
            return;
    }
}

void tr_quota_local_undo(struct tr_quota_local *table, struct tr_quota_ask *asks, uint32_t count,
                         uint32_t cost)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t price_ns = asks[i].gcra.interval * cost / TR_GCRA_TICKS_PER_NS;
        struct tr_gcra_result *r = &asks[i].result;
        undo(table, &asks[i], cost);
        r->remaining += cost;
        r->reset_ns -= price_ns < r->reset_ns ? price_ns : r->reset_ns;
    }
}

bool tr_quota_local_check(struct tr_quota_local *table, struct tr_quota_ask *asks, uint32_t count,
                          uint32_t cost, uint64_t now_ns)
{
    uint64_t now = tr_gcra_ticks(now_ns) + 1; /* never 0: a fresh counter is not an unused one */
    uint32_t charged = 0;
    bool admitted = true;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t h = tr_span_hash(asks[i].key, table->seed);
        asks[i].hash = h ? h : 1;
    }
    while (charged < count && admitted) {
        charge(table, &asks[charged], cost, now);
        admitted = asks[charged].result.allowed;
        charged += admitted;
    }
    if (admitted)
        return true;
    tr_quota_local_undo(table, asks, charged, cost);
    for (uint32_t i = 0; i < count;
         i++) { /* what each would say by itself, nothing being charged */
        if (i == charged)
            continue;
        uint32_t at = (uint32_t)(asks[i].hash >> 32) & table->mask;
        const union counter *c = find(&table->buckets[at], asks[i].hash);
        uint64_t tat = c ? look(c).of.tat : 0, unused;
        asks[i].result = tr_gcra_ask(&asks[i].gcra, tat, now, cost, &unused);
        if (asks[i].result.allowed) { /* not charged: as if nothing had been asked */
            asks[i].result = tr_gcra_ask(&asks[i].gcra, tat, now, 0, &unused);
        }
    }
    return false;
}
