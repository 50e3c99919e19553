/* What the backend learns of who asks, and what it must not see: headers made of claims and
 * consumers are set, credentials are taken out of the metadata. What clients send under the names
 * of identity headers never gets here (pipeline/metadata.c). */
#include "base/counter.h"
#include "filters/authn.h"
#include "filters/registry.h"

static enum tr_err remove_cookie(struct tr_exchange *x, struct tr_span name)
{
    for (uint32_t i = 0; i < x->metadata.count; i++) {
        struct tr_header *h = &x->metadata.items[i];
        if (h->token != TR_TOKEN_COOKIE)
            continue;
        char *p = tr_arena_alloc(&x->hs->arena, 2 * h->value.len + 1);
        if (!p)
            return TR_ERR_NOMEM;
        h->value = tr_authn_without_cookie(p, h->value, name);
        if (h->value.len == 0) {
            tr_headers_remove(&x->metadata, TR_SPAN("cookie"));
            break;
        }
    }
    return TR_OK;
}

/* name is in lower case. */
static enum tr_err set_header(struct tr_exchange *x, struct tr_span name, struct tr_span value)
{
    if (!name.len || !value.len)
        return TR_OK;
    if (!tr_span_is_printable(value)) { /* it would not pass as metadata */
        tr_count(&x->w->dropped_headers);
        return TR_OK;
    }
    tr_headers_remove(&x->metadata, name);
    return tr_headers_add(&x->metadata, &x->hs->arena, name, value, tr_token_from(name));
}

/* Several values are joined by commas. */
static enum tr_err set_claim(struct tr_exchange *x, struct tr_span header,
                             const struct tr_claim *claim)
{
    size_t len = 0, n = 0;
    for (uint32_t i = 0; i < claim->count; i++)
        len += claim->values[i].len + 1;
    char *p = tr_arena_alloc(&x->hs->arena, len + 1);
    if (!p)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < claim->count; i++) {
        if (i)
            p[n++] = ',';
        if (claim->values[i].len)
            memcpy(p + n, claim->values[i].ptr, claim->values[i].len);
        n += claim->values[i].len;
    }
    return set_header(x, header, tr_span(p, n));
}

static enum tr_err of_token(struct tr_exchange *x, const struct tr_authn_conf *conf,
                            const struct tr_credential *c)
{
    enum tr_err err = TR_OK;
    for (uint32_t i = 0; i < conf->provider_count; i++) {
        const struct tr_cfg_provider *p = conf->providers[i].cfg;
        if (!tr_span_eq(p->name, c->provider))
            continue;
        for (uint32_t k = 0; k < p->claims_to_headers.count && !err; k++) {
            const struct tr_claim *claim = tr_claims_find(c->claims, p->claims_to_headers.names[k]);
            if (claim && claim->count)
                err = set_claim(x, conf->providers[i].claim_headers[k], claim);
        }
    }
    return err;
}

/* The token that goes on in this header: one that was verified, for a provider that says so. */
static struct tr_span forwarded(const struct tr_exchange *x, const struct tr_authn_conf *conf,
                                struct tr_span header)
{
    struct tr_span token = TR_SPAN("");
    for (uint32_t i = 0; i < conf->provider_count && !token.len; i++)
        if (conf->providers[i].cfg->forward_token && tr_span_eq(conf->providers[i].header, header))
            token = tr_authn_verified(x, i);
    return token;
}

/* Of the headers of that name the first that carries the token stays: what was not verified must
 * not look as if it had been. */
static void keep_token(struct tr_headers *h, struct tr_span name, struct tr_span token)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        bool is_it = tr_span_eq(h->items[i].name, name);
        if (is_it && (!token.len || !tr_span_eq(tr_authn_bearer(&h->items[i]), token)))
            continue;
        if (is_it)
            token = TR_SPAN("");
        h->items[kept++] = h->items[i];
    }
    h->count = kept;
}

/* On every route, public ones too: clients show their credentials wherever they ask. */
static enum tr_err hide(struct tr_exchange *x, const struct tr_authn_conf *conf)
{
    enum tr_err err = TR_OK;
    if (conf->api_key_header.len)
        tr_headers_remove(&x->metadata, conf->api_key_header);
    for (uint32_t i = 0; i < conf->provider_count && !err; i++) {
        const struct tr_authn_provider *provider = &conf->providers[i];
        if (provider->header.len)
            keep_token(&x->metadata, provider->header, forwarded(x, conf, provider->header));
        if (provider->cfg->token_cookie.len)
            err = remove_cookie(x, provider->cfg->token_cookie);
    }
    return err;
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    const struct tr_authn_conf *conf = tr_filter_conf(x, TR_FILTER_AUTHN);
    const struct tr_identity *id = x->identity;
    (void)state;
    if (!conf || !conf->cfg)
        return TR_CONTINUE;
    enum tr_err err = hide(x, conf);
    for (uint32_t i = 0; id && i < id->count && !err; i++) {
        const struct tr_credential *c = &id->items[i];
        if (c->kind == TR_CREDENTIAL_TOKEN)
            err = of_token(x, conf, c);
        else if (c->kind == TR_CREDENTIAL_API_KEY)
            err = set_header(x, conf->consumer_header, c->consumer);
        else if (c->kind == TR_CREDENTIAL_CERTIFICATE)
            err = set_header(x, conf->certificate_header, c->consumer);
    }
    if (!err)
        return TR_CONTINUE;
    (void)tr_fail(tr_exchange_status(x), err, "out of memory");
    return TR_FAIL;
}

const struct tr_filter tr_filter_identity = {
    .name = "identity",
    .phase = TR_PHASE_REWRITE,
    .on_request = on_request,
};
