/* Authentication: who asks, from tokens, API keys and client certificates.
 *
 * Vocabulary: what a policy may ask for has a *bit*: each provider of tokens one, API keys and
 * client certificates one each; a request *shows* it or does not.
 *
 * authn_compile.c reads the configuration, authn_place.c finds what is shown, authn_decide.c says
 * what follows for the request, authn_judge.c asks for it, authn.c is the filter, authn_explain.c
 * tells it without a request.
 */
#ifndef TR_FILTERS_AUTHN_H
#define TR_FILTERS_AUTHN_H

#include "config/snapshot.h"
#include "filters/jwks_refresh.h"
#include "filters/jwt_cache.h"
#include "pipeline/exchange.h"

#define TR_AUTHN_PROVIDERS_MAX 32
#define TR_AUTHN_API_KEY       TR_AUTHN_PROVIDERS_MAX       /* its bit */
#define TR_AUTHN_CERTIFICATE   (TR_AUTHN_PROVIDERS_MAX + 1) /* its bit */

struct tr_authn_provider {
    const struct tr_cfg_provider *cfg;
    struct tr_jwt_rules rules;
    struct tr_jwks *fixed; /* of file, inline or secret; NULL: fetched */
    struct tr_jwks_source source;
    struct tr_span header;               /* lower case; empty: none */
    const struct tr_span *claim_headers; /* lower case, as many as cfg->claims_to_headers */
};

struct tr_authn_conf {
    const struct tr_cfg_authentication *cfg;
    struct tr_authn_provider *providers;
    uint32_t provider_count;
    struct tr_span api_key_header, consumer_header, certificate_header; /* lower case */
    bool has_api_keys, has_certificates;
};

struct tr_authn_policy {      /* TR_POLICY_AUTHN; NULL: public */
    uint64_t any, all;        /* bits of providers and the two above */
    bool allow_missing, open; /* open: on_unavailable allow */
};

/* What identities of a policy may have: claims are a token's, a consumer and its tier those of an
 * API key or client certificate. */
void tr_authn_brings(const struct tr_policy *policy, bool *ret_claims, bool *ret_consumer);
enum tr_err tr_authn_compile(struct tr_snapshot *snap, struct tr_authn_conf *conf) TR_MUST_USE;

/* ---- what is shown. Empty: nothing. Values of a query are decoded into the arena. ------------ */
/* The token in a header that may carry one: after "Bearer ", or all of it elsewhere than in
 * authorization. */
struct tr_span tr_authn_bearer(const struct tr_header *h);
struct tr_span tr_authn_token(const struct tr_authn_provider *p, const struct tr_req_head *head,
                              struct tr_arena *arena);
struct tr_span tr_authn_api_key(const struct tr_authn_conf *conf, const struct tr_req_head *head,
                                struct tr_arena *arena);

/* The cookies but those of this name, into out[2 * cookies.len]. */
struct tr_span tr_authn_without_cookie(char *out, struct tr_span cookies, struct tr_span name);

/* ---- what follows ---------------------------------------------------------------------------- */
/* What became of one credential, or of all. Of several refusals the first here is told. */
enum tr_authn_shown {
    TR_AUTHN_MISSING,
    TR_AUTHN_WRONG,
    TR_AUTHN_EXPIRED,
    TR_AUTHN_UNAVAILABLE, /* nothing speaks against it, but the keys cannot be had */
    TR_AUTHN_WAIT,        /* the same, and keys are being fetched */
    TR_AUTHN_OK
};
/* Asks `show` for each bit of the policy until the answer is certain. MISSING: nothing at all was
 * shown. WAIT: what it depends on is fetched, and nothing yet refuses the request. */
enum tr_authn_shown tr_authn_decide(const struct tr_authn_policy *policy,
                                    enum tr_authn_shown (*show)(void *ctx, uint32_t bit),
                                    void *ctx);

/* What a request is refused with; TR_OK for OK and WAIT. */
enum tr_err tr_authn_err(enum tr_authn_shown shown);

/* The token that was verified for this provider (its place among them); empty: none was. */
struct tr_span tr_authn_verified(const struct tr_exchange *x, uint32_t provider);

/* ---- for `transom explain` ------------------------------------------------------------------- */
struct tr_authn_question {
    const struct tr_req_head *head;
    struct tr_arena *arena;
    int64_t now_s;
    void (*say)(void *ctx, struct tr_span line); /* what was found, one credential after another */
    void *ctx;
};
struct tr_authn_answer {
    enum tr_authn_shown shown; /* UNAVAILABLE: keys or a connection decide */
    bool anonymous;            /* nothing was shown, and nothing need be */
    enum tr_err err;
    struct tr_span why; /* for the client */
    struct tr_identity identity;
    struct tr_jwt *tokens[TR_CREDENTIALS_MAX]; /* the identity's */
    uint32_t token_count;
};
/* false: the policy asks for no authentication. Reads the file of API keys, fetches nothing. */
bool tr_authn_explain(const struct tr_snapshot *snap, const struct tr_policy *policy,
                      const struct tr_authn_question *q, struct tr_authn_answer *ret);
void tr_authn_answer_fini(struct tr_authn_answer *answer);

#endif
