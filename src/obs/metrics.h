/* Counters of requests: written by one worker, read by the admin thread.
 *
 * Vocabulary: a *row* holds the counters of one route, by tr_route.index; requests without a route
 * have a row of their own, TR_METRICS_NO_ROUTE. A *class* is that of the HTTP status.
 *
 * Contract: one struct tr_metrics for each worker, made for the number of routes of the snapshot.
 * The exchange calls tr_metrics_begin when its route is known (or known to be none) and
 * tr_metrics_end once, when it ends, both with the same row: tens of nanoseconds, no lock, no
 * allocation. Rows are touched only when their route is used, so that thousands of routes cost
 * address space and no memory.
 *
 * Thread: only the owner writes, with relaxed stores; any thread may read with relaxed loads
 * (tr_metrics_render does). A reader may see a request in one counter and not yet in another; a
 * histogram's count is the sum of its buckets. */
#ifndef TR_OBS_METRICS_H
#define TR_OBS_METRICS_H

#include "base/buf.h"
#include "base/status.h"
#include "obs/expo.h"

#define TR_METRICS_CODES            17 /* gRPC codes; a larger one counts as UNKNOWN */
#define TR_METRICS_DURATION_BUCKETS 16 /* with the one above all bounds */
#define TR_METRICS_BYTES_BUCKETS    10
#define TR_METRICS_NO_ROUTE         UINT32_MAX

enum tr_metrics_class { TR_METRICS_2XX, TR_METRICS_4XX, TR_METRICS_5XX, TR_METRICS__COUNT };

struct tr_metrics_duration {
    uint64_t buckets[TR_METRICS_DURATION_BUCKETS];
    uint64_t sum_ns;
};

struct tr_metrics_bytes {
    uint64_t buckets[TR_METRICS_BYTES_BUCKETS];
    uint64_t sum;
};

struct tr_route_metrics {
    int64_t in_flight;
    uint64_t retries;
    uint64_t requests[TR_METRICS_CODES]; /* by gRPC code */
    struct tr_metrics_duration duration[TR_METRICS__COUNT];
    struct tr_metrics_duration upstream;
    struct tr_metrics_bytes bytes_in, bytes_out;
};

struct tr_metrics {
    uint32_t route_count;
    struct tr_route_metrics *rows; /* route_count + 1: the last is that of no route */
    uint8_t *used;                 /* by row: 1 when it was ever touched */
    uint64_t statuses[500];        /* HTTP status - 100 */
    uint64_t unanswered;
    uint64_t versions[3];           /* HTTP/1.0, HTTP/1.1, HTTP/2 */
    uint64_t errors[TR_ERR__COUNT]; /* tr_hworker.err_counts points here: the codecs count what no
                                       exchange sees */
};

enum tr_err tr_metrics_new(uint32_t route_count, struct tr_metrics **ret_metrics) TR_MUST_USE;
void tr_metrics_free(struct tr_metrics *metrics);

/* How a request ended. */
struct tr_metrics_end {
    uint32_t route; /* as given to tr_metrics_begin */
    uint8_t grpc_code;
    uint8_t version;      /* tr_req_head.version: 10, 11 or 20 */
    uint16_t http_status; /* 0: the head of an answer was never sent */
    enum tr_err err;      /* TR_OK: success, or the backend's own status */
    uint32_t retries;     /* attempts after the first */
    uint64_t duration_ns;
    uint64_t upstream_ns; /* 0: no call was made */
    uint64_t bytes_in, bytes_out;
};

void tr_metrics_begin(struct tr_metrics *metrics, uint32_t route);
void tr_metrics_end(struct tr_metrics *metrics, const struct tr_metrics_end *end);

/* What a route is called in labels: never a path. The three together must differ between routes. */
struct tr_metrics_route {
    struct tr_span dialect; /* "rest" or "grpc" */
    struct tr_span verb;
    struct tr_span route; /* the template, or "/pkg.Service/Method" */
};

/* Appends the families of requests, summed over the workers, to out; routes by index, as many as
 * the workers' metrics were made for. Routes that were never asked for have no samples.
 * TR_ERR_NOMEM. */
enum tr_err tr_metrics_render(struct tr_buf *out, const struct tr_metrics *const *workers,
                              uint32_t worker_count, const struct tr_metrics_route *routes,
                              uint32_t route_count) TR_MUST_USE;
/* The same into a writer that goes on with other families. */
void tr_metrics_write(struct tr_expo *e, const struct tr_metrics *const *workers,
                      uint32_t worker_count, const struct tr_metrics_route *routes,
                      uint32_t route_count);

#endif
