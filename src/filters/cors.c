/* CORS: preflights are answered here, before authentication; every answer under a policy gets its
 * headers in on_response, whoever gives it (SPEC §10, the Fetch standard §3.2). */
#include "filters/cors.h"

#include "base/alloc.h"
#include "base/num.h"
#include "filters/cors_origin.h"
#include "filters/registry.h"
#include "filters/report.h"
#include "filters/tally.h"
#include "pipeline/exchange.h"

struct cors { /* TR_POLICY_CORS */
    const struct tr_cors_pattern *origins;
    uint32_t count;
    bool any, credentials;
    struct tr_span allow_headers, expose_headers, max_age; /* as sent; empty: none */
};

static const struct tr_span prefix = TR_SPAN_INIT("access-control-");

/* ---- load ------------------------------------------------------------------------------------ */

struct compile {
    struct tr_snapshot *snap;
    enum tr_err err;
};

static bool allows(const struct cors *cors, struct tr_span origin)
{
    for (uint32_t i = 0; i < cors->count; i++)
        if (tr_cors_pattern_matches(&cors->origins[i], origin))
            return true;
    return cors->any;
}

static void compile_origins(struct compile *c, const struct tr_policy *policy, struct cors *cors)
{
    const struct tr_strings *texts = &policy->cors->origins;
    struct tr_cors_pattern *origins =
        tr_arena_calloc(&c->snap->arena, texts->count + 1u, sizeof *origins);
    if (!origins) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    cors->origins = origins;
    for (uint32_t i = 0; i < texts->count && !c->err; i++) {
        struct tr_span text = texts->items[i];
        bool nomem = false;
        if (tr_span_eq(text, TR_SPAN("*")))
            cors->any = true;
        else if (tr_cors_pattern_parse(text, &c->snap->arena, &origins[cors->count], &nomem))
            cors->count++;
        else if (nomem)
            c->err = TR_ERR_NOMEM;
        else
            tr_filter_problem(c->snap, policy, "cors",
                              "origins: \"%.*s\" is no origin: \"https://app.example.com\", "
                              "\"https://*.example.com\", \"null\" or \"*\", without a path",
                              (int)(text.len < 100 ? text.len : 100), text.ptr);
    }
    if (cors->any && cors->credentials)
        tr_filter_problem(c->snap, policy, "cors",
                          "origins: \"*\" does not go with credentials: name the origins");
    if (cors->credentials && allows(cors, TR_SPAN("null")) && !cors->any)
        tr_filter_warning(c->snap, policy, "cors",
                          "origins: any site can make a frame whose origin is \"null\", and with "
                          "credentials read what its visitor may");
    if (texts->count == 0)
        tr_filter_warning(c->snap, policy, "cors",
                          "no origin is let in; \"cors\": \"none\" says so in a word");
}

/* The names joined by commas. */
static struct tr_span compile_names(struct compile *c, const struct tr_policy *policy,
                                    const char *key, const struct tr_strings *names)
{
    size_t len = 0, n = 0;
    for (uint32_t i = 0; i < names->count; i++)
        len += names->items[i].len + 2;
    char *p = tr_arena_alloc(&c->snap->arena, len + 1);
    if (!p) {
        c->err = TR_ERR_NOMEM;
        return TR_SPAN("");
    }
    for (uint32_t i = 0; i < names->count; i++) {
        struct tr_span name = names->items[i];
        if (!tr_http_is_token(name)) {
            tr_filter_problem(c->snap, policy, "cors", "%s: \"%.*s\" is no name of a header", key,
                              (int)(name.len < 100 ? name.len : 100), name.ptr);
            continue;
        }
        if (n) {
            p[n++] = ',';
            p[n++] = ' ';
        }
        memcpy(p + n, name.ptr, name.len);
        n += name.len;
    }
    return tr_span(p, n);
}

static bool has(const struct tr_strings *names, struct tr_span name)
{
    for (uint32_t i = 0; i < names->count; i++)
        if (tr_span_eq(names->items[i], name))
            return true;
    return false;
}

