#include "base/alloc.h"
#include "base/counter.h"
#include "base/rand.h"
#include "filters/authn_int.h"
#include "filters/client_cert.h"
#include "filters/registry.h"
#include "pipeline/client_addr.h"

#include <stdio.h>

#define CACHE_ENTRY_BYTES ((size_t)4096) /* of the cache's bound in bytes, for each entry */
#define FAILURE_ENTRIES   16384          /* addresses whose failures are counted */

struct state {
    struct tr_identity identity;
    struct tr_jwt *tokens[TR_CREDENTIALS_MAX];
    uint8_t token_providers[TR_CREDENTIALS_MAX];
    uint32_t token_count;
    struct tr_jwks_waiter waiter;
    struct tr_jwks_view *waits; /* NULL: nowhere */
    struct tr_pworker *w;
    struct tr_handle handle;
    uint64_t asked_kid, asked_keys; /* bits of providers */
};

struct attempt {
    struct tr_exchange *x;
    struct tr_authn_worker *w;
    struct state *s;
    enum tr_jwt_result why; /* of the last token that was wrong; NOMEM: nothing can be said */
    uint32_t wait_provider;
    enum tr_jwks_ask wait_ask;
};

/* ---- one credential -------------------------------------------------------------------------- */

static struct tr_credential *new_credential(struct attempt *a)
{
    struct tr_identity *id = &a->s->identity;
    return id->count < TR_CREDENTIALS_MAX ? &id->items[id->count++] : NULL;
}

static enum tr_authn_shown take_token(struct attempt *a, uint32_t provider, struct tr_jwt *jwt)
{
    struct tr_credential *c = new_credential(a);
    if (!c) {
        tr_jwt_unref(jwt);
        return TR_AUTHN_WRONG;
    }
    a->s->token_providers[a->s->token_count] = (uint8_t)provider;
    a->s->tokens[a->s->token_count++] = jwt;
    *c = (struct tr_credential){.kind = TR_CREDENTIAL_TOKEN,
                                .provider = a->w->conf->providers[provider].cfg->name,
                                .subject = jwt->subject,
                                .consumer = TR_SPAN(""),
                                .tier = TR_SPAN(""),
                                .claims = &jwt->claims,
                                .scopes = jwt->scopes,
                                .scope_count = jwt->scope_count};
    return TR_AUTHN_OK;
}

/* The caller waits for keys, once a request for each reason. */
static enum tr_authn_shown wait_for(struct attempt *a, uint32_t provider, enum tr_jwks_ask ask,
                                    enum tr_authn_shown otherwise)
{
    uint64_t *asked = ask == TR_JWKS_ASK_KID ? &a->s->asked_kid : &a->s->asked_keys;
    if (a->w->conf->providers[provider].fixed || (*asked >> provider & 1))
        return otherwise;
    a->wait_provider = provider;
    a->wait_ask = ask;
    return TR_AUTHN_WAIT;
}

static enum tr_authn_shown show_token(struct attempt *a, uint32_t i)
{
    const struct tr_authn_provider *p = &a->w->conf->providers[i];
    struct tr_jwks *keys = a->w->views[i].set;
    struct tr_span token = tr_authn_token(p, &a->x->hs->head, &a->x->hs->arena);
    int64_t now_s = tr_loop_unix_s(a->x->w->h->loop);
    uint64_t generation = keys ? tr_jwks_generation(keys) : 0;
    struct tr_jwt *jwt = NULL;
    enum tr_jwt_result r;
    if (!token.len)
        return TR_AUTHN_MISSING;
    if (!keys) {
        r = tr_jwt_peek(token, &p->rules, now_s);
        if (r == TR_JWT_OK)
            return wait_for(a, i, TR_JWKS_ASK_KEYS, TR_AUTHN_UNAVAILABLE);
    } else {
        jwt = tr_jwt_cache_get(&a->w->cache, i, token, generation, now_s);
        if (jwt) {
            tr_count(&a->w->results[i][TR_JWT_OK]);
            return take_token(a, i, jwt);
        }
        r = tr_jwt_verify(token, &p->rules, keys, now_s, &jwt);
    }
    if (r == TR_JWT_NO_KEY && wait_for(a, i, TR_JWKS_ASK_KID, TR_AUTHN_WRONG) == TR_AUTHN_WAIT)
        return TR_AUTHN_WAIT;
    tr_count(&a->w->results[i][r]);
    if (r == TR_JWT_OK) {
        tr_jwt_cache_put(&a->w->cache, i, generation, jwt);
        return take_token(a, i, jwt);
    }
    if (r != TR_JWT_ISSUER || a->why == TR_JWT_OK)
        a->why = r; /* a token of another issuer says the least */
    return r == TR_JWT_EXPIRED || r == TR_JWT_NOT_YET ? TR_AUTHN_EXPIRED : TR_AUTHN_WRONG;
}

