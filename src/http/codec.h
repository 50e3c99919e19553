/* The seam between a server connection (h1_conn, h2_conn) and what serves its requests (the
 * exchange).
 *
 * Vocabulary: an *hstream* is one request and its answer on a client connection; its *sink* is the
 * exchange; the *service* makes sinks. HTTP/1.1 has one hstream at a time, HTTP/2 many.
 *
 * Contract
 *  1. The codec creates the hstream with its arena, fills the head, and calls service->on_request
 * once. The service sets hs->sink and hs->sink_ops and may answer at once. The codec then delivers
 * on_data (bytes valid during the call), on_end, or on_gone.
 *  2. Request body credit: bytes delivered by on_data count as unconsumed until the sink calls
 * ops->consume. HTTP/2 ends in WINDOW_UPDATEs, HTTP/1.1 in not reading the socket above the limit.
 *  3. Answer: ops->send_head, then body bytes appended by the sink directly to hs->out (no copy)
 * and announced by ops->commit; the last commit has end = true, or ops->send_trailers ends. A
 * complete small answer is: append to hs->out, send_head with content_length, commit(end). Nothing
 * is written to the socket before the end of the turn.
 *  4. ops->queued says how many body bytes wait in the codec; on_writable is called when it has
 * fallen below TR_OUT_LOW_BYTES after having reached TR_OUT_HIGH_BYTES; the sink stops producing
 * from the high mark on.
 *  5. on_gone: the client reset the stream or the connection is lost or timed out; from then on
 * only ops->release is legal. It may come at any time before release, never from inside an ops
 * call.
 *  6. The sink calls ops->release exactly once, when it needs the hstream and its arena no more;
 * the codec goes on by itself to flush what was committed. Releasing before the answer was ended
 * resets the stream.
 *  7. A refusal by the codec itself (malformed head) is still an hstream: on_request is called with
 * `refused` set to the error, so that the answer, the log and the counters are made in one place.
 */
#ifndef TR_HTTP_CODEC_H
#define TR_HTTP_CODEC_H

#include "base/arena.h"
#include "base/buf.h"
#include "http/msg.h"
#include "io/loop.h"
#include "io/stream.h"

#define TR_OUT_HIGH_BYTES ((size_t)256 * 1024)
#define TR_OUT_LOW_BYTES  ((size_t)64 * 1024)

struct tr_hstream;
struct tr_hconn;
struct tr_h2_pool;

enum tr_hreset {
    TR_HRESET_INTERNAL, /* h2 INTERNAL_ERROR; h1 cuts the connection */
    TR_HRESET_CANCEL,   /* h2 CANCEL */
    TR_HRESET_REFUSED,  /* h2 REFUSED_STREAM: not acted on */
    TR_HRESET_NO_ERROR, /* after a complete answer, when the body is not wanted any more (RFC 9113
                           §8.1) */
};

struct tr_hstream_ops {
    /* Interim 1xx. HTTP/2 and HTTP/1.1 only send 100; a no-op when not expected or already sent. */
    void (*send_continue)(struct tr_hstream *hs);
    /* Copies what it needs of head during the call. end: no body and no trailers follow. */
    enum tr_err (*send_head)(struct tr_hstream *hs, const struct tr_resp_head *head, bool end);
    /* New bytes stand in hs->out. */
    void (*commit)(struct tr_hstream *hs, bool end);
    /* Ends the answer; on h1 they are sent only in a chunked answer and when the client takes
     * trailers. Values are copied. */
    enum tr_err (*send_trailers)(struct tr_hstream *hs, const struct tr_headers *trailers);
    void (*reset)(struct tr_hstream *hs, enum tr_hreset why);
    void (*consume)(struct tr_hstream *hs, size_t bytes);
    size_t (*queued)(const struct tr_hstream *hs);
    void (*release)(struct tr_hstream *hs);
};

struct tr_hsink_ops {
    void (*on_data)(void *sink, struct tr_span data);
    /* trailers may be NULL. */
    void (*on_end)(void *sink, const struct tr_headers *trailers);
    void (*on_writable)(void *sink);
    /* CLIENT_GONE, BODY_TIMEOUT, CLIENT_STALLED, BAD_CHUNK, BAD_BODY_LENGTH ... For errors that
     * still allow an answer (BAD_CHUNK, BODY_TIMEOUT before the head of the answer is sent)
     * on_body_error is called instead. */
    void (*on_gone)(void *sink, enum tr_err why);
    void (*on_body_error)(void *sink, enum tr_err why);
};

