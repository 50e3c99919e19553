/* What a request shows: each credential is looked at, and what was found is counted when it decides
 * the request. */
#include "base/counter.h"
#include "filters/authn_int.h"
#include "filters/client_cert.h"
#include "pipeline/client_addr.h"

struct look {
    struct tr_authn_state *s;
    struct tr_authn_worker *w;
    bool verify, unseen; /* unseen: a token is not in the cache, and must not be verified now */
    struct tr_authn_verdict *verdict;
    uint64_t *counters[2 * (TR_AUTHN_CERTIFICATE + 1)]; /* to be counted; two for each bit */
    uint32_t count;
};

static void count_later(struct look *k, uint64_t *counter)
{
    k->counters[k->count++] = counter;
}

static void drop_identity(struct tr_authn_state *s)
{
    while (s->token_count)
        tr_jwt_unref(s->tokens[--s->token_count]);
    s->identity.count = 0;
}

static void drop_opened(struct tr_authn_state *s)
{
    if (s->has_opened)
        tr_jwt_drop(s->opened);
    s->has_opened = false;
}

void tr_authn_drop(struct tr_authn_state *s)
{
    drop_identity(s);
    drop_opened(s);
}

/* ---- one credential -------------------------------------------------------------------------- */

static struct tr_credential *new_credential(struct look *k)
{
    struct tr_identity *id = &k->s->identity;
    return id->count < TR_CREDENTIALS_MAX ? &id->items[id->count++] : NULL;
}

static enum tr_authn_shown take_token(struct look *k, uint32_t provider, struct tr_jwt *jwt)
{
    struct tr_credential *c = new_credential(k);
    if (!c) {
        tr_jwt_unref(jwt);
        return TR_AUTHN_WRONG;
    }
    k->s->token_providers[k->s->token_count] = (uint8_t)provider;
    k->s->tokens[k->s->token_count++] = jwt;
    *c = (struct tr_credential){.kind = TR_CREDENTIAL_TOKEN,
                                .provider = k->w->conf->providers[provider].cfg->name,
                                .subject = jwt->subject,
                                .consumer = TR_SPAN(""),
                                .tier = TR_SPAN(""),
                                .claims = &jwt->claims,
                                .scopes = jwt->scopes,
                                .scope_count = jwt->scope_count};
    return TR_AUTHN_OK;
}

/* The caller waits for keys, once a request for each reason. */
static enum tr_authn_shown wait_for(struct look *k, uint32_t provider, enum tr_jwks_ask ask,
                                    enum tr_authn_shown otherwise)
{
    uint64_t asked = ask == TR_JWKS_ASK_KID ? k->s->asked_kid : k->s->asked_keys;
    if (k->w->conf->providers[provider].fixed || (asked >> provider & 1))
        return otherwise;
    k->verdict->wait_provider = provider;
    k->verdict->wait_ask = ask;
    return TR_AUTHN_WAIT;
}

/* A token that was good for another provider names that one's issuer: it need not be read again. */
static bool is_of_other_issuer(const struct look *k, uint32_t i, struct tr_span token)
{
    struct tr_span issuer;
    return k->w->conf->provider_count > 1 && tr_jwt_cache_issuer(&k->w->cache, token, &issuer) &&
           !tr_span_eq(issuer, k->w->conf->providers[i].rules.issuer);
}

static bool is_opened(const struct tr_authn_state *s, uint32_t provider)
{
    return s->has_opened && s->opened_for == provider;
}

/* Reads the token, unless that was done before it waited. */
static enum tr_jwt_result open_token(struct look *k, uint32_t i, struct tr_span token,
                                     int64_t now_s)
{
    struct tr_authn_state *s = k->s;
    if (is_opened(s, i))
        return TR_JWT_OK;
    drop_opened(s);
    if (!s->opened)
        s->opened = tr_arena_alloc(&s->x->hs->arena, sizeof *s->opened);
    if (!s->opened)
        return TR_JWT_NOMEM;
    enum tr_jwt_result r =
        tr_jwt_open(token, &k->w->conf->providers[i].rules, now_s, &k->w->memo, s->opened);
    s->has_opened = r == TR_JWT_OK;
    s->opened_for = i;
    return r;
}

