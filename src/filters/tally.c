#include "filters/tally.h"

#include "base/alloc.h"

enum tr_err tr_tally_start(struct tr_pworker *w, void *conf, void *control, void **ret_worker)
{
    (void)w;
    (void)conf;
    (void)control;
    *ret_worker = tr_calloc(1, sizeof(struct tr_tally));
    return *ret_worker ? TR_OK : TR_ERR_NOMEM;
}

void tr_tally_write(struct tr_expo *e, enum tr_metric metric, struct tr_span yes, struct tr_span no,
                    void *const *workers, uint32_t count)
{
    struct tr_tally sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct tr_tally *t = workers[i];
        sum.yes += t ? tr_count_load(&t->yes) : 0;
        sum.no += t ? tr_count_load(&t->no) : 0;
    }
    tr_expo_u64(e, metric, &yes, sum.yes);
    tr_expo_u64(e, metric, &no, sum.no);
}
