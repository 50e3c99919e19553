/* An exchange: one request and its answer, whatever dialect it came in.
 *
 * Vocabulary: an exchange is the *sink* of an hstream (http/codec.h) and the owner of a call
 * (upstream/upstream.h); it walks the steps of steps.def; its *dialect* (REST or native gRPC) knows
 * how to take the request and put the answer.
 *
 * Contract
 *  1. tr_exchange_service is what codecs call; nothing else makes exchanges. An exchange lies in
 * its hstream's arena and is gone when the hstream is released, which happens in FINISH, once.
 *  2. Until a byte of the answer has left, any step may go to REPLY; after that a failure resets
 * the stream. RETRY -> ACQUIRE is the only way back.
 *  3. Everything runs on the worker's thread. */
#ifndef TR_PIPELINE_EXCHANGE_H
#define TR_PIPELINE_EXCHANGE_H

#include "base/bufpool.h"
#include "base/ip.h"
#include "config/snapshot.h"
#include "http/codec.h"
#include "http/coding.h"
#include "pipeline/filter.h"
#include "pipeline/identity.h"
#include "upstream/upstream.h"

enum tr_step {
#define STEP(name, text) TR_STEP_##name,
#include "pipeline/steps.def"
#undef STEP
    TR_STEP__COUNT
};
const char *tr_step_name(enum tr_step step);

struct tr_metrics; /* obs/metrics.h */
struct tr_exchange;

#define TR_PAUSED_MAX 4096 /* exchanges of one worker that wait for an answer from elsewhere */

/* What all exchanges of a worker share. */
struct tr_pworker {
    struct tr_hworker *h;
    struct tr_snapshot *snap;
    struct tr_cluster **clusters; /* by upstream index */
    struct tr_metrics *metrics;
    const struct tr_filter *const *filters;
    uint32_t filter_count;
    void **filter_worker;       /* what each filter's worker_start gave */
    struct tr_mailbox *mailbox; /* to this worker */
    struct tr_mailbox *control; /* to the control thread; NULL in tests */
    struct tr_dns *dns;
    struct tr_arena scratch; /* rewound after each message */
    struct tr_coding_pool codings;
    struct tr_buf tmp;        /* decoded bytes of one chunk; never held across a turn */
    struct tr_list exchanges; /* those not finished */
    uint32_t exchange_count;
    uint64_t id_state[2];                      /* of generated request ids */
    struct tr_exchange *paused[TR_PAUSED_MAX]; /* by slot; a full table is TR_ERR_OVERLOADED */
    uint32_t paused_generation[TR_PAUSED_MAX];
    uint16_t paused_free[TR_PAUSED_MAX]; /* slots that were used and are not */
    uint16_t paused_free_count, paused_used;
    uint64_t late_resumes;    /* of exchanges that had finished */
    uint64_t dropped_headers; /* values outside %x20-7E, both ways */
    uint64_t bad_utf8;        /* invalid sequences in strings of backends */
    bool draining;
    /* Answers /healthz and /readyz where a listener asks for it; NULL elsewhere. True when it took
     * the request. */
    bool (*health)(struct tr_pworker *w, struct tr_exchange *x);
    _Atomic bool *ready;
    /* Called once for each exchange, in FINISH, before filters give back what they hold; NULL. */
    void (*on_finish)(struct tr_exchange *x);
};

/* What the server knows of a connection: its tr_hconn.user. */
struct tr_peer {
    const struct tr_listener_conf *listener;
    struct tr_addr addr;
    char ip[64]; /* text, without port */
    uint8_t ip_len;
    bool tls;
    /* of the client certificate, found when it is first asked for (filters/client_cert.c) */
    bool certificate_seen, certificate_shown;
    uint32_t certificate_rule;
    struct tr_stream *stream; /* of a TLS connection, while it has requests; else NULL */
};

struct tr_dialect {
    const char *name;
    /* RECEIVE: the head is complete and admitted; body data may follow. */
    enum tr_err (*begin)(struct tr_exchange *x);
    enum tr_err (*on_body)(struct tr_exchange *x, struct tr_span data);
    enum tr_err (*on_body_end)(struct tr_exchange *x);
    void (*on_head)(struct tr_exchange *x, unsigned http_status, const struct tr_headers *headers,
                    bool end);
    enum tr_err (*on_data)(struct tr_exchange *x, struct tr_span data);
    /* The attempt failed before a byte of a message came, and is made again: forget its head. May
     * be NULL. */
    void (*again)(struct tr_exchange *x);
    /* The call ended properly. */
    void (*on_end)(struct tr_exchange *x, const struct tr_headers *trailers);
    /* Answer with the failure in x->st / x->rpc; no byte of an answer has left. */
    void (*refuse)(struct tr_exchange *x);
    /* The same after the answer began: end it so that nobody takes it for a success. */
    void (*abort)(struct tr_exchange *x);
    /* Time has come or a message passed: does what is due, returns when to look again (monotonic
     * ns), 0: never. May be NULL. */
    uint64_t (*tick)(struct tr_exchange *x, uint64_t now_ns);
    /* Returns what it holds; may be NULL. */
    void (*free)(struct tr_exchange *x);
};
extern const struct tr_dialect tr_dialect_rest, tr_dialect_grpc;

