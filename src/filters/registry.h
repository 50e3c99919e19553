/* The list of all filters, in the order in which a request meets them: by phase, then as listed. */
#ifndef TR_FILTERS_REGISTRY_H
#define TR_FILTERS_REGISTRY_H

#include "base/status.h"
#include "pipeline/filter.h"

/* FILTER(ID, variable): the place in the list is the filter's id. */
/* clang-format off */
#define TR_FILTERS(FILTER)                 \
    FILTER(SHED, tr_filter_shed)           /* GUARD, before any work */ \
    FILTER(IP, tr_filter_ip)               /* GUARD */ \
    FILTER(CORS, tr_filter_cors)           /* GUARD, after IP */ \
    FILTER(QUOTA_EARLY, tr_filter_quota_early) /* AUTHN, before it */ \
    FILTER(AUTHN, tr_filter_authn)         /* AUTHN */ \
    FILTER(AUTHZ, tr_filter_authz)         /* AUTHZ */ \
    FILTER(QUOTA, tr_filter_quota)         /* QUOTA */ \
    FILTER(IDENTITY, tr_filter_identity)   /* REWRITE, before headers */ \
    FILTER(HEADERS, tr_filter_headers)     /* REWRITE */ \
    FILTER(ACCESS_LOG, tr_filter_access_log) /* sees no request: the end of each */
/* clang-format on */

enum tr_filter_id {
#define FILTER(id, var) TR_FILTER_##id,
    TR_FILTERS(FILTER)
#undef FILTER
        TR_FILTER__COUNT
};

#define FILTER(id, var) extern const struct tr_filter var;
TR_FILTERS(FILTER)
#undef FILTER

const struct tr_filter *const *tr_filters_registry(uint32_t *ret_count);

/* The life of what filters keep (see pipeline/filter.h). After tr_filters_prepare look at
 * snap->problems.errors. */
enum tr_err tr_filters_prepare(struct tr_snapshot *snap) TR_MUST_USE;
/* *ret_states: one for each filter, by tr_calloc; set also on failure, for tr_filters_control_stop,
 * which frees them and accepts NULL. */
enum tr_err tr_filters_control_start(const struct tr_control *control,
                                     const struct tr_snapshot *snap, void ***ret_states,
                                     struct tr_status *st) TR_MUST_USE;
void tr_filters_control_stop(void **states);
/* Sets w->filter_worker; states as tr_filters_control_start gave them, or NULL. */
enum tr_err tr_filters_worker_start(struct tr_pworker *w, void **states) TR_MUST_USE;
void tr_filters_worker_stop(struct tr_pworker *w);
void tr_filters_metrics(struct tr_expo *e, const struct tr_snapshot *snap, void **states,
                        const struct tr_pworker *const *workers, uint32_t count);

#endif
