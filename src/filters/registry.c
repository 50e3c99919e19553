#include "filters/registry.h"

#include "base/alloc.h"
#include "pipeline/exchange.h"

static const struct tr_filter *const filters[] = {
#define FILTER(id, var) &var,
    TR_FILTERS(FILTER)
#undef FILTER
};
_Static_assert(sizeof filters / sizeof filters[0] <= TR_FILTERS_MAX, "the list is too long");

const struct tr_filter *const *tr_filters_registry(uint32_t *ret_count)
{
    *ret_count = TR_FILTER__COUNT;
    return filters;
}

static void dispose(struct tr_snapshot *snap)
{
    for (uint32_t i = TR_FILTER__COUNT; snap->filter_conf && i-- > 0;)
        if (filters[i]->dispose && snap->filter_conf[i])
            filters[i]->dispose(snap->filter_conf[i]);
}

enum tr_err tr_filters_prepare(struct tr_snapshot *snap)
{
    snap->filter_conf = tr_arena_calloc(&snap->arena, TR_FILTER__COUNT, sizeof(void *));
    if (!snap->filter_conf)
        return TR_ERR_NOMEM;
    snap->filters_dispose = dispose;
    for (uint32_t i = 0; i < TR_FILTER__COUNT; i++) {
        enum tr_err err =
            filters[i]->prepare ? filters[i]->prepare(snap, &snap->filter_conf[i]) : TR_OK;
        if (err)
            return err;
    }
    return TR_OK;
}

static void *conf_of(const struct tr_snapshot *snap, uint32_t i)
{
    return snap->filter_conf ? snap->filter_conf[i] : NULL;
}

enum tr_err tr_filters_control_start(const struct tr_control *control,
                                     const struct tr_snapshot *snap, void ***ret_states,
                                     struct tr_status *st)
{
    void **states = tr_calloc(TR_FILTER__COUNT, sizeof(void *));
    *ret_states = states;
    if (!states)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < TR_FILTER__COUNT; i++) {
        enum tr_err err =
            filters[i]->control_start
                ? filters[i]->control_start(control, snap, conf_of(snap, i), &states[i], st)
                : TR_OK;
        if (err)
            return err;
    }
    return TR_OK;
}

void tr_filters_control_stop(void **states)
{
    for (uint32_t i = TR_FILTER__COUNT; states && i-- > 0;)
        if (filters[i]->control_stop && states[i])
            filters[i]->control_stop(states[i]);
    tr_free(states);
}

enum tr_err tr_filters_worker_start(struct tr_pworker *w, void **states)
{
    w->filter_worker = tr_calloc(TR_FILTER__COUNT, sizeof(void *));
    if (!w->filter_worker)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < TR_FILTER__COUNT; i++) {
        if (!filters[i]->worker_start)
            continue;
        enum tr_err err = filters[i]->worker_start(w, conf_of(w->snap, i),
                                                   states ? states[i] : NULL, &w->filter_worker[i]);
        if (err)
            return err;
    }
    return TR_OK;
}

void tr_filters_worker_stop(struct tr_pworker *w)
{
    for (uint32_t i = TR_FILTER__COUNT; w->filter_worker && i-- > 0;)
        if (filters[i]->worker_stop && w->filter_worker[i])
            filters[i]->worker_stop(w->filter_worker[i]);
    tr_free(w->filter_worker);
    w->filter_worker = NULL;
}

void tr_filters_metrics(struct tr_expo *e, const struct tr_snapshot *snap, void **states,
                        const struct tr_pworker *const *workers, uint32_t count)
{
    void *of_workers[256];
    for (uint32_t i = 0; i < TR_FILTER__COUNT; i++) {
        if (!filters[i]->metrics)
            continue;
        uint32_t n = 0;
        for (; n < count && n < sizeof of_workers / sizeof of_workers[0]; n++)
            of_workers[n] = workers[n]->filter_worker ? workers[n]->filter_worker[i] : NULL;
        filters[i]->metrics(e, snap, conf_of(snap, i), states ? states[i] : NULL, of_workers, n);
    }
}
