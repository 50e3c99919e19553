/* Quotas of policies as the request path reads them. */
#include "filters/authn.h"
#include "filters/quota.h"
#include "filters/report.h"
#include "http/msg.h"
#include "io/listener.h"

#include <jansson.h>

struct compile {
    struct tr_snapshot *snap;
    struct tr_quota_conf *conf;
    const struct tr_policy *policy;
    enum tr_err err;
};

#define PROBLEM(c, ...) tr_filter_problem((c)->snap, (c)->policy, "quotas", __VA_ARGS__)

static bool is_name(struct tr_span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!tr_is_alpha(s.ptr[i]) && !tr_is_digit(s.ptr[i]) && !strchr("_-.:", s.ptr[i]))
            return false;
    return s.len > 0 && s.len <= 64;
}

static struct tr_span lower(struct compile *c, struct tr_span s)
{
    char *p = tr_arena_alloc(&c->snap->arena, s.len + 1);
    for (size_t i = 0; p && i < s.len; i++)
        p[i] = tr_lower(s.ptr[i]);
    return p ? tr_span(p, s.len) : TR_SPAN("");
}

static bool parse_part(struct compile *c, struct tr_span text, struct tr_quota_part *ret)
{
    struct tr_span rest = text, word = tr_span_cut(&rest, ':');
    bool has = rest.ptr && rest.len;
    ret->name = has ? rest : TR_SPAN("");
    if (tr_span_eq(word, TR_SPAN("claim")) && has) {
        ret->kind = TR_QUOTA_CLAIM;
    } else if (tr_span_eq(word, TR_SPAN("header")) && has && tr_http_is_token(rest)) {
        ret->kind = TR_QUOTA_HEADER;
        ret->name = lower(c, rest);
    } else if (tr_span_eq(word, TR_SPAN("constant")) && has) {
        ret->kind = TR_QUOTA_CONSTANT;
    } else if (tr_span_eq(text, TR_SPAN("consumer"))) {
        ret->kind = TR_QUOTA_CONSUMER;
    } else if (tr_span_eq(text, TR_SPAN("client_address"))) {
        ret->kind = TR_QUOTA_CLIENT_ADDRESS;
    } else if (tr_span_eq(text, TR_SPAN("client_network"))) {
        ret->kind = TR_QUOTA_CLIENT_NETWORK;
    } else if (tr_span_eq(text, TR_SPAN("method"))) {
        ret->kind = TR_QUOTA_METHOD;
    } else {
        return false;
    }
    return true;
}

static void finish_tier(struct compile *c, const struct tr_quota *q, struct tr_quota_tier *t)
{
    uint64_t window_s = (t->window_ns + 999999999) / 1000000000;
    if (t->burst == 0)
        t->burst = t->limit;
    t->gcra = tr_gcra_make(t->limit, t->window_ns, t->burst);
    if (q->shared)
        t->rate = tr_quota_redis_rate_make(t->limit, t->window_ns, t->burst);
    if ((__uint128_t)t->window_ns * t->burst / t->limit >
        TR_GCRA_CAPACITY_MAX / TR_GCRA_TICKS_PER_NS)
        PROBLEM(c, "the burst of %u of \"%.*s\" takes more than 18 years to be earned", t->burst,
                (int)q->name.len, q->name.ptr);
    if (c->policy->quota_cost > t->burst)
        PROBLEM(c, "quota_cost %u of \"%.*s\" is more than its burst of %u: nothing would pass",
                c->policy->quota_cost, (int)q->name.len, q->name.ptr, t->burst);
    char *p = tr_arena_alloc(&c->snap->arena, q->name.len + 64);
    if (!p) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    int n = snprintf(p, q->name.len + 64, "\"%.*s\";q=%u;w=%llu", (int)q->name.len, q->name.ptr,
                     t->limit, (unsigned long long)window_s);
    t->policy_text = tr_span(p, n > 0 ? (size_t)n : 0);
}

/* One tier of `tiers`: {"limit", "window", "burst"}; what it leaves out is the quota's own. */
static void parse_tier(struct compile *c, struct tr_quota *q, const char *name, const json_t *v,
                       struct tr_quota_tier *t)
{
    const char *key;
    json_t *e;
    t->value = tr_arena_copy(&c->snap->arena, tr_span_cstr(name));
    json_object_foreach((json_t *)(uintptr_t)v, key, e)
    {
        json_int_t n = json_is_integer(e) ? json_integer_value(e) : 0;
        bool ok = n > 0 && n <= 1000000000;
        if (strcmp(key, "limit") == 0 && ok)
            t->limit = (uint32_t)n;
        else if (strcmp(key, "burst") == 0 && ok)
            t->burst = (uint32_t)n;
        else if (strcmp(key, "window") == 0 && json_is_string(e) &&
                 tr_duration_parse(tr_span_cstr(json_string_value(e)), &t->window_ns) &&
                 t->window_ns >= 1000000)
            continue;
        else
            PROBLEM(c,
                    "tier \"%s\" of \"%.*s\": \"%s\" is not a key with a good value; there are "
                    "limit, burst (integers from 1) and window (a duration from 1ms)",
                    name, (int)q->name.len, q->name.ptr, key);
    }
    finish_tier(c, q, t);
}