/* false: its signature must be verified, and not now. OK sets *ret_jwt. */
static bool verify(struct look *k, uint32_t i, struct tr_span token, int64_t now_s,
                   enum tr_jwt_result *ret, struct tr_jwt **ret_jwt)
{
    const struct tr_jwks *keys = k->w->views[i].set;
    uint64_t generation = tr_jwks_generation(keys);
    *ret = TR_JWT_OK;
    *ret_jwt = tr_jwt_cache_get(&k->w->cache, i, token, generation, now_s);
    if (*ret_jwt) {
        count_later(k, &k->w->cache_hits);
        return true;
    }
    if (is_of_other_issuer(k, i, token)) {
        *ret = TR_JWT_ISSUER;
        return true;
    }
    count_later(k, &k->w->cache_misses);
    *ret = open_token(k, i, token, now_s);
    if (*ret)
        return true;
    if (!k->verify && tr_jwt_has_key(k->s->opened, keys))
        return false;
    *ret = tr_jwt_close(k->s->opened, keys, ret_jwt);
    k->s->has_opened = false;
    if (*ret == TR_JWT_OK)
        tr_jwt_cache_put(&k->w->cache, i, generation, *ret_jwt);
    return true;
}

static enum tr_authn_shown show_token(struct look *k, uint32_t i)
{
    const struct tr_authn_provider *p = &k->w->conf->providers[i];
    const struct tr_exchange *x = k->s->x;
    struct tr_span token =
        is_opened(k->s, i) ? k->s->opened->token : tr_authn_token(p, &x->hs->head, &x->hs->arena);
    int64_t now_s = tr_loop_unix_s(k->w->loop);
    struct tr_jwt *jwt = NULL;
    enum tr_jwt_result r;
    if (!token.len)
        return TR_AUTHN_MISSING;
    if (!k->w->views[i].set) {
        r = tr_jwt_peek(token, &p->rules, now_s);
        if (r == TR_JWT_OK)
            return wait_for(k, i, TR_JWKS_ASK_KEYS, TR_AUTHN_UNAVAILABLE);
    } else if (!verify(k, i, token, now_s, &r, &jwt)) {
        k->unseen = true;
        return TR_AUTHN_MISSING;
    }
    if (r == TR_JWT_NO_KEY && wait_for(k, i, TR_JWKS_ASK_KID, TR_AUTHN_WRONG) == TR_AUTHN_WAIT)
        return TR_AUTHN_WAIT;
    count_later(k, &k->w->results[i][r]);
    if (r == TR_JWT_OK)
        return take_token(k, i, jwt);
    if (r != TR_JWT_ISSUER || k->verdict->why == TR_JWT_OK)
        k->verdict->why = r; /* a token of another issuer says the least */
    return r == TR_JWT_EXPIRED || r == TR_JWT_NOT_YET ? TR_AUTHN_EXPIRED : TR_AUTHN_WRONG;
}

static enum tr_authn_shown show_api_key(struct look *k)
{
    struct tr_exchange *x = k->s->x;
    struct tr_span key = tr_authn_api_key(k->w->conf, &x->hs->head, &x->hs->arena);
    if (!key.len)
        return TR_AUTHN_MISSING;
    const struct tr_apikey *found = tr_apikey_find(k->w->api_keys.set, key);
    struct tr_credential *c = found ? new_credential(k) : NULL;
    count_later(k, &k->w->api_key[c ? 0 : 1]);
    /* the set may be replaced while the request lives: its words are copied */
    if (!c)
        return TR_AUTHN_WRONG;
    if (tr_apikey_credential(found, &x->hs->arena, c))
        return TR_AUTHN_OK;
    k->verdict->why = TR_JWT_NOMEM;
    return TR_AUTHN_WRONG;
}

