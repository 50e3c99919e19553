#include "filters/quota.h"

#include "base/alloc.h"
#include "base/counter.h"
#include "base/digest.h"
#include "base/num.h"
#include "base/rand.h"
#include "filters/quota_redis.h"
#include "filters/registry.h"
#include "obs/expo.h"
#include "pipeline/client_addr.h"

enum result {
    RESULT_ALLOWED,
    RESULT_LIMITED,
    RESULT_FAILED_OPEN,
    RESULT_FAILED_CLOSED,
    RESULT_FAILED_LOCAL,
    RESULT__COUNT
};
static const struct tr_span result_names[RESULT__COUNT] = {
    TR_SPAN_INIT("allowed"), TR_SPAN_INIT("limited"), TR_SPAN_INIT("failed_open"),
    TR_SPAN_INIT("failed_closed"), TR_SPAN_INIT("failed_local")};

/* What all workers share; made on the control thread. */
struct shared {
    struct tr_quota_local *table;
    const struct tr_snapshot *snap;
    const struct tr_quota_conf *conf;
    uint64_t origin_ns; /* of the table's time */
};

struct worker {
    struct shared *shared;
    struct tr_kv_redis *redis;         /* NULL: no quota needs it */
    uint64_t (*counts)[RESULT__COUNT]; /* by name */
};

struct state {
    struct tr_quota_ask *asks; /* of the quotas of this phase: the local ones, then the store's */
    const struct tr_quota **quotas;
    const struct tr_quota_tier **tiers;
    uint32_t count;
    uint32_t known; /* of count: those before it have results, which the client is told */
    /* of those in Redis */
    struct tr_quota_redis_check store;
    struct tr_handle handle;
    enum tr_kv_failure failure;
    uint32_t local; /* of count: those before it are counted in this process */
    bool waits;     /* for the store, the local ones being charged */
};

/* ---- whose counter, and how much ------------------------------------------------------------- */

static struct tr_span header_value(const struct tr_exchange *x, struct tr_span name)
{
    const struct tr_header *h = tr_headers_find_name(&x->hs->head.headers, name);
    return h ? h->value : TR_SPAN("");
}

static struct tr_span claim_value(const struct tr_exchange *x, struct tr_span name)
{
    const struct tr_claim *c = tr_identity_claim(x->identity, name);
    return c && c->count ? c->values[0] : TR_SPAN("");
}

static struct tr_span value_of(struct tr_exchange *x, const struct tr_quota_part *part)
{
    switch (part->kind) {
    case TR_QUOTA_CLAIM:
        return claim_value(x, part->name);
    case TR_QUOTA_CONSUMER:
        return tr_identity_consumer(x->identity);
    case TR_QUOTA_HEADER:
        return header_value(x, part->name);
    case TR_QUOTA_CLIENT_NETWORK:
        return tr_client_network_text(x);
    case TR_QUOTA_CLIENT_ADDRESS:
        return tr_client_addr_text(x);
    case TR_QUOTA_METHOD:
        return x->route->rpc->full_name;
    case TR_QUOTA_CONSTANT:
        return part->name;
    case TR_QUOTA_TIER:
        return tr_identity_tier(x->identity);
    }
    return TR_SPAN("");
}

static const struct tr_quota_tier *tier_of(struct tr_exchange *x, const struct tr_quota *q)
{
    if (q->tier_count) {
        struct tr_span value = value_of(x, &q->tier_from);
        for (uint32_t i = 0; i < q->tier_count; i++)
            if (tr_span_eq(q->tiers[i].value, value))
                return &q->tiers[i];
    }
    return &q->tiers[q->tier_count];
}

/* A value in the store's keys is at most so long: what a client sends must not fill the store, nor
 * be too long for it. Longer ones stand there as their digest. */
#define VALUE_MAX  ((size_t)128)
#define DIGEST_HEX ((size_t)2 * TR_SHA256_BYTES)

static char *put_value(char *w, struct tr_span value, bool shared)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t digest[TR_SHA256_BYTES];
    *w++ = ' ';
    if (shared && value.len > VALUE_MAX) {
        *w++ = '#'; /* where others have the digits of their length */
        tr_sha256(value, digest);
        for (size_t i = 0; i < sizeof digest; i++) {
            *w++ = hex[digest[i] >> 4];
            *w++ = hex[digest[i] & 15];
        }
        return w;
    }
    w += tr_num_u64(w, value.len);
    *w++ = ':';
    if (value.len)
        memcpy(w, value.ptr, value.len);
    return w + value.len;
}