static enum tr_authn_shown show_api_key(struct attempt *a)
{
    struct tr_span key = tr_authn_api_key(a->w->conf, &a->x->hs->head, &a->x->hs->arena);
    if (!key.len)
        return TR_AUTHN_MISSING;
    const struct tr_apikey *found = tr_apikey_find(a->w->api_keys.set, key);
    struct tr_credential *c = found ? new_credential(a) : NULL;
    tr_count(&a->w->api_key[c ? 0 : 1]);
    /* the set may be replaced while the request lives: its words are copied */
    if (!c)
        return TR_AUTHN_WRONG;
    if (tr_apikey_credential(found, &a->x->hs->arena, c))
        return TR_AUTHN_OK;
    a->why = TR_JWT_NOMEM;
    return TR_AUTHN_WRONG;
}

static enum tr_authn_shown show_certificate(struct attempt *a)
{
    bool shown;
    const struct tr_cfg_client_certificate *rule = tr_client_cert_of(a->x, a->w->conf->cfg, &shown);
    if (!shown)
        return TR_AUTHN_MISSING;
    struct tr_credential *c = rule ? new_credential(a) : NULL;
    tr_count(&a->w->certificate[c ? 0 : 1]);
    if (!c)
        return TR_AUTHN_WRONG;
    *c = (struct tr_credential){.kind = TR_CREDENTIAL_CERTIFICATE,
                                .provider = TR_SPAN("client_certificate"),
                                .subject = rule->subject.len ? rule->subject : rule->san,
                                .consumer = rule->consumer,
                                .tier = rule->tier,
                                .scopes = rule->scopes.items,
                                .scope_count = rule->scopes.count};
    return TR_AUTHN_OK;
}

static enum tr_authn_shown show(void *ctx, uint32_t bit)
{
    struct attempt *a = ctx;
    if (bit < TR_AUTHN_PROVIDERS_MAX)
        return show_token(a, bit);
    if (bit == TR_AUTHN_API_KEY)
        return show_api_key(a);
    return show_certificate(a);
}

/* ---- all of a request ------------------------------------------------------------------------ */

static void drop_tokens(struct state *s)
{
    while (s->token_count)
        tr_jwt_unref(s->tokens[--s->token_count]);
    s->identity.count = 0;
}

static void challenge(struct tr_exchange *x, const struct tr_authn_policy *p,
                      enum tr_authn_shown shown, struct tr_span text)
{
    bool token = ((p->any | p->all) & ((UINT64_C(1) << TR_AUTHN_PROVIDERS_MAX) - 1)) != 0;
    char *out = tr_arena_alloc(&x->hs->arena, 160 + text.len);
    if (!out)
        return;
    int n = !token ? snprintf(out, 160, "ApiKey realm=\"transom\"")
            : shown == TR_AUTHN_MISSING
                ? snprintf(out, 160, "Bearer realm=\"transom\"")
                : snprintf(out, 160 + text.len,
                           "Bearer realm=\"transom\", error=\"invalid_token\", "
                           "error_description=\"%.*s\"",
                           (int)text.len, text.ptr);
    (void)!tr_exchange_header(x, TR_SPAN("www-authenticate"), tr_span(out, (size_t)n),
                              TR_TOKEN_NONE);
}

/* ---- failures of one address ----------------------------------------------------------------- */