struct tr_hstream {
    const struct tr_hstream_ops *ops;
    const struct tr_hsink_ops *sink_ops; /* set by on_request */
    void *sink;
    struct tr_hconn *conn;
    struct tr_arena arena; /* the exchange's lifetime */
    struct tr_req_head head;
    struct tr_buf
        out; /* body bytes not yet taken by the codec: the sink appends, the codec consumes */
    size_t out_pos;    /* the codec's: bytes of out already taken */
    uint64_t start_ns; /* first byte of the request */
    uint32_t id;       /* h2 stream id; counts up on h1 */
    bool head_sent;
};

/* Limits that are reached without an error. Written by the worker's thread alone (base/counter.h).
 */
struct tr_hstats {
    uint64_t idle_closed;     /* connections that had no request for keepalive_timeout */
    uint64_t streams_refused; /* HTTP/2 streams above max_concurrent_streams */
    uint64_t held;            /* times a connection reached max_buffered_bytes */
};

/* What all connections of a worker share: one read buffer, one write buffer, pools. Owned by the
 * worker. */
struct tr_hworker {
    struct tr_loop *loop;
    struct tr_block_cache *blocks;
    char *read_buf;          /* TR_HREAD_BYTES */
    struct tr_buf write_buf; /* filled and written within one call */
    struct tr_bufpool *bufs; /* for hstream.out and messages (base/bufpool.h) */
    char date[29];           /* Date of date_unix_s */
    int64_t date_unix_s;
    struct tr_h2_pool
        *h2_pool; /* NULL at first; http/h2_pool.h makes it, and frees it with the last session */
    struct tr_hstats stats;
    uint64_t *err_counts; /* TR_ERR__COUNT counters of this worker, by enum tr_err (written by this
                             thread only) */
};
#define TR_HREAD_BYTES ((size_t)64 * 1024)

/* The Date of this second, made anew only when the second has changed. */
struct tr_span tr_hworker_date(struct tr_hworker *worker);

/* SPEC §9; each has a configuration key of the same name. */
struct tr_hlimits {
    uint32_t max_headers;            /* 100 */
    uint32_t max_header_bytes;       /* 64 KiB */
    uint32_t max_path_bytes;         /* 8 KiB */
    uint32_t max_concurrent_streams; /* 100 */
    uint32_t max_buffered_bytes;     /* 8 MiB per connection: above it streams are held */
    uint64_t header_timeout_ns;      /* 10 s */
    uint64_t body_idle_timeout_ns;   /* 30 s */
    uint64_t write_timeout_ns;       /* 30 s without progress */
    uint64_t keepalive_timeout_ns;   /* 75 s */
    uint32_t max_resets; /* rapid resets and stream errors: burst (h2) 200, refilled at 10/s */
};

struct tr_hservice {
    void *ctx;
    /* refused: TR_OK or why the head is not acceptable. */
    void (*on_request)(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st);
    /* The connection is gone and its memory is about to be freed. */
    void (*on_conn_closed)(void *ctx, struct tr_hconn *conn);
};

/* What tr_hconn_drain and tr_hconn_abort call; set by the codec. */
struct tr_hconn_ops {
    void (*drain)(struct tr_hconn *conn);
    void (*abort)(struct tr_hconn *conn);
};

/* Common head of h1_conn and h2_conn. */
struct tr_hconn {
    const struct tr_hconn_ops *ops;
    struct tr_hworker *worker;
    const struct tr_hlimits *limits;
    const struct tr_hservice *service;
    struct tr_stream *stream;
    struct tr_list node;   /* in the server's list of connections */
    uint32_t open_streams; /* hstreams not yet released */
    bool is_h2, draining;
    void *user; /* the server's: listener, peer identity */
};

/* Takes over a ready stream. First bytes already read (protocol sniffing: the HTTP/2 preface on
 * cleartext) are passed on. */
enum tr_err tr_h1_conn_new(struct tr_hworker *worker, const struct tr_hlimits *limits,
                           const struct tr_hservice *service, struct tr_stream *stream,
                           struct tr_span first, void *user,
                           struct tr_hconn **ret_conn) TR_MUST_USE;
enum tr_err tr_h2_conn_new(struct tr_hworker *worker, const struct tr_hlimits *limits,
                           const struct tr_hservice *service, struct tr_stream *stream,
                           struct tr_span first, void *user,
                           struct tr_hconn **ret_conn) TR_MUST_USE;
/* h1: Connection: close on the current answer, closes when idle. h2: GOAWAY with the largest id
 * now, the last id at the second call (two steps, RFC 9113 §6.8), closes when the streams are done.
 */
void tr_hconn_drain(struct tr_hconn *conn);
/* Ends at once; sinks get on_gone. */
void tr_hconn_abort(struct tr_hconn *conn);

#endif