/* The name and each value with its length, so that no two sets of values make one key. */
static bool make_key(struct tr_exchange *x, const struct tr_quota *q, struct tr_span *ret_key)
{
    struct tr_span values[sizeof q->parts / sizeof q->parts[0]];
    size_t len = q->name.len;
    for (uint32_t i = 0; i < q->part_count; i++) {
        values[i] = value_of(x, &q->parts[i]);
        len += TR_NUM_MAX + 2 + (values[i].len > DIGEST_HEX ? values[i].len : DIGEST_HEX);
    }
    char *p = tr_arena_alloc(&x->hs->arena, len + 1), *w = p;
    if (!p)
        return false;
    memcpy(w, q->name.ptr, q->name.len);
    w += q->name.len;
    for (uint32_t i = 0; i < q->part_count; i++)
        w = put_value(w, values[i], q->shared);
    *ret_key = tr_span(p, (size_t)(w - p));
    return true;
}

static bool make_asks(struct tr_exchange *x, const struct tr_quotas *all, bool early,
                      struct state *s)
{
    uint32_t n = early ? all->early : all->count - all->early;
    s->asks = tr_arena_calloc(&x->hs->arena, n, sizeof *s->asks);
    s->quotas = tr_arena_alloc(&x->hs->arena, n * sizeof(void *));
    s->tiers = tr_arena_alloc(&x->hs->arena, n * sizeof(void *));
    if (!s->asks || !s->quotas || !s->tiers)
        return false;
    for (uint32_t i = 0; i < all->count; i++) {
        const struct tr_quota *q = &all->items[i];
        if (q->early != early)
            continue;
        s->quotas[s->count] = q;
        s->tiers[s->count] = tier_of(x, q);
        s->asks[s->count].gcra = s->tiers[s->count]->gcra;
        if (!make_key(x, q, &s->asks[s->count].key))
            return false;
        s->count++;
    }
    return true;
}

/* ---- the check ------------------------------------------------------------------------------- */

/* The clock itself: the turn's time stands still while many requests are read at once, and those of
 * workers differ. What was earned meanwhile would be refused, and a counter that begins at a time
 * which is past would earn it twice. */
static uint64_t now_of(const struct tr_exchange *x, const struct shared *shared)
{
    uint64_t now = tr_loop_clock_ns(x->w->h->loop);
    return now > shared->origin_ns ? now - shared->origin_ns : 0;
}

static void count(struct worker *w, const struct tr_quota *q, enum result r)
{
    tr_count(&w->counts[q->index][r]);
}

static enum tr_verdict refuse(struct tr_exchange *x, struct worker *w, struct state *s)
{
    uint64_t wait_ns = 0;
    const struct tr_quota *by = NULL;
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->asks[i].result.retry_after_ns == 0)
            continue;
        by = by ? by : s->quotas[i];
        count(w, s->quotas[i], RESULT_LIMITED);
        if (s->asks[i].result.retry_after_ns > wait_ns)
            wait_ns = s->asks[i].result.retry_after_ns;
    }
    struct tr_span name = by ? by->name : TR_SPAN("");
    (void)tr_fail(tr_exchange_status(x), TR_ERR_QUOTA_EXCEEDED, "the quota \"%.*s\" is used up",
                  (int)name.len, name.ptr);
    tr_exchange_retry_after(x, wait_ns);
    return TR_FAIL;
}

static enum tr_verdict admitted(struct worker *w, const struct state *s, uint32_t n,
                                bool store_failed)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct tr_quota *q = s->quotas[i];
        bool failed = store_failed && q->shared;
        count(w, q,
              !failed                                ? RESULT_ALLOWED
              : q->on_failure == TR_ON_FAILURE_LOCAL ? RESULT_FAILED_LOCAL
                                                     : RESULT_FAILED_OPEN);
    }
    return TR_CONTINUE;
}

/* Those that `pick` says, moved to the front of the arrays: the local check takes a run of them. */
static uint32_t gather(struct state *s, uint32_t from, bool (*pick)(const struct tr_quota *q))
{
    for (uint32_t i = from; i < s->count; i++) {
        if (!pick(s->quotas[i]))
            continue;
        struct tr_quota_ask ask = s->asks[i];
        const struct tr_quota *quota = s->quotas[i];
        const struct tr_quota_tier *tier = s->tiers[i];
        for (uint32_t k = i; k > from; k--) {
            s->asks[k] = s->asks[k - 1];
            s->quotas[k] = s->quotas[k - 1];
            s->tiers[k] = s->tiers[k - 1];
        }
        s->asks[from] = ask;
        s->quotas[from] = quota;
        s->tiers[from++] = tier;
    }
    return from;
}