static void parse_tiers(struct compile *c, struct tr_quota *q, const struct tr_policy_quota *cfg)
{
    const struct json_t *tiers = cfg->tiers;
    size_t n = tiers ? json_object_size(tiers) : 0;
    struct tr_quota_tier *items = tr_arena_calloc(&c->snap->arena, n + 1, sizeof *items);
    if (!items) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    struct tr_quota_tier own = {
        .limit = cfg->limit, .burst = cfg->burst, .window_ns = cfg->window, .value = TR_SPAN("")};
    q->tiers = items;
    if (tiers && !json_is_object(tiers))
        PROBLEM(c, "tiers of \"%.*s\" is not an object", (int)q->name.len, q->name.ptr);
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)tiers, key, v)
    {
        if (strcmp(key, "from") == 0) {
            struct tr_span from = tr_span_cstr(json_is_string(v) ? json_string_value(v) : "");
            if (tr_span_eq(from, TR_SPAN("tier")))
                q->tier_from.kind = TR_QUOTA_TIER;
            else if (!parse_part(c, tr_arena_copy(&c->snap->arena, from), &q->tier_from))
                PROBLEM(c,
                        "tiers.from of \"%.*s\" is \"tier\" or a part of a key such as "
                        "\"claim:plan\"",
                        (int)q->name.len, q->name.ptr);
        } else if (json_is_object(v)) {
            items[q->tier_count] = own;
            items[q->tier_count].burst = json_object_get(v, "limit") ? 0 : own.burst;
            parse_tier(c, q, key, v, &items[q->tier_count++]);
        } else {
            PROBLEM(c, "tier \"%s\" of \"%.*s\" is not an object", key, (int)q->name.len,
                    q->name.ptr);
        }
    }
    if (q->tier_count && !json_object_get(tiers, "from"))
        PROBLEM(c, "tiers of \"%.*s\" has no \"from\"", (int)q->name.len, q->name.ptr);
    items[q->tier_count] = own;
    finish_tier(c, q, &items[q->tier_count]);
}

static uint32_t name_index(struct compile *c, struct tr_span name)
{
    struct tr_quota_conf *conf = c->conf;
    for (uint32_t i = 0; i < conf->name_count; i++)
        if (tr_span_eq(conf->names[i], name))
            return i;
    if (conf->name_count == conf->name_cap) {
        uint32_t cap = conf->name_cap ? conf->name_cap * 2 : 16;
        struct tr_span *names = tr_arena_calloc(&c->snap->arena, cap, sizeof *names);
        if (!names) {
            c->err = TR_ERR_NOMEM;
            return 0;
        }
        if (conf->name_count)
            memcpy(names, conf->names, conf->name_count * sizeof *names);
        conf->names = names;
        conf->name_cap = cap;
    }
    ((struct tr_span *)(uintptr_t)conf->names)[conf->name_count] = name;
    return conf->name_count++;
}

static bool needs_identity(const struct tr_quota_part *p)
{
    return p->kind == TR_QUOTA_CLAIM || p->kind == TR_QUOTA_CONSUMER || p->kind == TR_QUOTA_TIER;
}

static void parse_keys(struct compile *c, const struct tr_policy_quota *cfg, struct tr_quota *q)
{
    static const uint32_t max = sizeof q->parts / sizeof q->parts[0];
    if (cfg->key.count > max)
        PROBLEM(c, "the key of \"%.*s\" has more than %u parts", (int)q->name.len, q->name.ptr,
                max);
    for (uint32_t i = 0; i < cfg->key.count && i < max; i++) {
        struct tr_span text = cfg->key.items[i];
        struct tr_quota_part *part = &q->parts[q->part_count];
        if (parse_part(c, text, part)) {
            q->part_count++;
            q->early = q->early && !needs_identity(part);
        } else {
            PROBLEM(c,
                    "\"%.*s\" is no part of a key: there are claim:NAME, consumer, header:NAME, "
                    "client_address, client_network, method and constant:TEXT",
                    (int)(text.len < 100 ? text.len : 100), text.ptr);
        }
    }
}

/* A part without a value is one more value, so that a key of such parts alone tells no caller from
 * another: rarely what was meant. */
static void warn_of_absent(struct compile *c, const struct tr_quota *q)
{
    const char *absent = NULL;
    bool claims, consumer;
    tr_authn_brings(c->policy, &claims, &consumer);
    for (uint32_t i = 0; i < q->part_count; i++) {
        enum tr_quota_part_kind kind = q->parts[i].kind;
        if (kind == TR_QUOTA_CONSTANT || kind == TR_QUOTA_METHOD)
            continue;
        if (!(kind == TR_QUOTA_CLAIM && !claims) && !(kind == TR_QUOTA_CONSUMER && !consumer))
            return;
        absent = kind == TR_QUOTA_CLAIM ? "claims" : "a consumer";
    }
    if (absent)
        tr_filter_warning(
            c->snap, c->policy, "quotas",
            "\"%.*s\": a method with this quota has no authentication that brings %s: "
            "all its callers share one counter",
            (int)q->name.len, q->name.ptr, absent);
}

