#include "filters/jwt.h"

#include "base/alloc.h"
#include "filters/jwt_claims.h"
#include "filters/jwt_json.h"

#define PART_BYTES TR_JWT_PAYLOAD_MAX /* what a part of a token decodes to, at most */

/* ---- results --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    struct tr_span text;
    enum tr_err err;
} results[TR_JWT__COUNT] = {
    [TR_JWT_OK] = {"ok", TR_SPAN_INIT("the token is valid"), TR_OK},
    [TR_JWT_MALFORMED] = {"malformed", TR_SPAN_INIT("the token is malformed"), TR_ERR_AUTH_INVALID},
    [TR_JWT_TOO_LARGE] = {"too_large", TR_SPAN_INIT("the token is too large"), TR_ERR_AUTH_INVALID},
    [TR_JWT_ALGORITHM] = {"algorithm",
                          TR_SPAN_INIT("the token's signature algorithm is not accepted"),
                          TR_ERR_AUTH_INVALID},
    [TR_JWT_CRIT] = {"crit", TR_SPAN_INIT("the token has critical extensions"),
                     TR_ERR_AUTH_INVALID},
    [TR_JWT_NO_KEY] = {"no_key", TR_SPAN_INIT("the token's key is not known"), TR_ERR_AUTH_INVALID},
    [TR_JWT_SIGNATURE] = {"signature", TR_SPAN_INIT("the token's signature is wrong"),
                          TR_ERR_AUTH_INVALID},
    [TR_JWT_ISSUER] = {"issuer", TR_SPAN_INIT("the token's issuer is not accepted"),
                       TR_ERR_AUTH_INVALID},
    [TR_JWT_AUDIENCE] = {"audience", TR_SPAN_INIT("the token is for another audience"),
                         TR_ERR_AUTH_INVALID},
    [TR_JWT_EXPIRED] = {"expired", TR_SPAN_INIT("the token has expired"), TR_ERR_AUTH_EXPIRED},
    [TR_JWT_NOT_YET] = {"not_yet", TR_SPAN_INIT("the token is not valid yet"), TR_ERR_AUTH_EXPIRED},
    [TR_JWT_CLAIMS] = {"claims", TR_SPAN_INIT("the token's claims cannot be used"),
                       TR_ERR_AUTH_INVALID},
    [TR_JWT_NOMEM] = {"nomem", TR_SPAN_INIT("out of memory"), TR_ERR_NOMEM},
};

const char *tr_jwt_result_name(enum tr_jwt_result result)
{
    return result < TR_JWT__COUNT ? results[result].name : "unknown";
}

struct tr_span tr_jwt_result_text(enum tr_jwt_result result)
{
    return result < TR_JWT__COUNT ? results[result].text : TR_SPAN("");
}

enum tr_err tr_jwt_result_err(enum tr_jwt_result result)
{
    return result < TR_JWT__COUNT ? results[result].err : TR_ERR_AUTH_INVALID;
}

/* ---- parts ----------------------------------------------------------------------------------- */

struct parts {
    struct tr_span header, payload, signature; /* still encoded */
    struct tr_span input;                      /* what is signed */
};

static enum tr_jwt_result split(struct tr_span token, struct parts *ret)
{
    if (token.len > TR_JWT_TOKEN_MAX)
        return TR_JWT_TOO_LARGE;
    size_t first = tr_span_find(token, '.');
    struct tr_span rest = tr_span_from(token, first + 1);
    size_t second = tr_span_find(rest, '.');
    if (first == token.len || second == rest.len)
        return TR_JWT_MALFORMED;
    ret->header = tr_span_sub(token, 0, first);
    ret->payload = tr_span_sub(rest, 0, second);
    ret->signature = tr_span_from(rest, second + 1);
    ret->input = tr_span_sub(token, 0, first + 1 + second);
    /* A third dot is no character of base64url: a JWE ends there. */
    return TR_JWT_OK;
}

/* ---- the header ------------------------------------------------------------------------------ */

enum member { OTHER, ALG, KID, CRIT };

/* The value of a member; others than these, embedded keys among them, are not looked at. */
static bool header_member(struct tr_jws_header *h, enum member name, enum tr_json_tok tok,
                          struct tr_span text)
{
    if (name == CRIT)
        h->has_crit = true;
    if (name == ALG) {
        h->has_alg = tok == TR_JSON_STRING;
        h->alg_known = h->has_alg && tr_jwa_find(text, &h->alg);
        return h->has_alg;
    }
    if (name == KID) {
        if (tok != TR_JSON_STRING || text.len > sizeof h->kid)
            return false;
        h->has_kid = true;
        h->kid_len = (uint32_t)text.len;
        memcpy(h->kid, text.ptr, text.len);
    }
    return true;
}

