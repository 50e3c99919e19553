#include "filters/quota_local.h"

#include "base/alloc.h"

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

/* What a bucket takes in, at most one key at a time: whoever meets an intent that is pending
 * carries it out, so nobody waits for a thread that was put off the processor. */
union intent {
    struct {
        uint64_t hash;
        uint64_t step; /* a number that grows by INTENT_STEP, and the bits below it */
    } of;
    __uint128_t whole;
};
#define INTENT_PENDING   ((uint64_t)1)
#define INTENT_WAY(step) ((unsigned)((step) >> 1) & (TR_QUOTA_WAYS - 1))
#define INTENT_EVICTS    ((uint64_t)16) /* no way was idle */
#define INTENT_STEP      ((uint64_t)32)
_Static_assert(TR_QUOTA_WAYS == 8, "a way is three bits of an intent's step");

struct tr_quota_local {
    uint64_t seed, bucket_seed;
    uint32_t mask; /* of buckets */
    struct bucket *buckets;
    union intent *intents; /* by bucket */
    void *memory;
    char apart[64];          /* what is written often shares no cache line with what is only read */
    _Atomic uint64_t latest; /* no check under way or done has a later time, in ticks */
    _Atomic uint64_t evictions;
};

enum tr_err tr_quota_local_new(uint32_t entries, uint64_t seed, struct tr_quota_local **ret_table)
{
    size_t buckets = 1;
    while (buckets * TR_QUOTA_WAYS < entries)
        buckets *= 2;
    struct tr_quota_local *t = tr_calloc(1, sizeof *t);
    char *memory = tr_calloc(1, buckets * (sizeof *t->buckets + sizeof *t->intents) + 64);
    if (!t || !memory) {
        tr_free(t);
        tr_free(memory);
        return TR_ERR_NOMEM;
    }
    size_t off = (64 - ((uintptr_t)memory & 63)) & 63;
    t->seed = seed;
    t->bucket_seed = tr_span_hash(TR_SPAN("bucket"), seed);
    t->mask = (uint32_t)(buckets - 1);
    t->buckets = (void *)(memory + off);
    t->intents = (void *)(memory + off + buckets * sizeof *t->buckets);
    t->memory = memory;
    *ret_table = t;
    return TR_OK;
}

void tr_quota_local_free(struct tr_quota_local *table)
{
    if (!table)
        return;
    tr_free(table->memory);
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
    v.of.hash = __atomic_load_n(&c->of.hash, __ATOMIC_ACQUIRE);
    v.of.tat = __atomic_load_n(&c->of.tat, __ATOMIC_ACQUIRE);
    return v;
}

static bool swap(union counter *c, union counter from, union counter to)
{
    return __sync_bool_compare_and_swap(&c->whole, from.whole, to.whole);
}

static union counter *find(struct bucket *b, uint64_t hash)
{
    for (unsigned i = 0; i < TR_QUOTA_WAYS; i++)
        if (__atomic_load_n(&b->ways[i].of.hash, __ATOMIC_ACQUIRE) == hash)
            return &b->ways[i];
    return NULL;
}

/* Both halves of one time: every change of an intent changes its step. */
static union intent look_intent(const union intent *i)
{
    union intent v;
    do {
        v.of.step = __atomic_load_n(&i->of.step, __ATOMIC_ACQUIRE);
        v.of.hash = __atomic_load_n(&i->of.hash, __ATOMIC_ACQUIRE);
    } while (__atomic_load_n(&i->of.step, __ATOMIC_ACQUIRE) != v.of.step);
    return v;
}

/* Carries out what is pending in the bucket, whoever brought it: the key gets its place, unless
 * what stands there must not go. */
static void help(struct tr_quota_local *t, uint32_t at, union intent intent, uint64_t now)
{
    union counter *c = &t->buckets[at].ways[INTENT_WAY(intent.of.step)];
    union counter fresh = {.of = {intent.of.hash, now}};
    for (;;) {
        union counter old = look(c);
        if (old.of.hash == intent.of.hash)
            break;
        if (__atomic_load_n(&t->intents[at].of.step, __ATOMIC_ACQUIRE) != intent.of.step)
            return; /* another one has done it */
        bool owes = old.of.hash && old.of.tat > now;
        if (owes && !(intent.of.step & INTENT_EVICTS))
            break; /* charged since it was chosen: another way may be idle */
        if (swap(c, old, fresh)) {
            if (owes)
                (void)atomic_fetch_add_explicit(&t->evictions, 1, memory_order_relaxed);
            break;
        }
    }
    union intent done = {.of = {intent.of.hash, (intent.of.step & ~INTENT_PENDING) + INTENT_STEP}};
    (void)__sync_bool_compare_and_swap(&t->intents[at].whole, intent.whole, done.whole);
}

/* The bits of an intent for the way whose counter owes least; an unused one before all. */
static uint64_t choose(const struct bucket *b, uint64_t now)
{
    unsigned least = 0;
    union counter old = look(&b->ways[0]);
    for (unsigned i = 1; i < TR_QUOTA_WAYS; i++) {
        union counter v = look(&b->ways[i]);
        if (old.of.hash != 0 && (v.of.hash == 0 || v.of.tat < old.of.tat)) {
            least = i;
            old = v;
        }
    }
    return (uint64_t)least << 1 | (old.of.hash && old.of.tat > now ? INTENT_EVICTS : 0);
}

