#include "gateway/stats.h"

#include "base/alloc.h"
#include "gateway/worker.h"

struct tr_stats {
    const struct tr_snapshot *snap;
    uint32_t workers;
};

struct tr_stats *tr_stats_new(const struct tr_snapshot *snap, uint32_t workers)
{
    struct tr_stats *stats = tr_calloc(1, sizeof *stats);
    if (stats)
        *stats = (struct tr_stats){snap, workers};
    return stats;
}

void tr_stats_free(struct tr_stats *stats)
{
    tr_free(stats);
}

struct tr_metrics *tr_stats_worker(struct tr_stats *stats, uint32_t worker)
{
    (void)stats;
    (void)worker;
    return NULL;
}

enum tr_err tr_stats_render(struct tr_stats *stats, const struct tr_worker *workers, uint32_t worker_count,
                            const struct tr_listener_shared *listeners, struct tr_buf *out)
{
    (void)stats;
    (void)listeners;
    enum tr_err err = tr_buf_printf(out, "# HELP transom_errors_total Refusals and failures by reason.\n# TYPE transom_errors_total counter\n");
    for (unsigned e = 1; !err && e < TR_ERR__COUNT; e++) {
        uint64_t n = 0;
        for (uint32_t i = 0; i < worker_count; i++)
            n += __atomic_load_n(&workers[i].err_counts[e], __ATOMIC_RELAXED);
        err = tr_buf_printf(out, "transom_errors_total{reason=\"%s\"} %llu\n", tr_err_info((enum tr_err)e)->name, (unsigned long long)n);
    }
    return err;
}
