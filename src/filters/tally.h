/* How often a filter said yes and how often no, for each worker: its whole state there, for those
 * that keep nothing else.
 *
 * Contract: tr_tally_start is the filter's worker_start, tr_free its worker_stop. Only the worker
 * counts; the control thread reads. */
#ifndef TR_FILTERS_TALLY_H
#define TR_FILTERS_TALLY_H

#include "base/counter.h"
#include "obs/expo.h"
#include "pipeline/filter.h"

#include <stdbool.h>

struct tr_tally {
    uint64_t yes, no;
};

enum tr_err tr_tally_start(struct tr_pworker *w, void *conf, void *control, void **ret_worker);
/* tally NULL: a worker without filters (tests). */
static inline void tr_tally_count(struct tr_tally *tally, bool yes)
{
    if (tally)
        tr_count(yes ? &tally->yes : &tally->no);
}
/* Two samples of a family with one label: their sums over the workers. */
void tr_tally_write(struct tr_expo *e, enum tr_metric metric, struct tr_span yes, struct tr_span no,
                    void *const *workers, uint32_t count);

#endif