static struct tr_quota_ask failure_ask(const struct tr_authn_worker *w, struct tr_exchange *x)
{
    const struct tr_cfg_authentication *cfg = w->conf->cfg;
    const struct tr_ip *ip = tr_client_addr(x);
    return (struct tr_quota_ask){.gcra = tr_gcra_make(cfg->max_failures, cfg->failure_window, 0),
                                 .key = ip ? tr_ip_site(ip) : TR_SPAN("")};
}

static uint64_t since_origin(const struct tr_authn_worker *w, const struct tr_exchange *x)
{
    uint64_t now = tr_loop_now_ns(x->w->h->loop);
    return now > w->control->origin_ns ? now - w->control->origin_ns : 0;
}

/* true: it has failed too often to be looked at. */
static bool is_limited(struct tr_authn_worker *w, struct tr_exchange *x, uint64_t *ret_wait_ns)
{
    if (!w->control->failures)
        return false;
    struct tr_quota_ask ask = failure_ask(w, x);
    bool room = tr_quota_local_peek(w->control->failures, &ask, 1, since_origin(w, x));
    *ret_wait_ns = ask.result.retry_after_ns;
    return !room;
}

static void note_failure(struct tr_authn_worker *w, struct tr_exchange *x)
{
    if (!w->control->failures)
        return;
    struct tr_quota_ask ask = failure_ask(w, x);
    (void)tr_quota_local_check(w->control->failures, &ask, 1, 1, since_origin(w, x));
}

static enum tr_verdict refuse_limited(struct tr_exchange *x, struct tr_authn_worker *w,
                                      uint64_t wait_ns)
{
    tr_count(&w->outcomes[TR_AUTHN_OUTCOME_LIMITED]);
    tr_exchange_retry_after(x, wait_ns);
    (void)tr_fail(tr_exchange_status(x), TR_ERR_AUTH_TOO_MANY, "%s",
                  tr_err_info(TR_ERR_AUTH_TOO_MANY)->text.ptr);
    return TR_FAIL;
}

/* ---- the hooks ------------------------------------------------------------------------------- */

static void on_keys(struct tr_jwks_waiter *waiter)
{
    struct state *s = tr_container_of(waiter, struct state, waiter);
    s->waits = NULL;
    tr_exchange_resume(s->w, s->handle);
}

static enum tr_verdict run(struct tr_exchange *x, struct state *s, struct tr_authn_worker *w,
                           const struct tr_authn_policy *p);

/* NOLINTNEXTLINE(misc-no-recursion): each provider is waited for once for each reason */
static enum tr_verdict wait(struct attempt *a, const struct tr_authn_policy *p)
{
    struct tr_exchange *x = a->x;
    struct state *s = a->s;
    uint64_t bit = UINT64_C(1) << a->wait_provider;
    if (a->wait_ask == TR_JWKS_ASK_KID)
        s->asked_kid |= bit;
    else
        s->asked_keys |= bit;
    drop_tokens(s);
    if (!tr_exchange_pause(x, &s->handle)) {
        (void)tr_fail(tr_exchange_status(x), TR_ERR_OVERLOADED, "too many requests wait");
        return TR_FAIL;
    }
    s->w = x->w;
    struct tr_jwks_view *view = &a->w->views[a->wait_provider];
    switch (
        tr_jwks_view_wait(view, &s->waiter, a->wait_ask, on_keys, tr_loop_now_ns(x->w->h->loop))) {
    case TR_JWKS_WAIT:
        s->waits = view;
        return TR_PAUSE;
    case TR_JWKS_WAIT_REFUSED:
        tr_exchange_unpause(x);
        return run(x, s, a->w, p); /* at most once for each provider and reason */
    case TR_JWKS_WAIT_FULL:
        break;
    }
    tr_exchange_unpause(x);
    (void)tr_fail(tr_exchange_status(x), TR_ERR_OVERLOADED, "too many requests wait for keys");
    return TR_FAIL;
}

