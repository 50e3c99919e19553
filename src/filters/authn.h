/* Authentication: who asks, from tokens, API keys and client certificates. See authn.c. */
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
    struct tr_span header; /* lower case; empty: none */
};

struct tr_authn_conf {
    const struct tr_cfg_authentication *cfg;
    struct tr_authn_provider *providers;
    uint32_t provider_count;
    struct tr_span api_key_header; /* lower case */
    bool has_api_keys, has_certificates;
};

struct tr_authn_policy {      /* TR_POLICY_AUTHN; NULL: public */
    uint64_t any, all;        /* bits of providers and the two above */
    bool allow_missing, open; /* open: on_unavailable allow */
};

enum tr_err tr_authn_compile(struct tr_snapshot *snap, struct tr_authn_conf *conf) TR_MUST_USE;

#endif
