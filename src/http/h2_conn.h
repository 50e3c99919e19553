/* The HTTP/2 server connection's insides, shared by its files: h2_conn.c (life, input, timers),
 * h2_recv.c (what nghttp2 tells), h2_send.c (the hstream ops). The interface is http/codec.h. */
#ifndef TR_HTTP_H2_CONN_H
#define TR_HTTP_H2_CONN_H

#include "http/codec.h"
#include "http/h2_guard.h"
#include "http/h2_scan.h"
#include "http/h2_sess.h"

/* The connection's window is credited as bytes arrive, so that a stream that is not consumed never
 * stops the others; what a client may send unconsumed is bounded by the windows of the streams
 * (http/h2_sess.h). */
#define TR_H2_CONN_WINDOW ((int32_t)1024 * 1024)

/* Ranges of stream ids that the client skipped: HEADERS on one is a protocol error (RFC 9113
 * §5.1.1), while HEADERS on one that was opened and closed are trailers that crossed with our
 * reset. */
#define TR_H2_GAPS 8
struct tr_h2_gap {
    uint32_t first, last;
};

struct tr_h2_conn {
    struct tr_hconn base;
    struct tr_h2_sess sess;
    struct tr_task task;   /* end of turn: flush, then settle */
    struct tr_timer timer; /* one for all time-outs, coarse */
    struct tr_list streams;
    struct tr_buf first; /* bytes that were read before the connection was made */
    size_t buffered;     /* answer bytes waiting, all streams */
    uint64_t start_ns;
    uint64_t idle_ns;    /* when the last stream ended */
    uint64_t head_ns;    /* first byte of a header block that is not complete; 0: none */
    int32_t head_id;     /* its stream */
    uint64_t refused_ns; /* when a stream was last reset or refused by us; 0: never */
    struct tr_h2_bucket resets, flood;
    struct tr_h2_scan scan;
    struct tr_h2_gap gaps[TR_H2_GAPS];
    uint32_t last_id; /* the highest stream id the client used */
    uint32_t gap_next;
    uint32_t linger_bytes; /* read and thrown away after the end */
    enum tr_err why;       /* what ends the connection, told to the sinks */
    uint8_t drain_step;
    uint8_t busy;      /* inside nghttp2 or a walk of streams */
    bool got_settings; /* the preface and SETTINGS have arrived */
    bool quitting;     /* GOAWAY is on its way; input is ignored */
    bool dead;         /* to be torn down as soon as nothing is busy */
    bool torn;         /* session and sinks are gone */
    bool lingering;    /* our side is shut, the rest of the input is thrown away */
    bool held;         /* a sink was told to stop for the connection's sake */
    bool writable_due; /* some stream wants on_writable */
    bool errors_due;   /* some stream has error_due */
};

struct tr_h2_stream {
    struct tr_hstream hs;
    struct tr_list node;
    struct tr_h2_source src;
    struct tr_headers trailers_in, trailers_out;
    struct tr_span target;
    uint32_t field_bytes, field_count; /* of the block being received */
    uint32_t unconsumed;
    struct tr_h2_window window;
    uint64_t recv_ns; /* last body byte */
    uint64_t sent_ns; /* last answer byte taken, or when there were none */
    enum tr_err refused;
    enum tr_err why; /* of a stream that nghttp2 ends */
    bool telling;    /* on_gone is running: do not free */
    bool requested;  /* on_request was called */
    bool remote_end; /* the request is complete */
    bool local_end;  /* END_STREAM is sent */
    bool ended;      /* the sink has ended its answer */
    bool released;
    bool closed;       /* nghttp2 knows the stream no more */
    bool sink_off;     /* no callbacks to the sink: it reset, released, or was told on_gone */
    bool own_reset;    /* RST_STREAM by the sink's wish: not the client's fault */
    bool no_error_due; /* RST_STREAM(NO_ERROR) after END_STREAM */
    bool error_due;    /* RST_STREAM(INTERNAL_ERROR) when all is sent that can be */
    bool above_high;
    bool sent_100;
    bool body_late; /* on_body_error was called */
};

static inline struct tr_h2_conn *tr_h2_conn_of(struct tr_hconn *conn)
{
    return tr_container_of(conn, struct tr_h2_conn, base);
}
static inline struct tr_h2_conn *tr_h2_conn_of_sess(void *user)
{
    return tr_container_of(user, struct tr_h2_conn, sess);
}
static inline struct tr_h2_stream *tr_h2_stream_of(struct tr_hstream *hs)
{
    return tr_container_of(hs, struct tr_h2_stream, hs);
}

extern const struct tr_hstream_ops tr_h2_stream_ops;

/* Sets what nghttp2 calls (h2_recv.c). */
void tr_h2_conn_callbacks(nghttp2_session_callbacks *cb);
/* Counts a frame that carries nothing, whatever nghttp2 makes of it; too many end the connection.
 */
void tr_h2_conn_count_frame(struct tr_h2_conn *conn, const struct tr_h2_frame_head *f);
/* True when a frame on this stream is an error because the stream is closed (RFC 9113 §5.1). */
bool tr_h2_conn_closed_is_error(const struct tr_h2_conn *conn, int32_t id);
/* Queues the end-of-turn task. */
static inline void tr_h2_conn_kick(struct tr_h2_conn *conn)
{
    if (!conn->torn)
        tr_loop_defer(conn->base.worker->loop, &conn->task);
}
/* GOAWAY(code), then the end; counts `why`. Legal inside callbacks. */
void tr_h2_conn_quit(struct tr_h2_conn *conn, enum tr_err why, uint32_t code);
/* After work that may have ended the connection; conn may be freed. */
void tr_h2_conn_settle(struct tr_h2_conn *conn);
/* A stream was opened: the timer must be near. */
void tr_h2_conn_active(struct tr_h2_conn *conn);

/* NULL when out of memory. */
struct tr_h2_stream *tr_h2_stream_new(struct tr_h2_conn *conn, int32_t id);
/* nghttp2 has closed it, or the connection is gone: tells the sink unless all is done, and frees
 * when released. */
void tr_h2_stream_closed(struct tr_h2_stream *st, enum tr_err why);
void tr_h2_stream_rst(struct tr_h2_stream *st, uint32_t code);
/* Calls on_writable where due (h2_send.c). */
void tr_h2_conn_writable(struct tr_h2_conn *conn);

#endif