static void compile_policy(void *ctx, struct tr_policy *policy)
{
    struct compile *c = ctx;
    const struct tr_policy_cors *conf = policy->cors;
    if (c->err || !conf || conf->none)
        return;
    struct cors *cors = TR_ARENA_NEW(&c->snap->arena, struct cors);
    char *age = tr_arena_alloc(&c->snap->arena, TR_NUM_MAX);
    if (!cors || !age) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    cors->credentials = conf->credentials;
    cors->max_age = tr_span(age, tr_num_u64(age, conf->max_age / 1000000000u));
    compile_origins(c, policy, cors);
    cors->allow_headers = compile_names(c, policy, "allow_headers", &conf->allow_headers);
    cors->expose_headers = compile_names(c, policy, "expose_headers", &conf->expose_headers);
    if (has(&conf->allow_headers, TR_SPAN("*")))
        tr_filter_problem(c->snap, policy, "cors",
                          "allow_headers: leave it empty to allow the headers that are asked for");
    if (conf->credentials && has(&conf->expose_headers, TR_SPAN("*")))
        tr_filter_problem(c->snap, policy, "cors",
                          "expose_headers: \"*\" means nothing with credentials: name the headers");
    policy->slots[TR_POLICY_CORS] = cors;
}

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    struct compile c = {.snap = snap};
    (void)ret_conf;
    tr_policy_each(snap->policies, compile_policy, &c);
    return c.err;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The one Origin header; NULL without one, or with several. */
static const struct tr_header *origin_of(const struct tr_exchange *x)
{
    const struct tr_headers *in = &x->hs->head.headers;
    const struct tr_header *h = tr_headers_find(in, TR_TOKEN_ORIGIN, NULL);
    return h && !tr_headers_find(in, TR_TOKEN_ORIGIN, h) ? h : NULL;
}

bool tr_cors_allows(const struct tr_policy *policy, struct tr_span origin)
{
    const struct cors *cors = policy->slots[TR_POLICY_CORS];
    return cors && allows(cors, origin);
}

static enum tr_err add(struct tr_exchange *x, struct tr_span name, struct tr_span value)
{
    return tr_exchange_header(x, name, value, TR_TOKEN_NONE);
}

/* `word` joins the Vary that is there (RFC 9110 §12.5.5). */
static enum tr_err vary(struct tr_exchange *x, struct tr_span word)
{
    struct tr_header *first = NULL;
    for (uint32_t i = 0; i < x->resp_headers.count; i++) {
        struct tr_header *h = &x->resp_headers.items[i];
        if (!tr_span_eq(h->name, TR_SPAN("vary")))
            continue;
        if (tr_cors_list_has(h->value, word) || tr_cors_list_has(h->value, TR_SPAN("*")))
            return TR_OK;
        first = first ? first : h;
    }
    if (!first || first->value.len == 0)
        return add(x, TR_SPAN("vary"), word);
    size_t n = first->value.len;
    char *p = tr_arena_alloc(&x->hs->arena, n + 2 + word.len);
    if (!p)
        return TR_ERR_NOMEM;
    memcpy(p, first->value.ptr, n);
    memcpy(p + n, ", ", 2);
    memcpy(p + n + 2, word.ptr, word.len);
    first->value = tr_span(p, n + 2 + word.len);
    return TR_OK;
}

/* What a backend says of CORS would contradict the policy, or repeat it, which browsers refuse;
 * where there is no policy it would open what nobody meant to open. */
static void drop_access_control(struct tr_headers *h)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->count; i++)
        if (!tr_span_starts(h->items[i].name, prefix))
            h->items[kept++] = h->items[i];
    h->count = kept;
}

/* What the preflight asks for; empty where that is no method, though a route of any may match it.
 */
static struct tr_span asked_method(const struct tr_exchange *x)
{
    const struct tr_header *asked =
        tr_headers_find_name(&x->hs->head.headers, TR_SPAN("access-control-request-method"));
    return tr_http_is_token(asked->value) ? asked->value : TR_SPAN("");
}

static enum tr_err answer_headers(struct tr_exchange *x, const struct cors *cors)
{
    const struct tr_header *origin = origin_of(x);
    enum tr_err err = vary(x, TR_SPAN("Origin"));
    if (err || !origin || !allows(cors, origin->value) || (x->preflight && !asked_method(x).len))
        return err;
    err = add(x, TR_SPAN("access-control-allow-origin"), cors->any ? TR_SPAN("*") : origin->value);
    if (!err && cors->credentials)
        err = add(x, TR_SPAN("access-control-allow-credentials"), TR_SPAN("true"));
    if (!err && cors->expose_headers.len && !x->preflight)
        err = add(x, TR_SPAN("access-control-expose-headers"), cors->expose_headers);
    return err;
}

static void on_response(struct tr_exchange *x, void *state)
{
    const struct cors *cors = x->policy->slots[TR_POLICY_CORS];
    (void)state;
    if (!x->preflight) /* what is there was put by on_request */
        drop_access_control(&x->resp_headers);
    if (cors && answer_headers(x, cors)) /* out of memory: no script may read the answer */
        drop_access_control(&x->resp_headers);
}

