/* JSON Web Tokens: a compact JWS (RFC 7515) whose payload is a set of claims (RFC 7519).
 *
 * Contract
 *  1. What decides is configuration: the algorithm must be in the rules' mask and fit the key's
 *     type, curve and own `alg` (RFC 8725 §3.1); `none` is no algorithm; keys that a token brings
 *     or points to (jwk, jku, x5c, x5u) are never looked at; any `crit` is refused; `typ` and `cty`
 *     mean nothing.
 *  2. Everything is strict: three parts in base64url without padding or stray bits, JSON of
 *     RFC 8259 with UTF-8 checked, names given once in every object, nesting to 16, 256 names open
 *     at once, TR_JWT_TOKEN_MAX bytes.
 *  3. `iss` must be the issuer, byte for byte. It is compared before a key is looked for, so a
 *     token of another issuer costs no signature and asks for no keys: with several providers, try
 *     each until one does not say ISSUER.
 *     `aud`: a string or an array of strings with one of the audiences (not looked at for
 *     any_audience). `exp` is required: a token is good while now < exp + skew; `nbf`: from
 *     nbf - skew. Dates may have fractions; one that is not a finite number is CLAIMS. `iat` must
 *     be a date too, but its value decides nothing (RFC 7519 gives it no role in acceptance).
 *  4. Results say no more than is safe to tell; no text has a part of the token.
 *
 * Ownership: a verified token is one heap block, counted, of one thread (the worker's). A request
 * that uses its claims holds a reference; so does the cache (filters/jwt_cache.h). Verifying
 * allocates (OpenSSL, and this block); finding a token in the cache does not.
 */
#ifndef TR_FILTERS_JWT_H
#define TR_FILTERS_JWT_H

#include "base/list.h"
#include "base/span.h"
#include "base/status.h"
#include "filters/jwks.h"
#include "pipeline/identity.h"

#define TR_JWT_TOKEN_MAX       ((size_t)16 * 1024)
#define TR_JWT_CLAIMS_MAX      64  /* flattened claims kept; top-level ones go first */
#define TR_JWT_CLAIM_DEPTH_MAX 4   /* names of a dotted claim */
#define TR_JWT_CLAIM_NAME_MAX  256 /* bytes of a dotted name */

enum tr_jwt_result {
    TR_JWT_OK,
    TR_JWT_MALFORMED, /* no compact JWS with a JSON object in it */
    TR_JWT_TOO_LARGE,
    TR_JWT_ALGORITHM, /* not allowed, not known, or no key that the token may mean is for it */
    TR_JWT_CRIT,
    TR_JWT_NO_KEY, /* its kid is not in the key set: a fresh one may have it */
    TR_JWT_SIGNATURE,
    TR_JWT_ISSUER,
    TR_JWT_AUDIENCE,
    TR_JWT_EXPIRED,
    TR_JWT_NOT_YET,
    TR_JWT_CLAIMS, /* a registered claim is missing or of the wrong type, a name is there twice */
    TR_JWT_NOMEM,
    TR_JWT__COUNT
};
/* "ok", "malformed", ...: the label of metrics and logs. */
const char *tr_jwt_result_name(enum tr_jwt_result result);
/* For the client: "the token has expired"; also fit for error_description of RFC 6750. */
struct tr_span tr_jwt_result_text(enum tr_jwt_result result);
/* OK: TR_OK; EXPIRED and NOT_YET: AUTH_EXPIRED; NOMEM: NOMEM; the others AUTH_INVALID. */
enum tr_err tr_jwt_result_err(enum tr_jwt_result result);

/* What a provider demands; all of it outlives the call only. */
struct tr_jwt_rules {
    struct tr_span issuer;
    const struct tr_span *audiences;
    uint32_t audience_count;
    bool any_audience;
    uint32_t algorithms; /* mask of TR_JWA_BIT */
    uint32_t clock_skew_s;
};