static enum member header_name(struct tr_span name)
{
    return tr_span_eq(name, TR_SPAN("alg"))    ? ALG
           : tr_span_eq(name, TR_SPAN("kid"))  ? KID
           : tr_span_eq(name, TR_SPAN("crit")) ? CRIT
                                               : OTHER;
}

static enum tr_jwt_result read_header(struct tr_jwt_json *r, struct tr_jws_header *h)
{
    enum member name = OTHER; /* of the value to come, when the header's own object has it */
    if (tr_jwt_json_next(r) != TR_JSON_OBJ_BEGIN)
        return r->fault ? r->fault : TR_JWT_MALFORMED;
    for (;;) {
        enum tr_json_tok tok = tr_jwt_json_next(r);
        if (tok == TR_JSON_ERROR)
            return r->fault;
        if (tok == TR_JSON_END)
            return h->has_alg ? TR_JWT_OK : TR_JWT_MALFORMED;
        if (name && !header_member(h, name, tok, r->scan.text))
            return TR_JWT_MALFORMED;
        name = tok == TR_JSON_KEY && r->scan.depth == 1 ? header_name(r->scan.text) : OTHER;
    }
}

static enum tr_jwt_result take_header(struct tr_span text, char room[PART_BYTES],
                                      struct tr_jws_header *h)
{
    struct tr_jwt_json r;
    size_t len;
    memset(h, 0, offsetof(struct tr_jws_header, kid));
    if (!tr_jwt_base64url(room, text, &len))
        return TR_JWT_MALFORMED;
    tr_jwt_json_begin(&r, tr_span(room, len), TR_JWT_MALFORMED);
    enum tr_jwt_result result = read_header(&r, h);
    tr_jwt_json_end(&r);
    return result;
}

/* The same, or what is known of the same bytes. */
static enum tr_jwt_result recall_header(struct tr_jwt_memo *memo, struct tr_span text,
                                        char room[PART_BYTES])
{
    if (memo->len && tr_span_eq(text, tr_span(memo->text, memo->len)))
        return TR_JWT_OK;
    enum tr_jwt_result result = take_header(text, room, &memo->header);
    memo->len = 0;
    if (!result && text.len <= sizeof memo->text) {
        memcpy(memo->text, text.ptr, text.len);
        memo->len = (uint32_t)text.len;
    }
    return result;
}

/* ---- the signature --------------------------------------------------------------------------- */

static enum tr_jwt_result check_header(const struct tr_jws_header *h, uint32_t algorithms)
{
    if (h->has_crit)
        return TR_JWT_CRIT;
    return h->alg_known && (algorithms & TR_JWA_BIT(h->alg)) ? TR_JWT_OK : TR_JWT_ALGORITHM;
}

static uint32_t find_keys(const struct tr_jwt_opened *o, const struct tr_jwks *keys,
                          const struct tr_jwt_key *tries[TR_JWKS_TRIES_MAX], bool *ret_known)
{
    return tr_jwks_find(keys, o->has_kid, tr_span(o->kid, o->kid_len), o->alg, tries, ret_known);
}

static enum tr_jwt_result check_signature(const struct tr_jwt_opened *o, const struct tr_jwks *keys)
{
    char signature[TR_JWT_SIGNATURE_MAX + 4];
    const struct tr_jwt_key *tries[TR_JWKS_TRIES_MAX];
    size_t len;
    bool known;
    uint32_t n = find_keys(o, keys, tries, &known);
    if (tr_jwks_is_secret(keys))
        known = true; /* a secret has no name, and there is none to fetch */
    if (!n)
        return known ? TR_JWT_ALGORITHM : TR_JWT_NO_KEY;
    if (o->signature.len > TR_JWT_SIGNATURE_MAX / 3 * 4 + 2)
        return TR_JWT_SIGNATURE;
    if (!tr_jwt_base64url(signature, o->signature, &len))
        return TR_JWT_MALFORMED;
    for (uint32_t i = 0; i < n; i++) {
        enum tr_jwt_verdict v =
            tr_jwt_key_verify(tries[i], o->alg, o->input, tr_span(signature, len));
        if (v != TR_JWT_VERDICT_BAD)
            return v == TR_JWT_VERDICT_GOOD ? TR_JWT_OK : TR_JWT_NOMEM;
    }
    return known ? TR_JWT_SIGNATURE : TR_JWT_NO_KEY;
}