static bool is_local(const struct tr_quota *q)
{
    return !q->shared;
}

static bool is_local_on_failure(const struct tr_quota *q)
{
    return q->shared && q->on_failure == TR_ON_FAILURE_LOCAL;
}

static void on_store(struct tr_quota_redis_check *check, enum tr_kv_failure failure)
{
    struct state *s = tr_container_of(check, struct state, store);
    s->failure = failure;
    tr_exchange_resume(check->ctx, s->handle);
}

static enum tr_verdict out_of_memory(struct tr_exchange *x)
{
    (void)tr_fail(tr_exchange_status(x), TR_ERR_NOMEM, "out of memory");
    return TR_FAIL;
}

/* The local ones were charged for a request that is not admitted. */
static void take_back(struct worker *w, struct state *s)
{
    tr_quota_local_undo(w->shared->table, s->asks, s->local, s->store.cost);
    s->known = s->local;
}

/* What on_failure says of each; nothing is known of those that are let pass. */
static enum tr_verdict store_failed(struct tr_exchange *x, struct worker *w, struct state *s)
{
    uint32_t local = s->local, all = s->count;
    const struct tr_quota *closed = NULL;
    if (s->store.cost == 0) /* nothing was to be decided */
        return admitted(w, s, s->count, false);
    for (uint32_t i = local; i < s->count; i++) {
        if (s->quotas[i]->on_failure != TR_ON_FAILURE_DENY)
            continue;
        closed = s->quotas[i];
        count(w, closed, RESULT_FAILED_CLOSED);
    }
    if (closed) {
        take_back(w, s);
        (void)tr_fail(tr_exchange_status(x), TR_ERR_QUOTA_UNAVAILABLE,
                      "the quota \"%.*s\" cannot be checked now", (int)closed->name.len,
                      closed->name.ptr);
        return TR_FAIL;
    }
    uint32_t end = gather(s, local, is_local_on_failure);
    if (end > local)
        x->fail_open |= TR_FAIL_LOCAL_QUOTA;
    if (end > local && !tr_quota_local_check(w->shared->table, s->asks + local, end - local,
                                             s->store.cost, now_of(x, w->shared))) {
        take_back(w, s);
        s->known = end;
        return refuse(x, w, s);
    }
    for (uint32_t i = end; i < all; i++)
        count(w, s->quotas[i], RESULT_FAILED_OPEN);
    if (end < all)
        x->fail_open |= TR_FAIL_OPEN_QUOTA;
    s->known = end;
    return admitted(w, s, end, true);
}

/* The local ones are charged; the others are the store's. */
static enum tr_verdict ask_store(struct tr_exchange *x, struct worker *w, struct state *s)
{
    uint32_t n = s->count - s->local;
    struct tr_quota_redis_item *items = tr_arena_calloc(&x->hs->arena, n, sizeof *items);
    s->store.cost = x->policy->quota_cost;
    if (!items) {
        take_back(w, s);
        return out_of_memory(x);
    }
    for (uint32_t i = 0; i < n; i++) {
        items[i].rate = &s->tiers[s->local + i]->rate;
        items[i].key = s->asks[s->local + i].key;
    }
    s->store.items = items;
    s->store.count = n;
    s->store.fn = on_store;
    s->store.ctx = x->w;
    if (!tr_exchange_pause(x, &s->handle)) {
        take_back(w, s);
        (void)tr_fail(tr_exchange_status(x), TR_ERR_OVERLOADED, "too many requests wait");
        return TR_FAIL;
    }
    s->failure = tr_quota_redis_check(w->redis, &s->store);
    s->waits = s->failure == TR_KV_OK;
    if (s->waits)
        return TR_PAUSE;
    tr_exchange_unpause(x);
    return store_failed(x, w, s);
}

static enum tr_verdict check(struct tr_exchange *x, struct state *s, bool early)
{
    const struct tr_quotas *all = x->policy->slots[TR_POLICY_QUOTA];
    struct worker *w = tr_filter_worker(x, TR_FILTER_QUOTA); /* of both filters */
    if (!all || !w || (early ? all->early : all->count - all->early) == 0)
        return TR_CONTINUE;
    if (!make_asks(x, all, early, s))
        return out_of_memory(x);
    s->local = s->known = gather(s, 0, is_local);
    if (s->local && !tr_quota_local_check(w->shared->table, s->asks, s->local,
                                          x->policy->quota_cost, now_of(x, w->shared)))
        return refuse(x, w, s); /* the store is not asked */
    return s->local < s->count ? ask_store(x, w, s) : admitted(w, s, s->count, false);
}

