/* Active health checks of endpoints by grpc.health.v1.Health/Check, over the connections that calls
 * use.
 *
 * Contract: each worker has a timer for each endpoint; whoever's comes first claims the check, so
 * that the process as a whole asks each endpoint once in `interval` (a tenth more or less), and the
 * result counts for all workers. SERVING is healthy; another status, another gRPC code, no answer
 * within `timeout` or no connection is unhealthy; UNIMPLEMENTED is healthy (a backend without the
 * service; one warning in the log for each upstream). A check that could not be sent because all
 * streams of all connections are in use says nothing. Before its first result an endpoint counts as
 * healthy. Checks are no calls: limits, breaker, outlier detection and counters of requests do not
 * see them. */
#ifndef TR_UPSTREAM_HEALTH_H
#define TR_UPSTREAM_HEALTH_H

#include "base/span.h"
#include "base/status.h"

#include <stdint.h>

struct tr_health_conf {
    uint64_t interval_ns, timeout_ns;
    struct tr_span service; /* empty: the server as a whole */
};

enum tr_health { TR_HEALTH_UNKNOWN, TR_HEALTH_HEALTHY, TR_HEALTH_UNHEALTHY };

struct tr_uendpoint;
struct tr_hcheck;

/* Begins to check the endpoint; TR_ERR_NOMEM. */
enum tr_err tr_hcheck_new(struct tr_uendpoint *e, const struct tr_health_conf *conf,
                          struct tr_hcheck **ret_check) TR_MUST_USE;
void tr_hcheck_free(struct tr_hcheck *check);
/* A connection of the endpoint became ready, or could not be made. */
void tr_hcheck_ready(struct tr_hcheck *check);
void tr_hcheck_failed(struct tr_hcheck *check);

/* The status in a serialized HealthCheckResponse (one gRPC frame), -1: it is none. Arithmetic only.
 */
int tr_health_status(struct tr_span frame);

#endif
