/* The counters of the process: one set for each worker, rendered together for /metrics. */
#ifndef TR_GATEWAY_STATS_H
#define TR_GATEWAY_STATS_H

#include "base/buf.h"
#include "config/snapshot.h"

struct tr_stats;
struct tr_metrics;
struct tr_worker;
struct tr_listener_shared;

/* NULL: out of memory. */
struct tr_stats *tr_stats_new(const struct tr_snapshot *snap, uint32_t workers);
void tr_stats_free(struct tr_stats *stats);
struct tr_metrics *tr_stats_worker(struct tr_stats *stats, uint32_t worker);
enum tr_err tr_stats_render(struct tr_stats *stats, const struct tr_worker *workers,
                            const struct tr_listener_shared *shared, void **filters, bool ready,
                            struct tr_buf *out) TR_MUST_USE;

#endif