/* Finds the key or makes a place for it. Keys come into a bucket by its intent alone, and the swap
 * of the intent fails when it was touched since it was read: so the key is not there when it is
 * brought in, and never stands in two places. */
static union counter *take_in(struct tr_quota_local *t, uint32_t at, uint64_t hash, uint64_t now)
{
    struct bucket *b = &t->buckets[at];
    for (;;) {
        union intent seen = look_intent(&t->intents[at]);
        if (seen.of.step & INTENT_PENDING) {
            help(t, at, seen, now);
            continue;
        }
        union counter *c = find(b, hash);
        if (c)
            return c;
        uint64_t step = (seen.of.step & ~(INTENT_STEP - 1)) + INTENT_STEP;
        union intent mine = {.of = {hash, step | choose(b, now) | INTENT_PENDING}};
        if (__sync_bool_compare_and_swap(&t->intents[at].whole, seen.whole, mine.whole))
            help(t, at, mine, now);
    }
}

static void charge(struct tr_quota_local *t, struct tr_quota_ask *ask, uint32_t cost, uint64_t now)
{
    for (;;) {
        union counter *c = find(&t->buckets[ask->bucket], ask->hash);
        if (!c)
            c = take_in(t, ask->bucket, ask->hash, now);
        union counter old = look(c), fresh = old;
        if (old.of.hash != ask->hash)
            continue; /* evicted meanwhile */
        ask->result = tr_gcra_ask(&ask->gcra, old.of.tat, now, cost, &fresh.of.tat);
        ask->paid_from = old.of.tat > now ? old.of.tat : now;
        if (!ask->result.allowed)
            return;
        if (swap(c, old, fresh))
            return;
    }
}

/* Gives back what is certain to be still owed for the charge, never more.
 *
 * Without the charge the counter would stand at paid_from; with it, `price` later. Each later ask
 * at a time n makes of a TAT the greater of it and n, and adds: so the two stay `price` apart until
 * an ask finds the lower one in the past, and in all come closer by what the latest time of an ask
 * is beyond paid_from, at the most. What is left of the distance may be taken away. */
static void undo(struct tr_quota_local *t, const struct tr_quota_ask *ask, uint32_t cost)
{
    uint64_t price = ask->gcra.interval * cost;
    union counter *c;
    while ((c = find(&t->buckets[ask->bucket], ask->hash)) != NULL) {
        union counter old = look(c), fresh = old;
        if (old.of.hash != ask->hash)
            continue;
        /* read after the counter, and published before any charge: no charge in it is later */
        uint64_t latest = atomic_load_explicit(&t->latest, memory_order_acquire);
        uint64_t gone = latest > ask->paid_from ? latest - ask->paid_from : 0;
        if (gone >= price)
            return;
        fresh.of.tat -= price - gone < old.of.tat ? price - gone : old.of.tat;
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

/* What each would say by itself, nothing being charged. */
static bool peek(const struct tr_quota_local *t, struct tr_quota_ask *asks, uint32_t count,
                 uint32_t cost, uint64_t now)
{
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        const union counter *c = find(&t->buckets[asks[i].bucket], asks[i].hash);
        uint64_t tat = c ? look(c).of.tat : 0, unused;
        asks[i].result = tr_gcra_ask(&asks[i].gcra, tat, now, cost, &unused);
        if (asks[i].result.allowed) /* as if nothing had been asked */
            asks[i].result = tr_gcra_ask(&asks[i].gcra, tat, now, 0, &unused);
        else
            all = false;
    }
    return all;
}

static void place(const struct tr_quota_local *t, struct tr_quota_ask *ask)
{
    uint64_t h = tr_span_hash(ask->key, t->seed);
    ask->hash = h ? h : 1;
    ask->bucket = (uint32_t)tr_span_hash(ask->key, t->bucket_seed) & t->mask;
}

bool tr_quota_local_peek(const struct tr_quota_local *table, struct tr_quota_ask *ask,
                         uint32_t cost, uint64_t now_ns)
{
    place(table, ask);
    return peek(table, ask, 1, cost, tr_gcra_ticks(now_ns) + 1);
}

static void publish(struct tr_quota_local *t, uint64_t now)
{
    uint64_t seen = atomic_load_explicit(&t->latest, memory_order_relaxed);
    while (seen < now && !atomic_compare_exchange_weak(&t->latest, &seen, now))
        ;
}

bool tr_quota_local_check(struct tr_quota_local *table, struct tr_quota_ask *asks, uint32_t count,
                          uint32_t cost, uint64_t now_ns)
{
    uint64_t now = tr_gcra_ticks(now_ns) + 1; /* never 0: a fresh counter is not an unused one */
    uint32_t charged = 0;
    bool admitted = true;
    publish(table, now);
    for (uint32_t i = 0; i < count; i++)
        place(table, &asks[i]);
    if (cost == 0) /* free: it makes no counter, and puts none out of its place */
        return peek(table, asks, count, cost, now);
    /* a request that is refused charges nothing, not even for a moment, unless it was a race */
    if (count > 1 && !peek(table, asks, count, cost, now))
        return false;
    while (charged < count && admitted) {
        charge(table, &asks[charged], cost, now);
        admitted = asks[charged].result.allowed;
        charged += admitted;
    }
    if (admitted)
        return true;
    struct tr_gcra_result refusal = asks[charged].result;
    for (uint32_t i = 0; i < charged; i++)
        undo(table, &asks[i], cost);
    (void)peek(table, asks, count, cost, now);
    asks[charged].result = refusal;
    return false;
}
