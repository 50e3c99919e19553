#include "upstream/breaker.h"

#define MS 1000000u

/* state: kind (2 bits), generation (20), milliseconds until the next change (42). */
#define GEN_BITS   20
#define UNTIL_BITS 42
#define GEN_MASK   ((1u << GEN_BITS) - 1)

/* ticket: whether it is a probe (1 bit), a bit that is 0, the round of probes (10), the generation
 * (20). */
#define TICKET_PROBE (1u << 31)
#define ROUND_MASK   0x3FFu

/* probes: generation (20), round (12), let through in this round (16), succeeded in all (16). */
#define ROUND_BITS 12

/* slice: its number (24), calls (20), failures (20). */
#define COUNT_BITS 20
#define COUNT_MASK ((1u << COUNT_BITS) - 1)
#define COUNT_FULL                                                                                 \
    (1u << (COUNT_BITS - 1)) /* halve: more threads than this cannot be between                    \
                                looking and adding */
#define ONE_CALL   ((uint64_t)1 << COUNT_BITS)
#define SLICE_MASK ((1u << 24) - 1)

static uint64_t pack_state(enum tr_breaker_state kind, uint32_t gen, uint64_t until_ms)
{
    return (uint64_t)kind << 62 | (uint64_t)(gen & GEN_MASK) << UNTIL_BITS |
           (until_ms & (((uint64_t)1 << UNTIL_BITS) - 1));
}
static enum tr_breaker_state kind_of(uint64_t state)
{
    return (enum tr_breaker_state)(state >> 62);
}
static uint32_t gen_of(uint64_t state)
{
    return (uint32_t)(state >> UNTIL_BITS) & GEN_MASK;
}
static uint64_t until_of(uint64_t state)
{
    return state & (((uint64_t)1 << UNTIL_BITS) - 1);
}

static uint64_t pack_probes(uint32_t gen, uint32_t round, uint32_t out, uint32_t good)
{
    return (uint64_t)(gen << ROUND_BITS | (round & ROUND_MASK)) << 32 | (uint64_t)out << 16 | good;
}
static uint32_t probes_gen(uint64_t probes)
{
    return (uint32_t)(probes >> 32) >> ROUND_BITS;
}
static uint32_t probes_round(uint64_t probes)
{
    return (uint32_t)(probes >> 32) & ROUND_MASK;
}
static uint32_t probes_out(uint64_t probes)
{
    return (uint32_t)probes >> 16;
}
static uint32_t probes_good(uint64_t probes)
{
    return (uint32_t)probes & 0xFFFF;
}

/* ---- the window ------------------------------------------------------------------------------ */

static uint32_t slice_number(const struct tr_breaker_conf *conf, uint64_t now_ns)
{
    uint64_t width = conf->window_ns / TR_BREAKER_SLICES;
    return (uint32_t)(now_ns / (width ? width : 1)) & SLICE_MASK;
}
static uint32_t number_of(uint64_t slice)
{
    return (uint32_t)(slice >> (2 * COUNT_BITS));
}
static uint32_t calls_of(uint64_t slice)
{
    return (uint32_t)(slice >> COUNT_BITS) & COUNT_MASK;
}
static uint32_t failures_of(uint64_t slice)
{
    return (uint32_t)slice & COUNT_MASK;
}

static void count(struct tr_breaker *b, uint32_t number, bool failure)
{
    _Atomic uint64_t *at = &b->slices[number % TR_BREAKER_SLICES];
    uint64_t one = ONE_CALL | failure, now = atomic_load_explicit(at, memory_order_relaxed);
    for (;;) {
        if (number_of(now) == number && calls_of(now) < COUNT_FULL) {
            (void)atomic_fetch_add_explicit(at, one, memory_order_relaxed);
            return;
        }
        /* a new slice, or the old one halved: the ratio stays */
        uint64_t next = (uint64_t)number << (2 * COUNT_BITS);
        if (number_of(now) == number)
            next |= (uint64_t)(calls_of(now) / 2) << COUNT_BITS | failures_of(now) / 2;
        if (atomic_compare_exchange_weak_explicit(at, &now, next + one, memory_order_relaxed,
                                                  memory_order_relaxed))
            return;
    }
}