static enum tr_verdict on_resume(struct tr_exchange *x, void *state)
{
    struct state *s = state;
    struct worker *w = tr_filter_worker(x, TR_FILTER_QUOTA);
    s->waits = false;
    if (s->failure != TR_KV_OK)
        return store_failed(x, w, s);
    for (uint32_t i = 0; i < s->store.count; i++)
        s->asks[s->local + i].result = s->store.items[i].result;
    if (!s->store.admitted)
        take_back(w, s);
    s->known = s->count;
    return s->store.admitted ? admitted(w, s, s->count, false) : refuse(x, w, s);
}

static void done(struct tr_exchange *x, void *state)
{
    struct state *s = state;
    tr_quota_redis_cancel(&s->store);
    if (s->waits) /* it went, or had no time left, before the store had said anything */
        take_back(tr_filter_worker(x, TR_FILTER_QUOTA), s);
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    return check(x, state, false);
}

static enum tr_verdict on_request_early(struct tr_exchange *x, void *state)
{
    return check(x, state, true);
}

/* ---- what is told to the client -------------------------------------------------------------- */

#define MEMBER_MAX (2 * TR_NUM_MAX + 16)

/* A member of RateLimit: what is left of a quota. */
static char *put_left(char *w, const struct tr_quota *q, const struct tr_gcra_result *r)
{
    /* of one that refused: when there is enough again, as Retry-After says */
    bool refused = r->retry_after_ns != 0 && r->retry_after_ns != UINT64_MAX;
    uint64_t reset_ns = refused ? r->retry_after_ns : r->reset_ns;
    *w++ = '"';
    memcpy(w, q->name.ptr, q->name.len);
    w += q->name.len;
    memcpy(w, "\";r=", 4);
    w += 4;
    w += tr_num_u64(w, r->remaining);
    memcpy(w, ";t=", 3);
    w += 3;
    return w + tr_num_u64(w, (reset_ns + 999999999) / 1000000000);
}

static char *put_comma(char *w, bool put)
{
    if (put)
        memcpy(w, ", ", 2);
    return w + (put ? 2 : 0);
}

/* The policies that hold are told always, what is left when it is known. */
static void on_response(struct tr_exchange *x, void *state)
{
    const struct state *s = state;
    size_t len = 0, policy_len = 0;
    if (!s || s->count == 0)
        return;
    for (uint32_t i = 0; i < s->count; i++) {
        len += s->quotas[i]->name.len + MEMBER_MAX;
        policy_len += s->tiers[i]->policy_text.len + 2;
    }
    char *p = tr_arena_alloc(&x->hs->arena, len + policy_len);
    if (!p)
        return;
    char *w = p, *policy = p + len, *pw = policy;
    for (uint32_t i = 0; i < s->count; i++) {
        struct tr_span text = s->tiers[i]->policy_text;
        pw = put_comma(pw, i > 0);
        memcpy(pw, text.ptr, text.len);
        pw += text.len;
        if (i < s->known)
            w = put_left(put_comma(w, i > 0), s->quotas[i], &s->asks[i].result);
    }
    (void)!tr_exchange_header(x, TR_SPAN("ratelimit-policy"),
                              tr_span(policy, (size_t)(pw - policy)), TR_TOKEN_NONE);
    if (s->known)
        (void)!tr_exchange_header(x, TR_SPAN("ratelimit"), tr_span(p, (size_t)(w - p)),
                                  TR_TOKEN_NONE);
}

/* ---- what lives longer ----------------------------------------------------------------------- */

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    struct tr_quota_conf *conf = TR_ARENA_NEW(&snap->arena, struct tr_quota_conf);
    if (!conf)
        return TR_ERR_NOMEM;
    *ret_conf = conf;
    return tr_quota_compile(snap, conf);
}

static enum tr_err control_start(const struct tr_control *control, const struct tr_snapshot *snap,
                                 void *conf, void **ret_control, struct tr_status *st)
{
    const struct tr_quota_conf *c = conf;
    struct tr_rand rand;
    (void)st;
    if (!c || !c->any)
        return TR_OK;
    struct shared *s = tr_calloc(1, sizeof *s);
    if (!s)
        return TR_ERR_NOMEM;
    *ret_control = s;
    *s = (struct shared){.snap = snap, .conf = c, .origin_ns = tr_loop_now_ns(control->loop)};
    tr_rand_init(&rand);
    return tr_quota_local_new(snap->config.quota_store.local_entries, tr_rand_u64(&rand),
                              &s->table);
}

