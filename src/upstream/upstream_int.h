/* The insides of a cluster, shared by the files of this folder.
 *
 * Vocabulary: an *endpoint* is one address of the configuration or of a name's answer; it is idle
 * (never tried), up, or down (the last connect failed). A *uconn* is one connection of it:
 * connecting (until the peer's SETTINGS), ready, or draining (no new streams). */
#ifndef TR_UPSTREAM_UPSTREAM_INT_H
#define TR_UPSTREAM_UPSTREAM_INT_H

#include "http/h2_client.h"
#include "upstream/upstream.h"

#define TR_BACKOFF_MIN_NS ((uint64_t)100 * 1000 * 1000)
#define TR_BACKOFF_MAX_NS ((uint64_t)5 * 1000 * 1000 * 1000)
#define TR_CALL_MOVES     3 /* times an unsent call goes to another connection */

enum tr_endpoint_state { TR_ENDPOINT_IDLE, TR_ENDPOINT_UP, TR_ENDPOINT_DOWN };

struct tr_uendpoint {
    struct tr_list node; /* cluster->endpoints */
    struct tr_cluster *cluster;
    const struct tr_endpoint_conf *conf;
    struct tr_addr addr;
    struct tr_list conns;
    uint64_t down_ns;
    uint64_t backoff_ns; /* doubles with each failure until an answer comes */
    int64_t smooth;      /* round robin: the current weight */
    uint32_t active;     /* calls with a stream */
    uint32_t conn_count; /* all but draining ones */
    uint32_t connecting;
    enum tr_endpoint_state state;
    enum tr_err last_err;
    bool gone;  /* not in the name's answer any more */
    bool fresh; /* seen in the answer that is being applied */
};

enum tr_uconn_state { TR_UCONN_CONNECTING, TR_UCONN_READY, TR_UCONN_DRAINING };

struct tr_uconn {
    struct tr_list node; /* endpoint->conns */
    struct tr_uendpoint *endpoint;
    struct tr_stream *stream;    /* until the client takes it */
    struct tr_h2_client *client; /* NULL before on_ready */
    struct tr_timer timer;       /* connect_timeout */
    uint64_t ready_ns;
    enum tr_uconn_state state;
    bool used; /* a call has had a stream on it */
};

/* A name of the configuration. */
struct tr_uname {
    struct tr_cluster *cluster;
    const struct tr_endpoint_conf *conf;
    struct tr_dns_query *query;
    struct tr_timer timer;
    bool failed;
};

struct tr_cluster {
    struct tr_hworker *worker;
    struct tr_dns *dns;
    const struct tr_upstream *upstream;
    struct tr_cluster_stats stats;
    struct tr_list endpoints;
    struct tr_uendpoint **live; /* those that new calls may use */
    uint32_t live_count, live_cap;
    struct tr_uname *names;
    uint32_t name_count;
    struct tr_list pending, active; /* calls */
    struct tr_task task;            /* gives streams to pending calls, or ends them */
    struct tr_timer timer; /* the next time-out of a pending call or retry of an endpoint */
    uint64_t random;
    uint64_t fail_ns; /* when a connect failed last: pending calls older than that have had their
                         chance */
    bool retired, freeing;
};

/* Counters are read by another thread. */
#define TR_STAT_ADD(field, n) __atomic_store_n(&(field), (field) + (n), __ATOMIC_RELAXED)
#define TR_STAT_SET(field, v) __atomic_store_n(&(field), (v), __ATOMIC_RELAXED)

static inline uint64_t tr_cluster_now(const struct tr_cluster *c)
{
    return tr_loop_now_ns(c->worker->loop);
}
/* Runs the task at the end of the turn. */
static inline void tr_cluster_kick(struct tr_cluster *c)
{
    if (!c->freeing)
        tr_loop_defer(c->worker->loop, &c->task);
}

/* ---- balance.c: arithmetic only
 * -------------------------------------------------------------------- */

/* Index of the endpoint for the next stream among those not down, count when there is none. *random
 * is advanced. */
uint32_t tr_balance_pick(enum tr_balance how, struct tr_uendpoint *const *live, uint32_t count,
                         uint64_t *random);

/* ---- endpoint.c
 * ---------------------------------------------------------------------------------------- */

/* Adds one address; TR_ERR_NOMEM. */
enum tr_err tr_uendpoint_new(struct tr_cluster *c, const struct tr_endpoint_conf *conf,
                             const struct tr_addr *addr,
                             struct tr_uendpoint **ret_endpoint) TR_MUST_USE;
/* Closes what it has; the endpoint must be out of `live`. */
void tr_uendpoint_free(struct tr_uendpoint *e);
void tr_uendpoint_up(struct tr_uendpoint *e);
void tr_uendpoint_down(struct tr_uendpoint *e, enum tr_err why);
/* When a down endpoint is tried again: of itself, and at the earliest when a call wants it. */
uint64_t tr_uendpoint_retry_ns(const struct tr_uendpoint *e);
uint64_t tr_uendpoint_demand_ns(const struct tr_uendpoint *e);
/* Begins and ends resolving. */
enum tr_err tr_uname_start(struct tr_uname *name) TR_MUST_USE;
void tr_uname_stop(struct tr_uname *name);
/* Counts states into the stats. */
void tr_cluster_count_endpoints(struct tr_cluster *c);

/* ---- connpool.c
 * ------------------------------------------------------------------------------------------ */

/* One more connection, when the endpoint may have one and none is on its way. */
void tr_uendpoint_grow(struct tr_uendpoint *e);
/* A ready connection with room for a stream, NULL. */
struct tr_uconn *tr_uendpoint_room(const struct tr_uendpoint *e);
/* For the next stream of the cluster; starts what connections are missing. NULL: none is ready. */
struct tr_uconn *tr_cluster_conn(struct tr_cluster *c);
bool tr_cluster_has_ready(const struct tr_cluster *c);
bool tr_cluster_is_connecting(const struct tr_cluster *c);
void tr_uconn_close(struct tr_uconn *conn);
/* No new streams; closes when the last ends. */
void tr_uconn_drain(struct tr_uconn *conn);

/* ---- call.c
 * -------------------------------------------------------------------------------------------------
 */

/* Ends it for its owner. */
void tr_ucall_end(struct tr_ucall *call, enum tr_err err, uint32_t h2_code,
                  const struct tr_headers *trailers);
/* Puts a pending call on a connection; on failure (NOMEM) it is still pending. */
enum tr_err tr_ucall_assign(struct tr_ucall *call, struct tr_uconn *conn);

#endif
