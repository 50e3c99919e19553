/* Upstreams: named clusters of endpoints, called with gRPC over HTTP/2.
 *
 * Vocabulary: an *upstream* is a name with endpoints and settings (configuration, immutable,
 * `struct tr_upstream_conf`); its *cluster* is what one worker makes of it: resolved endpoints,
 * connections, queue; a *call* is one attempt on behalf of an exchange: it waits (pending), gets a
 * stream on a connection (active), and ends exactly once. State that counts for the process
 * (max_requests, max_pending) is a pair of atomics in the shared part.
 *
 * Contract
 *  1. tr_ucall_start never calls back from inside; it fails at once only for limits and memory.
 * After TR_OK exactly one on_end comes, unless tr_ucall_cancel is called first, after which nothing
 * comes. Both free the call's resources.
 *  2. Balancing is per stream: least_request (the better of two random ready endpoints by
 * active/weight; all of them when at most four) or round_robin (weighted, smooth). An endpoint is
 * down after a failed connect, retried with backoff (100 ms doubling to 5 s) and on demand; calls
 * fail over to others; when none is up within connect_timeout, pending calls end with
 * UPSTREAM_CONNECT.
 *  3. The peer's MAX_CONCURRENT_STREAMS is respected: more connections up to max_connections, then
 * the queue (max_pending). GOAWAY: no new streams, streams above its last id end with
 * UPSTREAM_GOAWAY (safe to retry), the others finish.
 *  4. Request bytes: the caller appends gRPC frames to *call->req (a tr_buf it owns) and calls
 * tr_ucall_commit; the cluster reads from it as flow control allows, never changing it;
 * call->req_pos says how much is taken. on_writable comes when less than TR_OUT_LOW_BYTES wait
 * after more than TR_OUT_HIGH_BYTES did. The caller may drop taken bytes only through
 *     tr_ucall_compact.
 *  5. Response bytes: on_data's span is valid during the call; its bytes count against the stream's
 * flow-control window until tr_ucall_consume. Windows are set so that one stalled call cannot stop
 * its connection.
 *  6. `progress` (NOT_SENT, SENT, ANSWERED) is kept for retry safety.
 *  7. Each attempt has one *outcome*, for the circuit breaker and outlier detection. What ends by
 * itself (on_end) is judged here, by its grpc-status or by why it ended. What the caller ends, it
 * must report with tr_ucall_report before tr_ucall_cancel; a call that is cancelled without a
 * report (the client left) counts neither way. Failures are UNAVAILABLE, INTERNAL, UNKNOWN, our
 * DEADLINE_EXCEEDED, resets, lost connections, failed connects and malformed answers; the rest,
 * other statuses of the backend included, is success. A deadline that comes before the client has
 * finished its request says nothing.
 *  8. An endpoint is *blocked* while it is ejected or fails its health check: it gets no calls.
 * When no endpoint is left that is neither blocked nor down, the blocked ones are used (*panic*).
 */
#ifndef TR_UPSTREAM_UPSTREAM_H
#define TR_UPSTREAM_UPSTREAM_H

#include "base/arena.h"
#include "base/buf.h"
#include "http/codec.h"
#include "http/msg.h"
#include "io/dns.h"
#include "io/loop.h"
#include "io/tls_ctx.h"
#include "upstream/breaker.h"
#include "upstream/budget.h"
#include "upstream/health.h"
#include "upstream/outlier.h"
#include "upstream/retry.h"

#include <stdatomic.h>

enum tr_balance { TR_BALANCE_LEAST_REQUEST, TR_BALANCE_ROUND_ROBIN, TR_BALANCE_RING_HASH };

/* What the hash of ring_hash is made of: configuration; the caller of tr_ucall_start computes it.
 */
enum tr_hash_on { TR_HASH_ON_NOTHING, TR_HASH_ON_HEADER, TR_HASH_ON_CLAIM, TR_HASH_ON_FIELD };

struct tr_endpoint_conf {
    struct tr_span
        text; /* as written: "10.0.0.1:50051", "[::1]:1", "dns:///name:port", "unix:/path" */
    struct tr_span host; /* name of a dns:/// endpoint, else empty */
    uint16_t port;
    struct tr_addr addr;      /* of a numeric or unix endpoint; len 0 for names */
    struct tr_span authority; /* default :authority: host:port as written, "localhost" for unix */
    uint32_t weight;          /* at least 1 */
};

