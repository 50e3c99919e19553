/* The insides of a cluster, shared by the files of this folder.
 *
 * Vocabulary: an *endpoint* is one address of the configuration or of a name's answer; it is idle
 * (never tried), up, or down (the last connect failed); *blocked* while it is ejected or unhealthy;
 * *ramping* while slow start lasts. A *uconn* is one connection of it:
 * connecting (until the peer's SETTINGS), ready, or draining (no new streams). */
#ifndef TR_UPSTREAM_UPSTREAM_INT_H
#define TR_UPSTREAM_UPSTREAM_INT_H

#include "http/h2_client.h"
#include "upstream/eslot.h"
#include "upstream/ring.h"
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
    uint64_t grow_ns;    /* no further connection before: the last failed beside one that works */
    int64_t smooth;      /* round robin: the current weight */
    uint32_t active;     /* calls with a stream */
    uint32_t conn_count; /* all but draining ones */
    uint32_t connecting;
    enum tr_endpoint_state state;
    enum tr_err last_err;
    uint64_t key;          /* of the address */
    struct tr_eslot *slot; /* what all workers know of it: in the upstream's table, or &own */
    struct tr_eslot own;
    struct tr_hcheck *check; /* NULL: no active health checks */
    uint64_t ramp_ns;        /* when slow start began; 0: it has its whole weight */
    uint64_t back_ns;        /* the last return from being out that was seen */
    bool blocked;            /* gets no calls: ejected or unhealthy, and there are others */
    bool late;               /* came with a later answer of its name: slow start when it is up */
    bool gone;               /* not in the name's answer any more */
    bool fresh;              /* seen in the answer that is being applied */
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
    bool answered; /* once at least */
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
    struct tr_list waiting;         /* pending ones that were looked at in this round */
    struct tr_ring *ring;           /* over live; NULL: not ring_hash, or no memory */
    uint64_t look_ns;               /* when the next ejection ends */
    uint32_t version;               /* of shared->version, when standing was last looked at */
    bool stale;                     /* look at it again */
    bool panic;                     /* everything that is not down is out: used all the same */
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
static inline uint32_t tr_cluster_random(struct tr_cluster *c)
{
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(c->random >> 32);
}
/* Runs the task at the end of the turn. */
static inline void tr_cluster_kick(struct tr_cluster *c)
{
    if (!c->freeing)
        tr_loop_defer(c->worker->loop, &c->task);
}

/* ---- balance.c: arithmetic only -------------------------------------------------------------- */

struct tr_pick {
    enum tr_balance how;
    uint64_t now_ns, slow_start_ns;
    const struct tr_endpoint_conf *avoid; /* and avoid_key: as in struct tr_ucall */
    uint64_t avoid_key;
    const struct tr_ring *ring; /* NULL: at random instead */
    uint64_t hash;
    bool hashed;
};

static inline bool tr_pick_avoids(const struct tr_pick *pick, const struct tr_uendpoint *e)
{
    return pick->avoid && pick->avoid == e->conf &&
           (pick->avoid_key == 0 || pick->avoid_key == e->key);
}
static inline bool tr_uendpoint_usable(const struct tr_uendpoint *e)
{
    return e->state != TR_ENDPOINT_DOWN && !e->blocked;
}
/* How much of its weight slow start gives it, in 1/1024: from a tenth to the whole. */
uint32_t tr_uendpoint_share(const struct tr_uendpoint *e, uint64_t now_ns, uint64_t slow_start_ns);

/* Index of the endpoint for the next stream among the usable ones, count when there is none. An
 * avoided one only when it is the only one. *random is advanced. */
uint32_t tr_balance_pick(const struct tr_pick *pick, struct tr_uendpoint *const *live,
                         uint32_t count, uint64_t *random);

/* ---- standing.c: which endpoints may be used ------------------------------------------------- */

/* Looks at ejections and health again when something has changed: cheap when nothing has. */
void tr_cluster_look_again(struct tr_cluster *c);
static inline void tr_cluster_look(struct tr_cluster *c)
{
    if (c->stale || tr_cluster_now(c) >= c->look_ns ||
        c->version != atomic_load_explicit(&c->upstream->shared->version, memory_order_acquire))
        tr_cluster_look_again(c);
}
/* Tells all workers that ejections or health have changed. */
void tr_cluster_changed(struct tr_cluster *c);
/* The circle of ring_hash, after endpoints came or went. */
void tr_cluster_make_ring(struct tr_cluster *c);
/* A call of the endpoint ended, for outlier detection. */
void tr_uendpoint_outcome(struct tr_uendpoint *e, bool failure);
/* "10.0.0.1:80 (dns:///x:80)" for the log, into out. */
#define TR_ENDPOINT_TEXT_MAX 400
const char *tr_uendpoint_text(const struct tr_uendpoint *e, char *out);

/* ---- endpoint.c ------------------------------------------------------------------------------ */

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

/* ---- connpool.c ------------------------------------------------------------------------------ */

/* One more connection, when the endpoint may have one and none is on its way. */
void tr_uendpoint_grow(struct tr_uendpoint *e);
/* A ready connection with room for a stream, NULL. */
struct tr_uconn *tr_uendpoint_room(const struct tr_uendpoint *e);
/* For the stream of a call; starts what connections are missing. NULL: none is ready, or the one
 * that its hash belongs to is on its way. */
struct tr_uconn *tr_cluster_conn(struct tr_cluster *c, const struct tr_ucall *call);
bool tr_cluster_has_ready(const struct tr_cluster *c);
bool tr_cluster_is_connecting(const struct tr_cluster *c);
void tr_uconn_close(struct tr_uconn *conn);
/* No new streams; closes when the last ends. */
void tr_uconn_drain(struct tr_uconn *conn);

/* ---- call.c ---------------------------------------------------------------------------------- */

/* Ends it for its owner. */
void tr_ucall_end(struct tr_ucall *call, enum tr_err err, uint32_t h2_code,
                  const struct tr_headers *trailers);
/* Puts a pending call on a connection; on failure (NOMEM) it is still pending. */
enum tr_err tr_ucall_assign(struct tr_ucall *call, struct tr_uconn *conn);

#endif
