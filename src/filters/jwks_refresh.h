/* Fetching an issuer's keys on the control thread, and publishing them to all workers.
 *
 * Contract
 *  1. When is decided by filters/jwks_schedule.h: at start, before the set ages, after failures
 * with backoff, and when a worker asks. One attempt at a time.
 *  2. An attempt is one GET of `uri`, or for OpenID Connect discovery first one of
 *     issuer/.well-known/openid-configuration, whose `issuer` must be the configured one byte for
 *     byte and whose `jwks_uri` must be https. The document is kept for an hour, and fetched again
 *     after jwks_uri failed.
 *  3. HTTPS verifies certificate and name. Redirects are failures. Time and size are bounded.
 *  4. A set equal to the one in use replaces nothing, so that tokens verified by it stay so. While
 *     attempts fail, the old set is used on for max_stale after its lifetime, then none is.
 *  5. The end of every attempt is published, so that those who wait can go on.
 *
 * Thread: the control thread's; workers reach it by mail, through their views. */
#ifndef TR_FILTERS_JWKS_REFRESH_H
#define TR_FILTERS_JWKS_REFRESH_H

#include "filters/jwks_view.h"
#include "pipeline/filter.h"

/* Where the keys are. Spans outlive the refresh. */
struct tr_jwks_source {
    struct tr_span name;    /* the provider's, for the log */
    struct tr_span issuer;  /* of discovery */
    struct tr_span uri;     /* empty: discovery */
    struct tr_span ca_file; /* empty: the system's roots */
    uint64_t timeout_ns;    /* of one GET */
    uint64_t max_bytes;     /* of one answer */
    struct tr_jwks_schedule_params schedule;
};

/* Written and read on the control thread. */
struct tr_jwks_refresh_stats {
    uint64_t fetches;  /* attempts that brought keys */
    uint64_t failures; /* attempts that did not */
    uint64_t refused;  /* asks refused, by views too */
    uint64_t waiters;  /* now, in all workers */
    uint64_t age_s;    /* of the set in use; 0 when there is none */
    uint32_t keys;     /* usable ones of the set in use */
    enum tr_jwks_state state;
};

/* For configuration: whether a refresh could be made of it. Reads the CA file, touches no network.
 * CONFIG with text, NOMEM. */
enum tr_err tr_jwks_source_check(const struct tr_jwks_source *source,
                                 struct tr_status *st) TR_MUST_USE;
/* The first attempt begins when the control thread's loop runs. `control` outlives it. Errors as
 * above. */
enum tr_err tr_jwks_refresh_new(const struct tr_control *control,
                                const struct tr_jwks_source *source, struct tr_jwks_refresh **ret,
                                struct tr_status *st) TR_MUST_USE;
/* When no worker runs any more and all mail to the control thread was delivered; views may still
 * live. NULL is accepted. */
void tr_jwks_refresh_free(struct tr_jwks_refresh *r);

struct tr_jwks_refresh_stats tr_jwks_refresh_stats(const struct tr_jwks_refresh *r);

/* For tr_jwks_view_init. NOMEM. */
enum tr_err tr_jwks_refresh_add(struct tr_jwks_refresh *r, struct tr_jwks_view *view) TR_MUST_USE;
/* For views: asks that came in the view's mail. */
void tr_jwks_refresh_asked(struct tr_jwks_refresh *r, struct tr_jwks_view *view, uint32_t asks);

#endif