struct tr_upstream_conf {
    struct tr_span name;
    const struct tr_endpoint_conf *endpoints;
    uint32_t endpoint_count;
    struct tr_tls_ctx *tls;     /* NULL: cleartext */
    struct tr_span server_name; /* for SNI and verification; empty: the endpoint's host */
    struct tr_span authority;   /* empty: the endpoint's */
    enum tr_balance balance;
    uint64_t connect_timeout_ns;
    uint32_t max_connections;              /* per endpoint and worker */
    uint32_t max_requests, max_pending;    /* per process */
    uint32_t max_header_bytes;             /* of an answer, 64 KiB */
    const struct tr_breaker_conf *breaker; /* NULL: none */
    const struct tr_outlier_conf *outlier; /* NULL: none */
    const struct tr_health_conf *health;   /* NULL: none */
    uint64_t slow_start_ns;                /* 0: none */
    struct tr_budget_conf budget;
    enum tr_hash_on hash_on;
    struct tr_span hash_name; /* header in lower case, claim, or dotted field path */
};

struct tr_eslot; /* upstream/eslot.h */

/* The part of an upstream that all workers share; lives as long as the snapshot. */
struct tr_upstream_shared {
    _Atomic uint32_t active, pending;
    struct tr_budget budget; /* of retries; the exchange's, as the counts of them */
    struct tr_retry_counts retries;
    struct tr_breaker breaker;
    struct tr_eslot
        *slots; /* what is known of endpoints, by address; NULL: each worker for itself */
    uint32_t slot_count;
    _Atomic uint32_t ejected;    /* endpoints that are, or were not yet seen to be back */
    _Atomic uint32_t version;    /* changes when an endpoint is ejected, comes back, or its health
                                    changes */
    _Atomic bool health_warned;  /* that a backend has no health service */
    _Atomic uint64_t names_told; /* bit by endpoint: the log has that its name does not resolve */
};

struct tr_upstream { /* one of a snapshot */
    const struct tr_upstream_conf *conf;
    struct tr_upstream_shared *shared;
    uint32_t index;
};

/* Counters of one cluster (one worker); read by the admin thread with relaxed loads. */
struct tr_cluster_stats {
    uint64_t requests, connects, connect_failures, connections_closed, resets_received, goaways,
        pending_overflow, active_overflow;
    uint64_t dns_failures;
    uint64_t breaker_refused, ejections, checks_healthy, checks_unhealthy;
    uint32_t active_requests, pending_requests, connections, endpoints, endpoints_up;
};

struct tr_cluster;
enum tr_err tr_cluster_new(struct tr_hworker *worker, struct tr_dns *dns,
                           const struct tr_upstream *upstream,
                           struct tr_cluster **ret_cluster) TR_MUST_USE;
/* Retires it: idle connections close, busy ones when their calls end; then it frees itself. */
void tr_cluster_retire(struct tr_cluster *cluster);
/* Frees it at once; calls still open end with UPSTREAM_CLOSED. */
void tr_cluster_free(struct tr_cluster *cluster);
const struct tr_cluster_stats *tr_cluster_stats(const struct tr_cluster *cluster);
/* After BREAKER_OPEN: until a call may be let through, for Retry-After; at least 1. */
uint64_t tr_cluster_retry_after_ns(const struct tr_cluster *cluster);

/* States of the process, for /metrics; any thread. */
struct tr_upstream_state {
    uint32_t breaker; /* 0 closed, 1 half-open, 2 open */
    uint64_t breaker_opened;
    uint32_t ejected, unhealthy; /* endpoints */
};
struct tr_upstream_state tr_upstream_state(const struct tr_upstream *upstream, uint64_t now_ns);

enum tr_progress { TR_PROGRESS_NOT_SENT, TR_PROGRESS_SENT, TR_PROGRESS_ANSWERED };

/* Else clients could open the breaker for all others by asking for answers in no time. */
#define TR_CALL_PATIENCE_NS ((uint64_t)50 * 1000 * 1000)

struct tr_ucall;
struct tr_ucall_events {
    /* Initial metadata: status is HTTP's. `end`: a trailers-only answer (on_end follows with the
     * same headers as trailers). */
    void (*on_head)(void *ctx, unsigned http_status, const struct tr_headers *headers, bool end);
    void (*on_data)(void *ctx, struct tr_span data);
    /* err TR_OK: the stream ended properly (END_STREAM) and trailers has what came (may be empty);
     * else why not. DEADLINE: the backend cancelled the stream when deadline_ns had come. h2_code:
     * the RST_STREAM code received, or ~0u. The call is gone after this. */
    void (*on_end)(void *ctx, enum tr_err err, uint32_t h2_code, const struct tr_headers *trailers);
    void (*on_writable)(void *ctx);
};