/* ---- preflights ------------------------------------------------------------------------------ */

/* Browsers remember the methods of an answer for the whole path: one is named only where the policy
 * of its own route lets this origin in, on the same terms. */
static bool method_is_open(struct tr_exchange *x, const struct cors *cors, struct tr_span method,
                           struct tr_span origin)
{
    struct tr_route_match match;
    tr_router_match(x->snap->router, tr_method_from(method), method, x->hs->head.path, &match);
    if (match.result != TR_MATCH_FOUND)
        return false;
    const struct tr_route *route = match.target;
    const struct cors *other = route->policy->slots[TR_POLICY_CORS];
    return other == cors ||
           (other && other->credentials == cors->credentials && allows(other, origin));
}

static enum tr_err allow_methods(struct tr_exchange *x, const struct cors *cors,
                                 struct tr_span asked, struct tr_span origin)
{
    struct tr_span all = x->route->native
                             ? TR_SPAN("")
                             : tr_router_allow(x->snap->router, x->hs->head.path, &x->hs->arena);
    char *p = tr_arena_alloc(&x->hs->arena, asked.len + all.len + 2);
    if (!p)
        return TR_ERR_NOMEM;
    size_t n = asked.len;
    memcpy(p, asked.ptr, n);
    while (all.ptr) {
        struct tr_span one = tr_span_trim(tr_span_cut(&all, ','));
        if (one.len == 0 || tr_span_eq(one, asked) || !method_is_open(x, cors, one, origin))
            continue;
        p[n++] = ',';
        p[n++] = ' ';
        memcpy(p + n, one.ptr, one.len);
        n += one.len;
    }
    return add(x, TR_SPAN("access-control-allow-methods"), tr_span(p, n));
}

/* Those of the policy; without any, those that are asked for, where they are names of headers. */
static enum tr_err allow_headers(struct tr_exchange *x, const struct cors *cors)
{
    static const struct tr_span asks = TR_SPAN_INIT("access-control-request-headers");
    struct tr_span names = cors->allow_headers;
    if (names.len == 0) {
        const struct tr_header *h = tr_headers_find_name(&x->hs->head.headers, asks);
        if (!h || h->value.len == 0 || !tr_cors_is_name_list(h->value))
            return TR_OK;
        names = h->value;
    }
    return add(x, TR_SPAN("access-control-allow-headers"), names);
}

static enum tr_err preflight(struct tr_exchange *x, const struct cors *cors, struct tr_span asked,
                             struct tr_span origin)
{
    enum tr_err err = allow_methods(x, cors, asked, origin);
    if (!err)
        err = allow_headers(x, cors);
    return err ? err : add(x, TR_SPAN("access-control-max-age"), cors->max_age);
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    const struct cors *cors = x->policy->slots[TR_POLICY_CORS];
    struct tr_tally *tally = tr_filter_worker(x, TR_FILTER_CORS);
    (void)state;
    if (!x->preflight)
        return TR_CONTINUE;
    const struct tr_header *origin = origin_of(x);
    struct tr_span method = asked_method(x);
    bool allowed = origin && allows(cors, origin->value) && method.len;
    tr_tally_count(tally, allowed);
    enum tr_err err = allowed ? preflight(x, cors, method, origin->value) : TR_OK;
    if (!err)
        err = vary(x, TR_SPAN("Access-Control-Request-Method"));
    if (!err)
        err = vary(x, TR_SPAN("Access-Control-Request-Headers"));
    if (err) {
        (void)tr_fail(tr_exchange_status(x), err, "out of memory");
        return TR_FAIL;
    }
    tr_exchange_step(x, TR_STEP_REPLY);
    (void)tr_exchange_send_head(x, 204, -2, true); /* where it fails the connection is lost */
    tr_exchange_done(x);
    return TR_REPLY;
}

/* ---- workers --------------------------------------------------------------------------------- */

static void metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t count)
{
    (void)snap;
    (void)conf;
    (void)control;
    tr_tally_write(e, TR_METRIC_CORS_PREFLIGHTS, TR_SPAN("allowed"), TR_SPAN("refused"), workers,
                   count);
}

const struct tr_filter tr_filter_cors = {
    .name = "cors",
    .phase = TR_PHASE_GUARD,
    .on_request = on_request,
    .on_response = on_response,
    .prepare = prepare,
    .worker_start = tr_tally_start,
    .worker_stop = tr_free,
    .metrics = metrics,
};