static enum tr_verdict refuse(struct attempt *a, const struct tr_authn_policy *p,
                              enum tr_authn_shown shown)
{
    struct tr_exchange *x = a->x;
    enum tr_err err = tr_authn_err(shown);
    struct tr_span text =
        a->why != TR_JWT_OK && shown != TR_AUTHN_UNAVAILABLE && shown != TR_AUTHN_MISSING
            ? tr_jwt_result_text(a->why)
            : tr_err_info(err)->text;
    tr_count(&a->w->outcomes[TR_AUTHN_OUTCOME_REFUSED]);
    if (a->why == TR_JWT_NOMEM) { /* nothing was found out */
        (void)tr_fail(tr_exchange_status(x), TR_ERR_NOMEM, "out of memory");
        return TR_FAIL;
    }
    if (err != TR_ERR_AUTH_UNAVAILABLE)
        challenge(x, p, shown, text);
    if (shown == TR_AUTHN_WRONG || shown == TR_AUTHN_EXPIRED)
        note_failure(a->w, x);
    (void)tr_fail(tr_exchange_status(x), err, "%.*s", (int)text.len, text.ptr);
    return TR_FAIL;
}

/* NOLINTNEXTLINE(misc-no-recursion): each provider is waited for once for each reason */
static enum tr_verdict run(struct tr_exchange *x, struct state *s, struct tr_authn_worker *w,
                           const struct tr_authn_policy *p)
{
    struct attempt a = {.x = x, .w = w, .s = s};
    enum tr_authn_shown shown = tr_authn_decide(p, show, &a);
    if (shown == TR_AUTHN_OK) {
        x->identity = &s->identity;
        tr_count(&w->outcomes[TR_AUTHN_OUTCOME_AUTHENTICATED]);
        return TR_CONTINUE;
    }
    if (shown == TR_AUTHN_WAIT)
        return wait(&a, p);
    drop_tokens(s);
    if (shown == TR_AUTHN_MISSING && p->allow_missing) {
        tr_count(&w->outcomes[TR_AUTHN_OUTCOME_ANONYMOUS]);
        return TR_CONTINUE;
    }
    if (shown == TR_AUTHN_UNAVAILABLE && p->open) {
        tr_count(&w->outcomes[TR_AUTHN_OUTCOME_FAIL_OPEN]);
        x->fail_open |= TR_FAIL_OPEN_AUTHENTICATION;
        return TR_CONTINUE;
    }
    return refuse(&a, p, shown);
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    const struct tr_authn_policy *p = x->policy->slots[TR_POLICY_AUTHN];
    struct tr_authn_worker *w = tr_filter_worker(x, TR_FILTER_AUTHN);
    uint64_t wait_ns = 0;
    if (!p || !w)
        return TR_CONTINUE;
    if (is_limited(w, x, &wait_ns))
        return refuse_limited(x, w, wait_ns);
    return run(x, state, w, p);
}

static enum tr_verdict on_resume(struct tr_exchange *x, void *state)
{
    return run(x, state, tr_filter_worker(x, TR_FILTER_AUTHN), x->policy->slots[TR_POLICY_AUTHN]);
}

struct tr_span tr_authn_verified(const struct tr_exchange *x, uint32_t provider)
{
    const struct state *s = x->identity ? x->filter_state[TR_FILTER_AUTHN] : NULL;
    for (uint32_t i = 0; s && i < s->token_count; i++)
        if (s->token_providers[i] == provider)
            return s->tokens[i]->token;
    return TR_SPAN("");
}

static void done(struct tr_exchange *x, void *state)
{
    struct state *s = state;
    if (s->waits)
        tr_jwks_view_unwait(s->waits, &s->waiter);
    s->waits = NULL;
    x->identity = NULL;
    drop_tokens(s);
}

/* ---- what lives longer ----------------------------------------------------------------------- */

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    struct tr_authn_conf *conf = TR_ARENA_NEW(&snap->arena, struct tr_authn_conf);
    if (!conf)
        return TR_ERR_NOMEM;
    *ret_conf = conf;
    enum tr_err err = tr_authn_compile(snap, conf);
    struct tr_status st;
    tr_status_clear(&st);
    if (!err && conf->has_api_keys && conf->cfg->api_keys->file.ptr) {
        struct tr_apikey_set *set = NULL;
        err = tr_apikey_load(conf->cfg->api_keys->file, &set, &st);
        if (err == TR_ERR_CONFIG) {
            struct tr_span text = tr_status_text(&st);
            tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/authentication/api_keys/file"),
                       "%.*s", (int)text.len, text.ptr);
            err = TR_OK;
        }
        tr_apikey_unref(set);
    }
    return err;
}