static void parse_quota(struct compile *c, const struct tr_policy_quota *cfg, struct tr_quota *q)
{
    uint8_t store_says = c->snap->config.quota_store.on_failure;
    *q = (struct tr_quota){.name = cfg->name,
                           .early = cfg->before_authentication,
                           .shared = cfg->store == TR_QUOTA_STORE_SHARED &&
                                     c->snap->config.quota_store.redis.len > 0};
    if (!is_name(cfg->name))
        PROBLEM(c, "a quota's name has 1 to 64 letters, digits, '_', '-', '.' or ':'");
    parse_keys(c, cfg, q);
    warn_of_absent(c, q);
    parse_tiers(c, q, cfg);
    if (cfg->before_authentication &&
        (!q->early || (q->tier_count && needs_identity(&q->tier_from))))
        PROBLEM(c, "\"%.*s\" needs an identity, and cannot be checked before authentication",
                (int)q->name.len, q->name.ptr);
    q->early = cfg->before_authentication;
    q->on_failure = cfg->on_failure == TR_QUOTA_ON_FAILURE_LOCAL   ? TR_ON_FAILURE_LOCAL
                    : cfg->on_failure == TR_QUOTA_ON_FAILURE_ALLOW ? TR_ON_FAILURE_ALLOW
                    : cfg->on_failure == TR_QUOTA_ON_FAILURE_DENY  ? TR_ON_FAILURE_DENY
                                                                   : store_says;
    q->index = name_index(c, cfg->name);
    c->conf->any = true;
    c->conf->any_shared = c->conf->any_shared || q->shared;
}

static void compile_policy(void *ctx, struct tr_policy *policy)
{
    struct compile *c = ctx;
    const struct tr_policy_quota *cfg = policy->quotas.items;
    c->policy = policy;
    if (c->err || policy->quotas.count == 0)
        return;
    if (policy->quotas.count > TR_QUOTA_MAX) {
        PROBLEM(c, "more than %u quotas", TR_QUOTA_MAX);
        return;
    }
    struct tr_quotas *all = TR_ARENA_NEW(&c->snap->arena, struct tr_quotas);
    struct tr_quota *items = tr_arena_calloc(&c->snap->arena, policy->quotas.count, sizeof *items);
    if (!all || !items) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < policy->quotas.count; i++) {
        if (!cfg[i].name.ptr || !cfg[i].limit || !cfg[i].window)
            return; /* told already */
        for (uint32_t k = 0; k < i; k++)
            if (tr_span_eq(cfg[k].name, cfg[i].name))
                PROBLEM(c, "two quotas are named \"%.*s\"", (int)cfg[i].name.len, cfg[i].name.ptr);
        parse_quota(c, &cfg[i], &items[i]);
        all->early += items[i].early;
    }
    all->items = items;
    all->count = policy->quotas.count;
    policy->slots[TR_POLICY_QUOTA] = all;
}

/* The path of a socket is relative to the file, as all paths are. */
static enum tr_err place_socket(const struct tr_snapshot *snap, struct tr_kv_redis_url *url,
                                struct tr_status *st)
{
    struct tr_span path = tr_span_from(tr_span_cstr(url->host), 5);
    if (path.len == 0 || path.ptr[0] == '/' || path.ptr[0] == '@' || snap->folder.len == 0)
        return TR_OK;
    char whole[sizeof url->host];
    int n = snprintf(whole, sizeof whole, "unix:%.*s/%.*s", (int)snap->folder.len, snap->folder.ptr,
                     (int)path.len, path.ptr);
    if (n < 0 || (size_t)n >= sizeof whole)
        return tr_fail(st, TR_ERR_CONFIG, "the path of the unix socket is too long");
    enum tr_err err = tr_addr_parse(tr_span(whole, (size_t)n), &url->addr, st);
    if (!err)
        memcpy(url->host, whole, (size_t)n + 1);
    return err;
}

static void find_store(struct tr_snapshot *snap, struct tr_quota_conf *conf)
{
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_kv_redis_parse(snap->config.quota_store.redis, &conf->redis, &st);
    if (!err && tr_span_starts(tr_span_cstr(conf->redis.host), TR_SPAN("unix:")))
        err = place_socket(snap, &conf->redis, &st);
    if (err)
        tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/quota_store/redis"), "%.*s",
                   (int)tr_status_text(&st).len, tr_status_text(&st).ptr);
}

enum tr_err tr_quota_compile(struct tr_snapshot *snap, struct tr_quota_conf *conf)
{
    struct compile c = {.snap = snap, .conf = conf};
    if (snap->config.quota_store.redis.len)
        find_store(snap, conf);
    tr_policy_each(snap->policies, compile_policy, &c);
    return c.err;
}