static void control_stop(void *control)
{
    struct shared *s = control;
    tr_quota_local_free(s->table);
    tr_free(s);
}

static void worker_stop(void *worker)
{
    struct worker *w = worker;
    tr_kv_redis_free(w->redis);
    tr_free(w->counts);
    tr_free(w);
}

static enum tr_err worker_start(struct tr_pworker *p, void *conf, void *control, void **ret_worker)
{
    const struct tr_quota_conf *c = conf;
    if (!control)
        return TR_OK;
    struct worker *w = tr_calloc(1, sizeof *w);
    if (!w)
        return TR_ERR_NOMEM;
    *ret_worker = w;
    w->shared = control;
    w->counts = tr_calloc(c->name_count, sizeof *w->counts);
    if (!w->counts)
        return TR_ERR_NOMEM;
    struct tr_kv_redis_options options = {.loop = p->h->loop,
                                          .dns = p->dns,
                                          .url = &c->redis,
                                          .script = tr_quota_redis_script,
                                          .timeout_ns = p->snap->config.quota_store.timeout};
    return c->any_shared ? tr_kv_redis_new(&options, &w->redis) : TR_OK;
}

static void store_metrics(struct tr_expo *e, void *const *workers, uint32_t worker_count)
{
    static const struct tr_span names[] = {TR_SPAN_INIT("ok"), TR_SPAN_INIT("timeout"),
                                           TR_SPAN_INIT("unavailable"), TR_SPAN_INIT("error")};
    uint64_t calls[4] = {0}, took_ns = 0, up = 0;
    bool any = false;
    for (uint32_t i = 0; i < worker_count; i++) {
        const struct worker *w = workers[i];
        if (!w || !w->redis)
            continue;
        const struct tr_kv_counters *c = tr_kv_redis_counters(w->redis);
        any = true;
        for (unsigned k = 0; k < TR_KV__COUNT; k++) {
            unsigned what = k == TR_KV_OK                                           ? 0
                            : k == TR_KV_TIMEOUT                                    ? 1
                            : k == TR_KV_DOWN || k == TR_KV_BUSY || k == TR_KV_LOST ? 2
                                                                                    : 3;
            calls[what] += tr_count_load(&c->results[k]);
        }
        took_ns += tr_count_load(&c->answered_ns);
        up += tr_count_load(&c->up);
    }
    if (!any)
        return;
    for (unsigned k = 0; k < 4; k++)
        tr_expo_u64(e, TR_METRIC_QUOTA_STORE_CALLS, &names[k], calls[k]);
    tr_expo_u64(e, TR_METRIC_QUOTA_STORE_UP, NULL, up);
    tr_expo_double(e, TR_METRIC_QUOTA_STORE_SECONDS, NULL, (double)took_ns / 1e9);
}

static void metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t worker_count)
{
    const struct tr_quota_conf *c = conf;
    const struct shared *s = control;
    (void)snap;
    if (!c || !s)
        return;
    for (uint32_t n = 0; n < c->name_count; n++) {
        for (unsigned r = 0; r < RESULT__COUNT; r++) {
            struct tr_span labels[2] = {c->names[n], result_names[r]};
            uint64_t sum = 0;
            for (uint32_t i = 0; i < worker_count; i++) {
                const struct worker *w = workers[i];
                sum += w ? tr_count_load(&w->counts[n][r]) : 0;
            }
            if (sum)
                tr_expo_u64(e, TR_METRIC_QUOTA_DECISIONS, labels, sum);
        }
    }
    tr_expo_u64(e, TR_METRIC_QUOTA_EVICTIONS, NULL, tr_quota_local_evictions(s->table));
    store_metrics(e, workers, worker_count);
}

const struct tr_filter tr_filter_quota = {
    .name = "quotas",
    .phase = TR_PHASE_QUOTA,
    .state_bytes = sizeof(struct state),
    .on_request = on_request,
    .on_resume = on_resume,
    .done = done,
    .on_response = on_response,
    .prepare = prepare,
    .control_start = control_start,
    .control_stop = control_stop,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .metrics = metrics,
};

const struct tr_filter tr_filter_quota_early = {
    .name = "quotas before authentication",
    .phase = TR_PHASE_AUTHN,
    .state_bytes = sizeof(struct state),
    .on_request = on_request_early,
    .on_resume = on_resume,
    .done = done,
    .on_response = on_response,
};