static void dispose(void *conf)
{
    struct tr_authn_conf *c = conf;
    for (uint32_t i = 0; i < c->provider_count; i++)
        tr_jwks_unref(c->providers[i].fixed);
}

static void control_stop(void *control)
{
    struct tr_authn_control *c = control;
    for (uint32_t i = 0; c->refreshes && i < c->conf->provider_count; i++)
        tr_jwks_refresh_free(c->refreshes[i]);
    tr_apikey_store_free(c->api_keys);
    tr_quota_local_free(c->failures);
    tr_free(c->refreshes);
    tr_free(c);
}

static enum tr_err control_start(const struct tr_control *control, const struct tr_snapshot *snap,
                                 void *conf, void **ret_control, struct tr_status *st)
{
    const struct tr_authn_conf *ac = conf;
    struct tr_rand rand;
    (void)snap;
    if (!ac || !ac->cfg)
        return TR_OK;
    struct tr_authn_control *c = tr_calloc(1, sizeof *c);
    if (!c)
        return TR_ERR_NOMEM;
    *ret_control = c;
    c->conf = ac;
    c->origin_ns = tr_loop_now_ns(control->loop);
    c->refreshes = tr_calloc(ac->provider_count + 1u, sizeof(void *));
    if (!c->refreshes)
        return TR_ERR_NOMEM;
    tr_rand_init(&rand);
    enum tr_err err = TR_OK;
    if (ac->cfg->max_failures)
        err = tr_quota_local_new(FAILURE_ENTRIES, tr_rand_u64(&rand), &c->failures);
    for (uint32_t i = 0; i < ac->provider_count && !err; i++)
        if (!ac->providers[i].fixed)
            err = tr_jwks_refresh_new(control, &ac->providers[i].source, &c->refreshes[i], st);
    if (!err && ac->has_api_keys)
        err = tr_apikey_store_new(control, ac->cfg->api_keys, &c->api_keys, st);
    return err;
}

static void worker_stop(void *worker)
{
    struct tr_authn_worker *w = worker;
    for (uint32_t i = 0; w->views && i < w->conf->provider_count; i++)
        tr_jwks_view_fini(&w->views[i]);
    tr_apikey_view_fini(&w->api_keys);
    tr_jwt_cache_fini(&w->cache);
    tr_free(w->views);
    tr_free(w->results);
    tr_free(w);
}

static enum tr_err worker_start(struct tr_pworker *p, void *conf, void *control, void **ret_worker)
{
    const struct tr_authn_conf *ac = conf;
    struct tr_authn_control *c = control;
    struct tr_rand rand;
    if (!c)
        return TR_OK;
    struct tr_authn_worker *w = tr_calloc(1, sizeof *w);
    if (!w)
        return TR_ERR_NOMEM;
    *ret_worker = w;
    w->conf = ac;
    w->control = c;
    tr_rand_init(&rand);
    enum tr_err err =
        tr_jwt_cache_init(&w->cache, ac->cfg->token_cache_entries,
                          ac->cfg->token_cache_entries * CACHE_ENTRY_BYTES, tr_rand_u64(&rand));
    w->views = tr_calloc(ac->provider_count + 1u, sizeof *w->views);
    w->results = tr_calloc(ac->provider_count + 1u, sizeof *w->results);
    if (!w->views || !w->results)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < ac->provider_count && !err; i++) {
        if (ac->providers[i].fixed)
            tr_jwks_view_init_fixed(&w->views[i], ac->providers[i].fixed);
        else
            err = tr_jwks_view_init(&w->views[i], c->refreshes[i], p->mailbox, p->control);
    }
    if (!err && c->api_keys)
        err = tr_apikey_view_init(&w->api_keys, c->api_keys, p->mailbox);
    return err;
}

const struct tr_filter tr_filter_authn = {
    .name = "authentication",
    .phase = TR_PHASE_AUTHN,
    .state_bytes = sizeof(struct state),
    .on_request = on_request,
    .on_resume = on_resume,
    .done = done,
    .prepare = prepare,
    .dispose = dispose,
    .control_start = control_start,
    .control_stop = control_stop,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .metrics = tr_authn_metrics,
};
