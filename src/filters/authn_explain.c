/* Who a request would be, said without a connection and without fetching anything. */
#include "filters/apikey.h"
#include "filters/authn.h"
#include "filters/registry.h"

#include <stdio.h>

#define LINE_MAX_BYTES 512

struct explain {
    const struct tr_authn_conf *conf;
    const struct tr_authn_question *q;
    struct tr_authn_answer *answer;
};

static void say(const struct explain *e, const char *name, struct tr_span provider,
                const char *text, struct tr_span detail)
{
    char line[LINE_MAX_BYTES];
    bool fit = tr_span_is_printable(detail);
    int n = snprintf(line, sizeof line, "%s%.*s: %s%.*s", name, (int)provider.len, provider.ptr,
                     text, fit ? (int)detail.len : 0, fit ? detail.ptr : "");
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    e->q->say(e->q->ctx, tr_span(line, len));
}

static struct tr_credential *new_credential(struct explain *e)
{
    struct tr_identity *id = &e->answer->identity;
    return id->count < TR_CREDENTIALS_MAX ? &id->items[id->count++] : NULL;
}

static void say_scopes(const struct explain *e, const struct tr_credential *c)
{
    for (uint32_t i = 0; i < c->scope_count; i++)
        say(e, "  ", TR_SPAN("scope"), "", c->scopes[i]);
}

static enum tr_authn_shown good_token(struct explain *e, const struct tr_authn_provider *p,
                                      struct tr_jwt *jwt)
{
    struct tr_credential *c = new_credential(e);
    if (!c) {
        tr_jwt_unref(jwt);
        return TR_AUTHN_WRONG;
    }
    e->answer->tokens[e->answer->token_count++] = jwt;
    *c = (struct tr_credential){.kind = TR_CREDENTIAL_TOKEN,
                                .provider = p->cfg->name,
                                .subject = jwt->subject,
                                .claims = &jwt->claims,
                                .scopes = jwt->scopes,
                                .scope_count = jwt->scope_count};
    say(e, "", p->cfg->name, "a good token of ", jwt->subject);
    say_scopes(e, c);
    return TR_AUTHN_OK;
}

static enum tr_authn_shown show_token(struct explain *e, const struct tr_authn_provider *p)
{
    struct tr_span token = tr_authn_token(p, e->q->head, e->q->arena);
    struct tr_jwt *jwt = NULL;
    if (!token.len) {
        say(e, "", p->cfg->name, "no token", TR_SPAN(""));
        return TR_AUTHN_MISSING;
    }
    enum tr_jwt_result r = p->fixed ? tr_jwt_verify(token, &p->rules, p->fixed, e->q->now_s, &jwt)
                                    : tr_jwt_peek(token, &p->rules, e->q->now_s);
    if (r == TR_JWT_OK && p->fixed)
        return good_token(e, p, jwt);
    if (r == TR_JWT_OK) {
        say(e, "", p->cfg->name,
            "a token whose signature the gateway would check with the keys of ",
            p->source.uri.len ? p->source.uri : p->source.issuer);
        return TR_AUTHN_UNAVAILABLE;
    }
    say(e, "", p->cfg->name, "", tr_jwt_result_text(r));
    if (r != TR_JWT_ISSUER || !e->answer->why.len)
        e->answer->why = tr_jwt_result_text(r);
    return r == TR_JWT_EXPIRED || r == TR_JWT_NOT_YET ? TR_AUTHN_EXPIRED : TR_AUTHN_WRONG;
}

static enum tr_authn_shown show_api_key(struct explain *e)
{
    struct tr_span key = tr_authn_api_key(e->conf, e->q->head, e->q->arena);
    struct tr_span name = TR_SPAN("api_key");
    struct tr_apikey_set *set = NULL;
    struct tr_status st;
    if (!key.len) {
        say(e, "", name, "none", TR_SPAN(""));
        return TR_AUTHN_MISSING;
    }
    tr_status_clear(&st);
    if (tr_apikey_load(e->conf->cfg->api_keys->file, &set, &st)) {
        say(e, "", name, "", tr_status_text(&st));
        return TR_AUTHN_WRONG;
    }
    const struct tr_apikey *found = tr_apikey_find(set, key);
    struct tr_credential *c = found ? new_credential(e) : NULL;
    bool ok = c && tr_apikey_credential(found, e->q->arena, c);
    tr_apikey_unref(set);
    if (!ok) {
        say(e, "", name, "not in the file", TR_SPAN(""));
        return TR_AUTHN_WRONG;
    }
    say(e, "", name, "the key of ", c->consumer);
    say_scopes(e, c);
    return TR_AUTHN_OK;
}

static enum tr_authn_shown show(void *ctx, uint32_t bit)
{
    struct explain *e = ctx;
    if (bit < TR_AUTHN_PROVIDERS_MAX)
        return show_token(e, &e->conf->providers[bit]);
    if (bit == TR_AUTHN_API_KEY)
        return show_api_key(e);
    say(e, "", TR_SPAN("client_certificate"), "as the connection has one", TR_SPAN(""));
    return TR_AUTHN_UNAVAILABLE;
}

bool tr_authn_explain(const struct tr_snapshot *snap, const struct tr_policy *policy,
                      const struct tr_authn_question *q, struct tr_authn_answer *ret)
{
    const struct tr_authn_policy *p = policy->slots[TR_POLICY_AUTHN];
    *ret = (struct tr_authn_answer){.shown = TR_AUTHN_MISSING, .why = TR_SPAN("")};
    struct explain e = {.q = q, .answer = ret};
    e.conf = snap->filter_conf ? snap->filter_conf[TR_FILTER_AUTHN] : NULL;
    if (!p || !e.conf || !e.conf->cfg)
        return false;
    ret->shown = tr_authn_decide(p, show, &e);
    ret->anonymous = ret->shown == TR_AUTHN_MISSING && p->allow_missing;
    ret->err = tr_authn_err(ret->shown);
    if (!ret->why.len || ret->shown == TR_AUTHN_MISSING)
        ret->why = tr_err_info(ret->err)->text;
    return true;
}

void tr_authn_answer_fini(struct tr_authn_answer *answer)
{
    while (answer->token_count)
        tr_jwt_unref(answer->tokens[--answer->token_count]);
}
