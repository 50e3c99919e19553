/* What configuration says of authentication, as the request path reads it. */
#include "config/build.h"
#include "filters/authn.h"
#include "filters/client_cert.h"
#include "filters/report.h"
#include "http/msg.h"

#include <stdio.h>

struct compile {
    struct tr_snapshot *snap;
    struct tr_authn_conf *conf;
    enum tr_err err;
};

/* ---- providers ------------------------------------------------------------------------------- */

static void problem(struct compile *c, const struct tr_cfg_provider *p, const char *key,
                    const char *why)
{
    char where[256];
    int n = snprintf(where, sizeof where, "/authentication/providers/%.*s%s%s",
                     (int)(p->name.len < 150 ? p->name.len : 150), p->name.ptr, key ? "/" : "",
                     key ? key : "");
    struct tr_span pointer = tr_arena_copy(&c->snap->arena, tr_span(where, n > 0 ? (size_t)n : 0));
    tr_problem(&c->snap->problems, TR_PROBLEM_ERROR, pointer, "%s", why);
}

static void of_status(struct compile *c, const struct tr_cfg_provider *p, const char *key,
                      const struct tr_status *st)
{
    char why[256];
    struct tr_span text = tr_status_text(st);
    (void)snprintf(why, sizeof why, "%.*s", (int)text.len, text.ptr);
    problem(c, p, key, why);
}

static void algorithms(struct compile *c, const struct tr_cfg_provider *p,
                       struct tr_authn_provider *out)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < p->algorithms.count; i++) {
        enum tr_jwa alg;
        if (!p->algorithms.items[i].ptr || !tr_jwa_find(p->algorithms.items[i], &alg))
            problem(c, p, "algorithms",
                    "there are RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA HS256 "
                    "HS384 HS512");
        else
            mask |= TR_JWA_BIT(alg);
    }
    bool secret = p->secret.len > 0;
    if (p->algorithms.count == 0)
        mask = secret ? TR_JWA_HMAC : TR_JWA_ASYMMETRIC;
    if (mask & (secret ? TR_JWA_ASYMMETRIC : TR_JWA_HMAC))
        problem(c, p, "algorithms",
                secret ? "with a secret only HS256, HS384 and HS512"
                       : "HS256, HS384 and HS512 need a secret");
    out->rules.algorithms = mask;
}

static void fixed_keys(struct compile *c, const struct tr_cfg_provider *p,
                       struct tr_authn_provider *out)
{
    struct tr_status st;
    struct tr_span bytes;
    enum tr_err err = TR_OK;
    const char *key = p->secret.len ? "secret" : "jwks";
    tr_status_clear(&st);
    if (p->secret.len) {
        err = tr_jwks_from_secret(p->secret, &out->fixed, &st);
    } else if (p->jwks.inline_keys) {
        err = tr_jwks_from_dom(p->jwks.inline_keys, &out->fixed, &st);
    } else {
        err = tr_file_read(p->jwks.file, &c->snap->arena, &bytes, &st);
        if (!err)
            err = tr_jwks_parse(bytes, &out->fixed, &st);
    }
    if (err == TR_ERR_NOMEM)
        c->err = err;
    else if (err)
        of_status(c, p, key, &st);
    else if (!(tr_jwks_algorithms(out->fixed) & out->rules.algorithms))
        problem(c, p, key, "no key is for one of the algorithms; no token could be verified");
}

static void fetched_keys(struct compile *c, const struct tr_cfg_provider *p,
                         struct tr_authn_provider *out)
{
    const struct tr_cfg_jwks *j = &p->jwks;
    struct tr_status st;
    out->source = (struct tr_jwks_source){
        .name = p->name,
        .issuer = p->issuer,
        .uri = j->uri,
        .ca_file = j->ca,
        .timeout_ns = j->timeout,
        .max_bytes = j->max_bytes,
        .schedule = {j->refresh_interval, j->max_stale, j->unknown_kid_interval},
    };
    tr_status_clear(&st);
    enum tr_err err = tr_jwks_source_check(&out->source, &st);
    if (err == TR_ERR_NOMEM)
        c->err = err;
    else if (err)
        of_status(c, p, j->uri.len ? "jwks" : "issuer", &st);
}

static struct tr_span lower(struct compile *c, struct tr_span s)
{
    char *p = tr_arena_alloc(&c->snap->arena, s.len + 1);
    for (size_t i = 0; p && i < s.len; i++)
        p[i] = tr_lower(s.ptr[i]);
    if (!p)
        c->err = TR_ERR_NOMEM;
    return p ? tr_span(p, s.len) : TR_SPAN("");
}