void tr_breaker_window(const struct tr_breaker *b, const struct tr_breaker_conf *conf,
                       uint64_t now_ns, uint64_t *ret_calls, uint64_t *ret_failures)
{
    uint32_t number = slice_number(conf, now_ns);
    *ret_calls = *ret_failures = 0;
    for (uint32_t i = 0; i < TR_BREAKER_SLICES; i++) {
        uint64_t slice = atomic_load_explicit(&b->slices[i], memory_order_relaxed);
        if (((number - number_of(slice)) & SLICE_MASK) < TR_BREAKER_SLICES) {
            *ret_calls += calls_of(slice);
            *ret_failures += failures_of(slice);
        }
    }
}

/* ---- changes of state ------------------------------------------------------------------------ */

/* A new generation, unless somebody else began it. A new round of probes, which may come between,
 * is none. */
static bool change(struct tr_breaker *b, uint64_t from, enum tr_breaker_state kind,
                   uint64_t until_ms)
{
    uint64_t now = from;
    while (gen_of(now) == gen_of(from)) {
        if (atomic_compare_exchange_weak_explicit(&b->state, &now,
                                                  pack_state(kind, gen_of(from) + 1, until_ms),
                                                  memory_order_acq_rel, memory_order_relaxed))
            return true;
    }
    return false;
}

static bool open_it(struct tr_breaker *b, const struct tr_breaker_conf *conf, uint64_t from,
                    uint64_t now_ns, uint32_t random)
{
    /* 0.9 to 1.1, so that gateways that opened together do not probe together */
    uint64_t tenth = conf->open_for_ns / 10;
    uint64_t ns = conf->open_for_ns - tenth + (uint64_t)((double)(2 * tenth) * (random * 0x1p-32));
    if (!change(b, from, TR_BREAKER_OPEN, (now_ns + ns) / MS + 1))
        return false;
    (void)atomic_fetch_add_explicit(&b->opened, 1, memory_order_relaxed);
    return true;
}

static void close_it(struct tr_breaker *b, uint64_t from)
{
    /* what failed before must not open it again; before the change, so that nothing of the new time
     * is lost */
    for (uint32_t i = 0; i < TR_BREAKER_SLICES; i++)
        atomic_store_explicit(&b->slices[i], 0, memory_order_relaxed);
    (void)change(b, from, TR_BREAKER_CLOSED, 0);
}

/* Is generation a later than b? They wrap. */
static bool later(uint32_t a, uint32_t b)
{
    uint32_t ahead = (a - b) & GEN_MASK;
    return ahead != 0 && ahead < GEN_MASK / 2;
}