struct tr_jwt {
    struct tr_claims claims; /* registered ones too; numbers as they are written */
    /* Empty where there is no `sub`, and where so many claims stand before it that it is not kept.
     */
    struct tr_span issuer, subject;
    /* From `scope` (words between spaces, RFC 8693 §4.2, or an array) and `scp` (the same). */
    const struct tr_span *scopes;
    uint32_t scope_count;
    int64_t valid_until_s; /* good while now_s is less */
    struct tr_span token;
    size_t bytes; /* of this block, all in it */
    /* The block's and the cache's own: */
    uint32_t refs;
    uint32_t provider;
    uint64_t generation; /* 0: not in a cache */
    uint64_t hash;
    struct tr_list node; /* by last use */
    struct tr_jwt *next; /* of its bucket */
};

/* The text of claims may have any character, line breaks and NUL included: whoever puts it into
 * headers looks first. */

/* What a header says (RFC 7515 §4.1) of what is looked at. */
struct tr_jws_header {
    bool has_alg, alg_known, has_kid, has_crit;
    enum tr_jwa alg;
    uint32_t kid_len;
    char kid[TR_JWKS_KID_MAX];
};

#define TR_JWT_MEMO_BYTES 512

/* The last header that was read: tokens of one key have the same. Its owner sets len to 0. */
struct tr_jwt_memo {
    uint32_t len; /* of text; 0: nothing is known */
    struct tr_jws_header header;
    char text[TR_JWT_MEMO_BYTES]; /* in base64url */
};

/* A token that is read and not yet verified: spans are of its bytes. */
struct tr_jwt_opened {
    struct tr_span token;
    struct tr_span input, signature; /* what is signed; the signature in base64url */
    enum tr_jwa alg;
    enum tr_jwt_result after; /* what it is when its signature is right */
    struct tr_jwt *jwt;       /* when that is OK; nobody may look into it yet */
    bool has_kid;
    uint32_t kid_len;
    char kid[TR_JWKS_KID_MAX];
};

/* All but the signature. `now_s` is unix time. OK: that is left to be decided, by tr_jwt_close or
 * not at all, by tr_jwt_drop; else *ret holds nothing. */
enum tr_jwt_result tr_jwt_open(struct tr_span token, const struct tr_jwt_rules *rules,
                               int64_t now_s, struct tr_jwt_memo *memo,
                               struct tr_jwt_opened *ret) TR_MUST_USE;
/* The signature, and with it the judgement; of *opened nothing is left. *ret_jwt is set with OK,
 * with one reference. */
enum tr_jwt_result tr_jwt_close(struct tr_jwt_opened *opened, const struct tr_jwks *keys,
                                struct tr_jwt **ret_jwt) TR_MUST_USE;
void tr_jwt_drop(struct tr_jwt_opened *opened);
/* Whether one of these keys may have signed it; else closing it costs no signature. */
bool tr_jwt_has_key(const struct tr_jwt_opened *opened, const struct tr_jwks *keys);
/* Both at once. */
enum tr_jwt_result tr_jwt_verify(struct tr_span token, const struct tr_jwt_rules *rules,
                                 const struct tr_jwks *keys, int64_t now_s,
                                 struct tr_jwt **ret_jwt) TR_MUST_USE;
/* What can be said of a token without keys: OK when its signature is all that is left to decide. So
 * a token that no key could make good waits for none. */
enum tr_jwt_result tr_jwt_peek(struct tr_span token, const struct tr_jwt_rules *rules,
                               int64_t now_s) TR_MUST_USE;
/* The signature alone, whatever the payload is: rules 1 and 2 for the header and the encoding. */
enum tr_jwt_result tr_jws_verify(struct tr_span token, uint32_t algorithms,
                                 const struct tr_jwks *keys) TR_MUST_USE;

static inline struct tr_jwt *tr_jwt_ref(struct tr_jwt *jwt)
{
    jwt->refs++;
    return jwt;
}
void tr_jwt_unref(struct tr_jwt *jwt); /* NULL is fine */

#endif