/* How the call or the request ended, in gRPC's terms. */
struct tr_rpc_end {
    uint8_t code;         /* gRPC */
    bool from_backend;    /* else made by the gateway: err names it */
    uint16_t http_status; /* 0: from the code; else an HTTP-level refusal keeps its own */
    enum tr_err err;
    struct tr_span message; /* decoded UTF-8 */
    struct tr_span details; /* serialized google.rpc.Status, may be empty */
};

/* Bits of tr_exchange.fail_open, set by the filter that let the request pass, or decided by what
 * this process alone knows. */
enum tr_fail_open {
    TR_FAIL_OPEN_AUTHENTICATION = 1,
    TR_FAIL_OPEN_QUOTA = 2,
    TR_FAIL_LOCAL_QUOTA = 4
};

struct tr_rest; /* pipeline/rest.h */

struct tr_exchange {
    struct tr_pworker *w;
    struct tr_hstream *hs;
    struct tr_snapshot *snap;
    struct tr_list node;
    const struct tr_dialect *dialect;
    const struct tr_route *route;   /* NULL until found */
    const struct tr_policy *policy; /* never NULL */
    struct tr_route_match *match;   /* REST */
    struct tr_rest *rest;           /* REST's own state */
    void *grpc;                     /* native gRPC's */
    enum tr_step step;
    uint32_t metrics_row; /* tr_route.index, or TR_METRICS_NO_ROUTE */

    struct tr_headers metadata; /* to send upstream */
    struct tr_buf req;          /* gRPC frames to the backend */
    size_t req_open_at;         /* where the half-written one begins */
    struct tr_ucall call;
    uint8_t attempts;
    uint8_t backoffs;            /* since the backend last said when (pipeline/attempt.h) */
    uint16_t previous_base;      /* grpc-previous-rpc-attempts as the client sent it */
    uint32_t previous_at;        /* index + 1 of that header in metadata */
    uint32_t timeout_at;         /* the same of grpc-timeout */
    uint32_t resp_mark;          /* resp_headers before the attempt added to them */
    struct tr_timer try_timer;   /* the delay of RETRY, else per_try_timeout */
    struct tr_headers kept_head; /* see head_kept */
    const struct tr_endpoint_conf *avoid; /* where an attempt has failed */
    uint64_t avoid_key;
    uint64_t call_start_ns; /* of the last attempt; 0: none */

    uint64_t deadline_ns;     /* monotonic; 0: none */
    uint64_t last_message_ns; /* streams: for stream_idle_timeout */
    size_t seen_sent;         /* call.req_pos when the time was last looked at */
    struct tr_timer timer;

    struct tr_headers resp_headers; /* of the answer, being made */
    struct tr_rpc_end end;
    struct tr_status *st;         /* detail of a failure, in the arena; NULL: none */
    size_t held;                  /* upstream bytes not yet consumed: the client does not read */
    size_t body_held;             /* client bytes not yet consumed: the backend does not read */
    uint64_t bytes_in, bytes_out; /* bodies */

    /* Where the time went: each step's share, what a failed attempt took being RETRY's. */
    uint64_t step_ns; /* when the step began */
    uint64_t spent_ns[TR_STEP__COUNT];
    uint64_t connect_ns;               /* of ACQUIRE: until the call had a stream */
    uint64_t pause_ns;                 /* when the filter that waits began to */
    uint32_t waits_us[TR_FILTERS_MAX]; /* of ADMIT: paused, by filter */

    struct tr_ip client_ip; /* pipeline/client_addr.h, which alone reads these four */
    struct tr_span client_text;

    /* filters */
    const struct tr_identity *identity; /* NULL: anonymous */
    void **filter_state;
    uint8_t filter_at, filter_ran;
    uint16_t pause_slot;  /* + 1; 0: not paused */
    uint16_t http_status; /* of the answer; 0: none was sent */
    uint8_t depth; /* callbacks under way: the exchange is freed when the outermost returns */