static enum tr_authn_shown show_certificate(struct look *k)
{
    bool shown;
    const struct tr_cfg_client_certificate *rule =
        tr_client_cert_of(k->s->x, k->w->conf->cfg, &shown);
    if (!shown)
        return TR_AUTHN_MISSING;
    struct tr_credential *c = rule ? new_credential(k) : NULL;
    count_later(k, &k->w->certificate[c ? 0 : 1]);
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
    struct look *k = ctx;
    if (k->unseen)
        return TR_AUTHN_MISSING; /* all of it is looked at again */
    if (bit < TR_AUTHN_PROVIDERS_MAX)
        return show_token(k, bit);
    if (bit == TR_AUTHN_API_KEY)
        return show_api_key(k);
    return show_certificate(k);
}

/* ---- failures of one address ----------------------------------------------------------------- */

static struct tr_quota_ask failure_ask(const struct tr_authn_worker *w, struct tr_exchange *x)
{
    const struct tr_cfg_authentication *cfg = w->conf->cfg;
    const struct tr_ip *ip = tr_client_addr(x);
    return (struct tr_quota_ask){.gcra = tr_gcra_make(cfg->max_failures, cfg->failure_window, 0),
                                 .key = ip ? tr_ip_site(ip) : TR_SPAN("")};
}

static uint64_t since_origin(const struct tr_authn_worker *w)
{
    uint64_t now = tr_loop_now_ns(w->loop);
    return now > w->control->origin_ns ? now - w->control->origin_ns : 0;
}

/* true: it has failed too often to be looked at. */
static bool is_limited(struct tr_authn_worker *w, struct tr_exchange *x, uint64_t *ret_wait_ns)
{
    if (!w->control->failures)
        return false;
    struct tr_quota_ask ask = failure_ask(w, x);
    bool room = tr_quota_local_peek(w->control->failures, &ask, 1, since_origin(w));
    *ret_wait_ns = ask.result.retry_after_ns;
    return !room;
}

static void note_failure(struct tr_authn_worker *w, struct tr_exchange *x)
{
    if (!w->control->failures)
        return;
    struct tr_quota_ask ask = failure_ask(w, x);
    (void)tr_quota_local_check(w->control->failures, &ask, 1, 1, since_origin(w));
}

/* ---- all of a request ------------------------------------------------------------------------ */

bool tr_authn_judge(struct tr_authn_state *s, struct tr_authn_worker *w, bool verify,
                    struct tr_authn_verdict *ret)
{
    struct look k;
    k.s = s;
    k.w = w;
    k.verify = verify;
    k.unseen = false;
    k.verdict = ret;
    k.count = 0; /* its array is not worth clearing for each request */
    *ret = (struct tr_authn_verdict){.shown = TR_AUTHN_MISSING, .why = TR_JWT_OK};
    ret->limited = is_limited(w, s->x, &ret->limited_ns);
    if (ret->limited) {
        drop_opened(s);
        return true;
    }
    ret->shown = tr_authn_decide(s->x->policy->slots[TR_POLICY_AUTHN], show, &k);
    if (k.unseen) {
        drop_identity(s);
        return false;
    }
    drop_opened(s); /* another request may have verified the same token meanwhile */
    if (ret->shown != TR_AUTHN_OK)
        drop_identity(s);
    if (ret->shown == TR_AUTHN_WAIT)
        return true; /* it is judged again */
    for (uint32_t i = 0; i < k.count; i++)
        tr_count(k.counters[i]);
    if ((ret->shown == TR_AUTHN_WRONG || ret->shown == TR_AUTHN_EXPIRED) &&
        ret->why != TR_JWT_NOMEM)
        note_failure(w, s->x); /* at once, for those that are judged in the same turn */
    return true;
}