static void provider(struct compile *c, const struct tr_cfg_provider *p,
                     struct tr_authn_provider *out)
{
    unsigned sources = 0;
    sources += p->jwks.uri.len > 0;
    sources += p->jwks.file.len > 0;
    sources += p->jwks.inline_keys != NULL;
    sources += p->secret.len > 0;
    *out = (struct tr_authn_provider){.cfg = p};
    out->rules.issuer = p->issuer;
    out->rules.any_audience = p->audiences.count == 1 && p->audiences.items[0].len == 0;
    out->rules.audiences = p->audiences.items;
    out->rules.audience_count = p->audiences.count;
    out->rules.clock_skew_s = (uint32_t)((p->clock_skew + 999999999) / 1000000000);
    out->header = lower(c, p->token_header);
    struct tr_span *headers =
        tr_arena_calloc(&c->snap->arena, p->claims_to_headers.count + 1u, sizeof *headers);
    out->claim_headers = headers;
    for (uint32_t i = 0; headers && i < p->claims_to_headers.count; i++)
        headers[i] = lower(c, p->claims_to_headers.values[i]);
    if (!headers)
        c->err = TR_ERR_NOMEM;
    if (p->issuer.ptr && p->issuer.len == 0)
        problem(c, p, "issuer", "must not be empty");
    if (p->audiences.count == 0)
        problem(c, p, "audiences", "name at least one, or say \"any\"");
    if (p->token_header.len && !tr_http_is_token(p->token_header))
        problem(c, p, "token_header", "not a header name");
    if (!p->token_header.len && !p->token_query.len && !p->token_cookie.len)
        problem(c, p, NULL, "a token comes from a header, a query parameter or a cookie");
    algorithms(c, p, out);
    if (!p->issuer.ptr)
        return;
    if (sources > 1)
        problem(c, p, "jwks", "only one of uri, file, inline and secret");
    else if (p->jwks.uri.len || sources == 0)
        fetched_keys(c, p, out);
    else
        fixed_keys(c, p, out);
}

static void providers(struct compile *c)
{
    const struct tr_cfg_authentication *cfg = c->conf->cfg;
    const struct tr_cfg_provider *items = cfg->providers.items;
    uint32_t n = cfg->providers.count;
    if (n > TR_AUTHN_PROVIDERS_MAX) {
        tr_problem(&c->snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/authentication/providers"),
                   "more than %u", TR_AUTHN_PROVIDERS_MAX);
        n = TR_AUTHN_PROVIDERS_MAX;
    }
    c->conf->providers = tr_arena_calloc(&c->snap->arena, n + 1u, sizeof *c->conf->providers);
    if (!c->conf->providers) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < n; i++, c->conf->provider_count++) {
        provider(c, &items[i], &c->conf->providers[i]);
        if (tr_span_eq(items[i].name, TR_SPAN("api_key")) ||
            tr_span_eq(items[i].name, TR_SPAN("client_certificate")))
            problem(c, &items[i], NULL, "this name stands for something else");
    }
}

/* ---- policies -------------------------------------------------------------------------------- */

static uint64_t bit_of(struct compile *c, const struct tr_policy *policy, struct tr_span name)
{
    const struct tr_authn_conf *conf = c->conf;
    for (uint32_t i = 0; i < conf->provider_count; i++)
        if (tr_span_eq(conf->providers[i].cfg->name, name))
            return UINT64_C(1) << i;
    if (tr_span_eq(name, TR_SPAN("api_key")) && conf->has_api_keys)
        return UINT64_C(1) << TR_AUTHN_API_KEY;
    if (tr_span_eq(name, TR_SPAN("client_certificate")) && conf->has_certificates)
        return UINT64_C(1) << TR_AUTHN_CERTIFICATE;
    if (tr_span_eq(name, TR_SPAN("api_key")))
        tr_filter_problem(c->snap, policy, "authentication",
                          "api_key needs authentication.api_keys");
    else if (tr_span_eq(name, TR_SPAN("client_certificate")))
        tr_filter_problem(c->snap, policy, "authentication",
                          "client_certificate needs authentication.client_certificates");
    else
        tr_filter_problem(c->snap, policy, "authentication",
                          "authentication.providers has no \"%.*s\"; beside its names there are "
                          "api_key and client_certificate",
                          (int)(name.len < 100 ? name.len : 100), name.ptr);
    return 0;
}

void tr_authn_brings(const struct tr_policy *policy, bool *ret_claims, bool *ret_consumer)
{
    const struct tr_policy_authentication *a = policy->authentication;
    *ret_claims = *ret_consumer = false;
    if (!a || a->none)
        return;
    for (uint32_t i = 0; i < a->any_of.count + a->all_of.count; i++) {
        struct tr_span name =
            i < a->any_of.count ? a->any_of.items[i] : a->all_of.items[i - a->any_of.count];
        if (tr_span_eq(name, TR_SPAN("api_key")) || tr_span_eq(name, TR_SPAN("client_certificate")))
            *ret_consumer = true;
        else if (name.ptr)
            *ret_claims = true;
    }
}

static uint64_t bits_of(struct compile *c, const struct tr_policy *policy,
                        const struct tr_strings *names)
{
    uint64_t bits = 0;
    for (uint32_t i = 0; i < names->count; i++)
        if (names->items[i].ptr)
            bits |= bit_of(c, policy, names->items[i]);
    return bits;
}