    bool client_known, client_has_ip;
    uint8_t fail_open; /* enum tr_fail_open: passed though a dependency could not say so */
    bool preflight;    /* an OPTIONS request that asks for route->verb (CORS): no body, no call */
    bool metadata_made;
    bool body_end;   /* the client has sent everything */
    bool body_begun; /* dialect->begin was called: data goes to the dialect */
    bool call_open;  /* a call is started and has not ended */
    bool head_sent;  /* the head of the answer is with the codec */
    bool ended;      /* nothing more is to be done: finishes when the outermost callback returns */
    bool gone;       /* the client left */
    bool head_only;  /* HEAD */
    bool req_open;  /* a message is half-written at the end of req: its place must not move, nothing
                       of it be sent */
    bool req_ended; /* its last byte stands in req */
    bool head_kept; /* kept_head is the backend's, which the dialect has not seen yet */
    bool answer_begun; /* a byte of a message has come: no further attempt */
    bool req_dropped;  /* bytes of req were dropped: no further attempt */
    bool streaming_in, streaming_out;
    struct tr_buf early; /* body that came while paused */
};

void tr_pworker_init(struct tr_pworker *w, struct tr_hworker *h, struct tr_snapshot *snap);
void tr_pworker_fini(struct tr_pworker *w);
/* For tr_hservice.on_request; ctx is the worker. */
void tr_exchange_service(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                         const struct tr_status *st);

/* A place for detail; never NULL (a shared one when out of memory). Cleared. */
struct tr_status *tr_exchange_status(struct tr_exchange *x);
/* Ends the exchange with a failure of the gateway: refuse before the answer, abort after. The only
 * way to fail. */
void tr_exchange_fail(struct tr_exchange *x, enum tr_err err);
/* The same with the backend's status (x->end set). */
void tr_exchange_fail_rpc(struct tr_exchange *x);
/* Fills x->metadata, once; on failure x->st says why. */
enum tr_err tr_exchange_metadata(struct tr_exchange *x) TR_MUST_USE;
/* Starts (or starts again) the call: x->metadata complete. */
enum tr_err tr_exchange_acquire(struct tr_exchange *x) TR_MUST_USE;
/* The dialect has sent everything: the exchange finishes when the outermost callback returns. */
void tr_exchange_done(struct tr_exchange *x);
/* Around every entry from outside (codec, call, timer, resume). */
static inline void tr_exchange_enter(struct tr_exchange *x)
{
    x->depth++;
}
void tr_exchange_leave(struct tr_exchange *x);
/* Sends the head: runs on_response hooks; content_length and end as in tr_resp_head / send_head. */
enum tr_err tr_exchange_send_head(struct tr_exchange *x, unsigned status, int64_t content_length,
                                  bool end);
enum tr_err tr_exchange_header(struct tr_exchange *x, struct tr_span name, struct tr_span value,
                               enum tr_token token);
/* Retry-After in whole seconds, rounded up (RFC 9110 §10.2.3); UINT64_MAX: it would be of no use,
 * none. Without memory the answer goes without. */
void tr_exchange_retry_after(struct tr_exchange *x, uint64_t wait_ns);
/* Bytes of the request that a backend may have: not those of a message that is half-written. */
static inline size_t tr_exchange_ready(const struct tr_exchange *x)
{
    return x->req_open ? x->req_open_at : x->req.len;
}
/* Nanoseconds left until the deadline; UINT64_MAX without one. */
uint64_t tr_exchange_left_ns(const struct tr_exchange *x);
/* Deadline from policy and headers; starts the timer. BAD_TIMEOUT, DEADLINE. */
enum tr_err tr_exchange_arm(struct tr_exchange *x) TR_MUST_USE;
/* The only setter of x->step; asserts that the step may follow. */
void tr_exchange_step(struct tr_exchange *x, enum tr_step step);

/* What the hooks of filter `id` (its place in the list of filters) have made; may be NULL. */
static inline void *tr_filter_conf(const struct tr_exchange *x, uint32_t id)
{
    return x->snap->filter_conf ? x->snap->filter_conf[id] : NULL;
}
static inline void *tr_filter_worker(const struct tr_exchange *x, uint32_t id)
{
    return x->w->filter_worker ? x->w->filter_worker[id] : NULL;
}

/* Names a paused exchange to whoever will resume it. */
struct tr_handle {
    uint32_t slot, generation;
};
/* false: too many wait (the caller fails with OVERLOADED). */
bool tr_exchange_pause(struct tr_exchange *x, struct tr_handle *ret_handle);
void tr_exchange_unpause(struct tr_exchange *x);
/* Goes on with the filter that paused; a handle whose exchange has finished is counted and ignored.
 */
void tr_exchange_resume(struct tr_pworker *w, struct tr_handle handle);

#endif