/* One of the probes of a half-open generation. */
static bool take_probe(struct tr_breaker *b, uint32_t max, uint32_t gen, uint32_t *ret_ticket)
{
    uint64_t p = atomic_load_explicit(&b->probes, memory_order_relaxed);
    for (;;) {
        uint32_t round = 0, out = 1, good = 0;
        if (p && probes_gen(p) == gen) {
            round = probes_round(p);
            out = probes_out(p) + 1;
            good = probes_good(p);
            if (out > max)
                return false;
        } else if (p && later(probes_gen(p), gen)) {
            return false; /* the state went on while we looked */
        }
        if (atomic_compare_exchange_weak_explicit(&b->probes, &p,
                                                  pack_probes(gen, round, out, good),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            *ret_ticket = TICKET_PROBE | round << GEN_BITS | gen;
            return true;
        }
    }
}

/* Half-open without a decision for as long as it was open: its probes take their time. Others are
 * let through in place of those that have not ended; what the late ones will say counts still, else
 * calls that all take longer than that would never close it. */
static void next_round(struct tr_breaker *b, uint64_t from, uint64_t until_ms)
{
    uint64_t next = pack_state(TR_BREAKER_HALF_OPEN, gen_of(from), until_ms);
    if (!atomic_compare_exchange_strong_explicit(&b->state, &from, next, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return; /* another thread did it */
    uint64_t p = atomic_load_explicit(&b->probes, memory_order_relaxed);
    while (probes_gen(p) == gen_of(next) &&
           !atomic_compare_exchange_weak_explicit(
               &b->probes, &p,
               pack_probes(gen_of(next), probes_round(p) + 1, probes_good(p), probes_good(p)),
               memory_order_relaxed, memory_order_relaxed)) {
    }
}

bool tr_breaker_admit(struct tr_breaker *b, const struct tr_breaker_conf *conf, uint64_t now_ns,
                      uint32_t *ret_ticket)
{
    uint64_t state = atomic_load_explicit(&b->state, memory_order_acquire);
    if (kind_of(state) == TR_BREAKER_CLOSED) {
        *ret_ticket = gen_of(state);
        return true;
    }
    if (now_ns / MS >= until_of(state)) {
        uint64_t until_ms = (now_ns + conf->open_for_ns) / MS + 1;
        if (kind_of(state) == TR_BREAKER_OPEN)
            (void)change(b, state, TR_BREAKER_HALF_OPEN, until_ms);
        else
            next_round(b, state, until_ms);
        state = atomic_load_explicit(&b->state, memory_order_acquire);
    }
    if (kind_of(state) == TR_BREAKER_HALF_OPEN &&
        take_probe(b, conf->probes, gen_of(state), ret_ticket))
        return true;
    if (kind_of(state) == TR_BREAKER_CLOSED) {
        *ret_ticket = gen_of(state);
        return true;
    }
    return false;
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void probe_succeeded(struct tr_breaker *b, const struct tr_breaker_conf *conf,
                            uint64_t state)
{
    uint64_t p = atomic_load_explicit(&b->probes, memory_order_relaxed);
    do {
        if (probes_gen(p) != gen_of(state) || probes_good(p) == 0xFFFF)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&b->probes, &p, p + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    if (probes_good(p) + 1 >= conf->probes)
        close_it(b, state);
}

static bool is_over_ratio(const struct tr_breaker *b, const struct tr_breaker_conf *conf,
                          uint64_t now_ns)
{
    uint64_t calls, failures;
    tr_breaker_window(b, conf, now_ns, &calls, &failures);
    return calls >= conf->minimum_requests && failures * 1000000u >= calls * conf->failure_ratio;
}

bool tr_breaker_report(struct tr_breaker *b, const struct tr_breaker_conf *conf, uint32_t ticket,
                       bool failure, uint64_t now_ns, uint32_t random)
{
    uint64_t state = atomic_load_explicit(&b->state, memory_order_acquire);
    if (ticket == TR_BREAKER_NO_TICKET || (ticket & GEN_MASK) != gen_of(state))
        return false;
    if (kind_of(state) == TR_BREAKER_CLOSED) {
        count(b, slice_number(conf, now_ns), failure);
        return failure && is_over_ratio(b, conf, now_ns) && open_it(b, conf, state, now_ns, random);
    }
    if (kind_of(state) != TR_BREAKER_HALF_OPEN || !(ticket & TICKET_PROBE))
        return false;
    if (failure)
        return open_it(b, conf, state, now_ns, random);
    probe_succeeded(b, conf, state);
    return false;
}

void tr_breaker_abandon(struct tr_breaker *b, uint32_t ticket)
{
    if (!tr_breaker_is_probe(ticket))
        return;
    uint64_t p = atomic_load_explicit(&b->probes, memory_order_relaxed);
    do {
        if (probes_gen(p) != (ticket & GEN_MASK) ||
            probes_round(p) != (ticket >> GEN_BITS & ROUND_MASK) || probes_out(p) == 0)
            return; /* its slot is gone */
    } while (!atomic_compare_exchange_weak_explicit(&b->probes, &p, p - (1u << 16),
                                                    memory_order_relaxed, memory_order_relaxed));
}

bool tr_breaker_is_probe(uint32_t ticket)
{
    return ticket != TR_BREAKER_NO_TICKET && (ticket & TICKET_PROBE);
}

enum tr_breaker_state tr_breaker_state(const struct tr_breaker *b)
{
    return kind_of(atomic_load_explicit(&b->state, memory_order_relaxed));
}

uint64_t tr_breaker_wait_ns(const struct tr_breaker *b, uint64_t now_ns)
{
    uint64_t state = atomic_load_explicit(&b->state, memory_order_relaxed);
    if (kind_of(state) == TR_BREAKER_CLOSED || until_of(state) * MS <= now_ns)
        return 0;
    return until_of(state) * MS - now_ns;
}