static void compile_policy(void *ctx, struct tr_policy *policy)
{
    struct compile *c = ctx;
    const struct tr_policy_authentication *a = policy->authentication;
    if (c->err || !a || a->none)
        return;
    struct tr_authn_policy *out = TR_ARENA_NEW(&c->snap->arena, struct tr_authn_policy);
    if (!out) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    if (!c->conf->cfg) {
        tr_filter_problem(c->snap, policy, "authentication",
                          "the top-level \"authentication\", which says what it means, is missing");
        return;
    }
    if (a->any_of.count == 0 && a->all_of.count == 0)
        tr_filter_problem(c->snap, policy, "authentication",
                          "name what must be shown in any_of or all_of, or say \"none\"");
    out->any = bits_of(c, policy, &a->any_of);
    out->all = bits_of(c, policy, &a->all_of);
    out->allow_missing = a->allow_missing;
    out->open = a->on_unavailable == TR_ON_UNAVAILABLE_ALLOW;
    if ((unsigned)__builtin_popcountll(out->all) + (out->any != 0) > TR_CREDENTIALS_MAX)
        tr_filter_problem(c->snap, policy, "authentication", "all_of has more than %d",
                          TR_CREDENTIALS_MAX - 1);
    policy->slots[TR_POLICY_AUTHN] = out;
}

/* Making a method public takes a word. */
static void no_silence(struct compile *c)
{
    for (uint32_t i = 0; i < c->snap->route_count; i++) {
        const struct tr_route *r = c->snap->routes[i];
        uint32_t k = 0;
        if (r->policy->authentication)
            continue;
        while (k < i && c->snap->routes[k]->rpc != r->rpc)
            k++;
        if (k == i)
            tr_problem(&c->snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/policies"),
                       "no policy says how %.*s is authenticated; \"authentication\": \"none\" "
                       "makes it public",
                       (int)r->rpc->full_name.len, r->rpc->full_name.ptr);
    }
}

static bool has_san_kind(struct tr_span san)
{
    return tr_span_starts(san, TR_SPAN("DNS:")) || tr_span_starts(san, TR_SPAN("URI:")) ||
           tr_span_starts(san, TR_SPAN("email:")) || tr_span_starts(san, TR_SPAN("IP:"));
}

static void certificates(struct compile *c)
{
    const struct tr_cfg_client_certificate *rules = c->conf->cfg->client_certificates.items;
    if (c->conf->cfg->client_certificates.count > TR_CLIENT_CERT_RULES_MAX)
        tr_problem(&c->snap->problems, TR_PROBLEM_ERROR,
                   TR_SPAN("/authentication/client_certificates"), "more than %u",
                   TR_CLIENT_CERT_RULES_MAX);
    for (uint32_t i = 0; i < c->conf->cfg->client_certificates.count; i++) {
        char where[64];
        int n = snprintf(where, sizeof where, "/authentication/client_certificates/%u", i);
        struct tr_span pointer = tr_arena_copy(&c->snap->arena, tr_span(where, (size_t)n));
        if (rules[i].subject.len == 0 && rules[i].san.len == 0)
            tr_problem(&c->snap->problems, TR_PROBLEM_ERROR, pointer,
                       "a subject or a san says whose certificate it is");
        if (rules[i].san.len && !has_san_kind(rules[i].san))
            tr_problem(&c->snap->problems, TR_PROBLEM_ERROR, pointer,
                       "san begins with \"DNS:\", \"URI:\", \"email:\" or \"IP:\"");
    }
}

static bool has_client_ca(const struct tr_snapshot *snap)
{
    const struct tr_cfg_listener *l = snap->config.listeners.items;
    for (uint32_t i = 0; i < snap->config.listeners.count; i++)
        if (l[i].tls && l[i].tls->client_ca.len && l[i].tls->client_certificate)
            return true;
    return false;
}

enum tr_err tr_authn_compile(struct tr_snapshot *snap, struct tr_authn_conf *conf)
{
    struct compile c = {.snap = snap, .conf = conf};
    conf->cfg = snap->config.authentication;
    if (conf->cfg) {
        conf->has_api_keys = conf->cfg->api_keys != NULL;
        conf->has_certificates = conf->cfg->client_certificates.count > 0;
        if (conf->has_api_keys) {
            conf->api_key_header = lower(&c, conf->cfg->api_keys->header);
            conf->consumer_header = lower(&c, conf->cfg->api_keys->consumer_header);
        }
        conf->certificate_header = lower(&c, conf->cfg->client_certificate_header);
        if (conf->has_certificates && !has_client_ca(snap))
            tr_problem(&snap->problems, TR_PROBLEM_WARNING,
                       TR_SPAN("/authentication/client_certificates"),
                       "no listener asks for client certificates (client_ca, client_certificate)");
        certificates(&c);
        providers(&c);
        no_silence(&c);
    }
    tr_policy_each(snap->policies, compile_policy, &c);
    return c.err;
}