struct tr_ucall { /* embedded in the exchange; zeroed before tr_ucall_start */
    /* Set by the caller before start; must live as long as the call: */
    const struct tr_ucall_events *events;
    void *ctx;
    struct tr_span path;              /* "/pkg.Service/Method" */
    struct tr_span authority;         /* override; empty: the upstream's */
    const struct tr_headers *headers; /* metadata to send, complete (te, content-type, grpc-timeout
                                         included), lower case */
    struct tr_buf *req;
    size_t req_hold;        /* bytes at the end of *req that must wait for a commit: of a message
                               half-written at start */
    struct tr_arena *arena; /* for response headers and trailers */
    uint64_t deadline_ns;   /* when the caller gives up; 0: never. A backend that says
                               DEADLINE_EXCEEDED by then says what we would have said */
    bool unary;             /* the answer has one message: success without it is malformed */
    bool hasty;    /* that is the client's own deadline, sooner than ours: it says nothing of the
                      backend when it comes within TR_CALL_PATIENCE_NS */
    uint64_t hash; /* ring_hash: of what the request is to be kept together by */
    bool hashed;   /* hash is set; else any endpoint */
    const struct tr_endpoint_conf *avoid; /* of a failed attempt: not this one, if another is
                                             there; NULL */
    uint64_t avoid_key; /* the endpoint_key of that attempt: tells addresses of one name apart; 0:
                           all of `avoid` */
    /* Read by the caller: */
    enum tr_progress progress;
    size_t req_pos;                          /* bytes of req handed to the connection */
    const struct tr_endpoint_conf *endpoint; /* where it went; NULL while pending */
    uint64_t endpoint_key;                   /* the same, by address; 0 while pending */
    uint64_t opened_ns; /* when it got a stream of a connection; 0 while pending */
    /* The cluster's: */
    struct tr_cluster *cluster;
    void *stream; /* the request on its connection; NULL while pending */
    void *conn;   /* that connection */
    struct tr_list node;
    uint64_t start_ns, pending_since_ns;
    size_t req_ready; /* bytes of *req that were committed */
    int32_t stream_id;
    uint32_t unconsumed;
    uint8_t moves; /* times it went back to the queue unsent */
    bool req_end, started;
    bool reported;        /* its outcome is known */
    bool has_data;        /* of the answer */
    uint16_t http_status; /* of the answer's head */
    uint32_t ticket;      /* the breaker's */
};

/* BREAKER_OPEN: answer 503 with Retry-After (tr_cluster_retry_after_ns). UPSTREAM_ACTIVE,
 * UPSTREAM_PENDING, NOMEM. Nothing is to be reported for a call that did not start. */
enum tr_err tr_ucall_start(struct tr_ucall *call, struct tr_cluster *cluster) TR_MUST_USE;
/* New bytes stand in *req; end: the last. May be called before the call has a stream. */
void tr_ucall_commit(struct tr_ucall *call, bool end);
/* Drops the taken bytes of *req (req_pos goes to 0). */
void tr_ucall_compact(struct tr_ucall *call);
void tr_ucall_consume(struct tr_ucall *call, size_t bytes);
/* The outcome of an attempt that the caller is about to end with tr_ucall_cancel, or judges
 * otherwise than its grpc-status does: grpc_code as the client would get it, `ours` when the
 * gateway made it (DEADLINE_EXCEEDED counts as a failure only then; so report per_try_timeout as
 * (4, true)). The first report of an attempt counts, later ones and those after its end do nothing.
 * Not for a client that left: cancel without a report. */
void tr_ucall_report(struct tr_ucall *call, int grpc_code, bool ours);
/* The same for a failure that the gateway named: DEADLINE before the first byte of an answer's
 * body, UPSTREAM_*; others say nothing of the backend and are left unreported. */
void tr_ucall_report_err(struct tr_ucall *call, enum tr_err err);
/* RST_STREAM(CANCEL) when it has a stream; no event follows. Harmless on a call that ended. */
void tr_ucall_cancel(struct tr_ucall *call);

#endif