/* What check_signature needs to know. */
static void keep(struct tr_jwt_opened *o, struct tr_span token, const struct parts *p,
                 const struct tr_jws_header *h)
{
    o->token = token;
    o->input = p->input;
    o->signature = p->signature;
    o->alg = h->alg;
    o->after = TR_JWT_OK;
    o->jwt = NULL;
    o->has_kid = h->has_kid;
    o->kid_len = h->kid_len;
    memcpy(o->kid, h->kid, h->kid_len);
}

enum tr_jwt_result tr_jws_verify(struct tr_span token, uint32_t algorithms,
                                 const struct tr_jwks *keys)
{
    char room[PART_BYTES];
    struct parts p;
    struct tr_jws_header h;
    struct tr_jwt_opened o;
    size_t len;
    enum tr_jwt_result result = split(token, &p);
    if (!result)
        result = take_header(p.header, room, &h);
    if (!result && !tr_jwt_base64url(room, p.payload, &len))
        result = TR_JWT_MALFORMED;
    if (!result)
        result = check_header(&h, algorithms);
    if (result)
        return result;
    keep(&o, token, &p, &h);
    return check_signature(&o, keys);
}

/* ---- the token ------------------------------------------------------------------------------- */

enum tr_jwt_result tr_jwt_open(struct tr_span token, const struct tr_jwt_rules *rules,
                               int64_t now_s, struct tr_jwt_memo *memo, struct tr_jwt_opened *ret)
{
    char room[PART_BYTES];
    struct parts p;
    struct tr_jwt_claims_walk w;
    size_t len;
    enum tr_jwt_result result = split(token, &p);
    if (!result)
        result = recall_header(memo, p.header, room);
    if (result)
        return result;
    if (!tr_jwt_base64url(room, p.payload, &len))
        return TR_JWT_MALFORMED;
    result = tr_jwt_claims_read(&w, tr_span(room, len), rules);
    if (!result)
        result = check_header(&memo->header, rules->algorithms);
    if (result)
        return result;
    keep(ret, token, &p, &memo->header);
    ret->after = tr_jwt_claims_judge(&w, now_s);
    if (!ret->after)
        ret->after = tr_jwt_claims_make(&w, token, &ret->jwt);
    return TR_JWT_OK;
}

void tr_jwt_drop(struct tr_jwt_opened *opened)
{
    tr_jwt_unref(opened->jwt);
    opened->jwt = NULL;
}

bool tr_jwt_has_key(const struct tr_jwt_opened *opened, const struct tr_jwks *keys)
{
    const struct tr_jwt_key *tries[TR_JWKS_TRIES_MAX];
    bool known;
    return find_keys(opened, keys, tries, &known) != 0;
}

enum tr_jwt_result tr_jwt_close(struct tr_jwt_opened *opened, const struct tr_jwks *keys,
                                struct tr_jwt **ret_jwt)
{
    enum tr_jwt_result result = check_signature(opened, keys);
    if (!result)
        result = opened->after;
    if (result) {
        tr_jwt_drop(opened);
        return result;
    }
    *ret_jwt = opened->jwt;
    opened->jwt = NULL;
    return TR_JWT_OK;
}

enum tr_jwt_result tr_jwt_verify(struct tr_span token, const struct tr_jwt_rules *rules,
                                 const struct tr_jwks *keys, int64_t now_s, struct tr_jwt **ret_jwt)
{
    struct tr_jwt_opened o;
    struct tr_jwt_memo memo;
    memo.len = 0;
    enum tr_jwt_result result = tr_jwt_open(token, rules, now_s, &memo, &o);
    return result ? result : tr_jwt_close(&o, keys, ret_jwt);
}

enum tr_jwt_result tr_jwt_peek(struct tr_span token, const struct tr_jwt_rules *rules,
                               int64_t now_s)
{
    struct tr_jwt_opened o;
    struct tr_jwt_memo memo;
    memo.len = 0;
    enum tr_jwt_result result = tr_jwt_open(token, rules, now_s, &memo, &o);
    if (result)
        return result;
    tr_jwt_drop(&o);
    return o.after;
}

void tr_jwt_unref(struct tr_jwt *jwt)
{
    if (jwt && --jwt->refs == 0)
        tr_free(jwt);
}
