/* What authentication keeps beyond a request; shared by authn.c and authn_stats.c alone. */
#ifndef TR_FILTERS_AUTHN_INT_H
#define TR_FILTERS_AUTHN_INT_H

#include "filters/apikey.h"
#include "filters/authn.h"
#include "filters/quota_local.h"

struct tr_expo;

enum tr_authn_outcome { /* of a request */
                        TR_AUTHN_OUTCOME_AUTHENTICATED,
                        TR_AUTHN_OUTCOME_ANONYMOUS,
                        TR_AUTHN_OUTCOME_FAIL_OPEN,
                        TR_AUTHN_OUTCOME_REFUSED,
                        TR_AUTHN_OUTCOME_LIMITED,
                        TR_AUTHN_OUTCOME__COUNT
};

struct tr_authn_control {
    const struct tr_authn_conf *conf;
    struct tr_jwks_refresh **refreshes; /* by provider; NULL: fixed keys */
    struct tr_apikey_store *api_keys;
    struct tr_quota_local *failures; /* NULL: no bound */
    uint64_t origin_ns;
};

struct tr_authn_worker {
    const struct tr_authn_conf *conf;
    struct tr_authn_control *control;
    struct tr_jwks_view *views; /* by provider */
    struct tr_apikey_view api_keys;
    struct tr_jwt_cache cache;
    uint64_t (*results)[TR_JWT__COUNT];  /* by provider */
    uint64_t api_key[2], certificate[2]; /* ok, unknown */
    uint64_t outcomes[TR_AUTHN_OUTCOME__COUNT];
};

/* The filter's metrics hook. */
void tr_authn_metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                      void *const *workers, uint32_t count);

#endif
