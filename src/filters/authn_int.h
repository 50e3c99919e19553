/* What authentication keeps, for a request and beyond it; shared by authn.c, authn_judge.c and
 * authn_stats.c alone. */
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
    struct tr_loop *loop;
    struct tr_jwks_view *views; /* by provider */
    struct tr_apikey_view api_keys;
    struct tr_jwt_cache cache;
    struct tr_jwt_memo memo;
    uint64_t cache_hits, cache_misses;
    uint64_t (*results)[TR_JWT__COUNT];  /* by provider */
    uint64_t api_key[2], certificate[2]; /* ok, unknown */
    uint64_t outcomes[TR_AUTHN_OUTCOME__COUNT];
    /* Requests whose tokens are not known yet, in order of arrival; see authn.c. */
    struct tr_list unseen; /* tr_authn_state.node */
    uint32_t unseen_count; /* those judged and not yet gone on, too */
    size_t unseen_bytes;   /* of their opened tokens' blocks */
    bool verifying;
    struct tr_task verify;
    uint64_t postponed, at_once; /* those that waited, and those that could not */
};

/* What is to become of a request. */
struct tr_authn_verdict {
    enum tr_authn_shown shown;
    enum tr_jwt_result why;    /* of the last token that was wrong; NOMEM: nothing can be said */
    bool limited;              /* its address has failed too often: nothing was looked at */
    uint64_t limited_ns;       /* until it may try again */
    uint32_t wait_provider;    /* WAIT: whose keys, */
    enum tr_jwks_ask wait_ask; /* and why */
};

/* Of a request. */
struct tr_authn_state {
    struct tr_identity identity;
    struct tr_jwt *tokens[TR_CREDENTIALS_MAX];
    uint8_t token_providers[TR_CREDENTIALS_MAX];
    uint32_t token_count;
    bool has_opened;              /* a token was read and waits for its signature's turn: */
    uint32_t opened_for;          /* its provider */
    struct tr_jwt_opened *opened; /* NULL: there was none yet */
    struct tr_exchange *x;
    struct tr_handle handle; /* while it waits */
    struct tr_jwks_waiter waiter;
    struct tr_jwks_view *waits; /* NULL: for no keys */
    struct tr_list node;        /* of tr_authn_worker.unseen, and then of those verified */
    bool queued, judged;        /* node is in a list; verdict stands */
    size_t queued_bytes;        /* its part of unseen_bytes */
    struct tr_authn_verdict verdict;
    uint64_t asked_kid, asked_keys; /* bits of providers */
};

/* Judges the request by what it shows. `verify` false: verifies no signature, and gives false, with
 * nothing counted and nothing kept but the opened token, when one has to be. */
bool tr_authn_judge(struct tr_authn_state *s, struct tr_authn_worker *w, bool verify,
                    struct tr_authn_verdict *ret);
/* Gives the state's tokens back; it has no identity then. */
void tr_authn_drop(struct tr_authn_state *s);

/* The filter's metrics hook. */
void tr_authn_metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                      void *const *workers, uint32_t count);

#endif
