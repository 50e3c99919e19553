/* Inside of the HTTP/1.1 server connection; its face is tr_h1_conn_new in codec.h.
 *
 * Two halves meet here. The input half (h1_in.c) turns bytes into heads, body and their end. The
 * output half (h1_out.c) turns what the sink commits into one gathered write at the end of the
 * turn. They share this struct and run on one loop.
 *
 * States of the input: HEAD (between requests or within a head) -> BODY -> DONE (until the answer
 * is out) -> HEAD ...; a body that nobody wants is read in DISCARD, up to a bound; SWALLOW drops
 * whatever comes, because the connection ends after this answer; LINGER is the same after our FIN.
 * States of the answer: NONE -> HEAD (status line and headers staged, framing open) -> BODY ->
 * FORMED (all of it stands in the output pieces). Output pieces, in the order of the wire: stage,
 * body_now bytes of hs.out, tail, trailers. */
#ifndef TR_HTTP_H1_CONN_H
#define TR_HTTP_H1_CONN_H

#include "base/bufpool.h"
#include "http/codec.h"
#include "http/h1_chunk.h"
#include "http/h1_parse.h"

enum h1_input { H1_IN_HEAD, H1_IN_BODY, H1_IN_DISCARD, H1_IN_DONE, H1_IN_SWALLOW, H1_IN_LINGER };
enum h1_answer { H1_ANS_NONE, H1_ANS_HEAD, H1_ANS_BODY, H1_ANS_FORMED };
enum h1_deadline { H1_DL_NONE, H1_DL_IDLE, H1_DL_HEAD, H1_DL_BODY, H1_DL_LINGER };

#define H1_BODY_WINDOW                                                                             \
    ((size_t)64 * 1024) /* unconsumed bytes above which the socket is not read                     \
                         */
#define H1_PIPELINE_MAX                                                                            \
    ((size_t)16 * 1024)                      /* bytes of later requests above which it is not read \
                                              */
#define H1_DISCARD_MAX ((uint64_t)64 * 1024) /* of an unwanted body, to keep the connection */
#define H1_LINGER_MAX  ((uint64_t)1024 * 1024) /* read and dropped after our FIN */
#define H1_LINGER_NS   ((uint64_t)2000000000)
#define H1_FOLD_MAX                                                                                \
    ((size_t)64 * 1024) /* answers to pipelined requests gathered into one write                   \
                         */

struct h1_conn {
    struct tr_hconn base;
    struct tr_hstream hs; /* the request being served */
    struct tr_timer timer, write_timer;
    struct tr_task task; /* the end of the turn */
    uint64_t deadline_ns;
    uint32_t
        depth; /* calls from outside that are on the stack: not freed before the last returns */
    uint8_t deadline; /* enum h1_deadline */

    /* input */
    uint8_t input; /* enum h1_input */
    struct tr_h1_limits limits;
    struct tr_h1_scan scan;
    struct tr_h1_chunk chunk;
    struct tr_buf in; /* bytes read and not used: a partial head, or later requests */
    size_t in_pos;
    size_t unconsumed;
    uint64_t body_left; /* with Content-Length */
    uint64_t dropped;   /* in DISCARD and LINGER */
    uint64_t head_ns;   /* first byte of the head in progress */
    bool chunked_in, expect, eof, asked_close;

    /* the stream */
    bool live; /* given to the service, not released */
    bool gone; /* the sink must not be called any more */
    bool deaf; /* the sink wants no more of the body */

    /* output */
    uint8_t answer; /* enum h1_answer */
    struct tr_buf stage;
    size_t stage_pos;
    size_t committed; /* hs.out up to here may be sent */
    size_t body_now;  /* after hs.out_pos */
    struct tr_span tail;
    struct tr_buf trailers;
    size_t trailers_pos;
    int64_t length; /* of the body, as the sink said; -1 unknown */
    uint64_t formed_bytes;
    bool is_head, te_trailers, no_body, chunked_out,
        to_eof;       /* to_eof: the end of the connection ends the body */
    bool ended;       /* the sink has committed the end */
    bool close_after; /* no request after this one */
    bool cut;         /* the answer stays incomplete: close when what is formed is out */
    bool blocked;     /* the socket took less than there was */
    bool over_high;
    bool closed; /* the stream is gone; freed when nothing refers to it */
};

static inline struct h1_conn *h1_of(struct tr_hconn *conn)
{
    return tr_container_of(conn, struct h1_conn, base);
}

static inline void h1_enter(struct h1_conn *c)
{
    c->depth++;
}
/* May free c. */
void h1_leave(struct h1_conn *c);

/* To the end of the turn. */
static inline void h1_defer(struct h1_conn *c)
{
    if (!c->closed)
        tr_loop_defer(c->base.worker->loop, &c->task);
}
static inline bool h1_sink_listens(const struct h1_conn *c)
{
    return c->live && !c->gone;
}
void h1_tell_gone(struct h1_conn *c, enum tr_err why);
/* The stream is closed at once; a sink that still waits hears why. */
void h1_lost(struct h1_conn *c, enum tr_err why);
void h1_close(struct h1_conn *c, bool abort);
void h1_set_deadline(struct h1_conn *c, enum h1_deadline what, uint64_t delay_ns);
void h1_update_want(struct h1_conn *c);

/* h1_in.c */
/* What was read and not used. */
struct tr_span h1_in_pending(const struct h1_conn *c);
/* Bytes from the socket: used as far as the state allows, the rest kept. */
void h1_in_take(struct h1_conn *c, struct tr_span data);
/* The same for what was kept. */
void h1_in_feed_pending(struct h1_conn *c);
/* FIN. */
void h1_in_ended(struct h1_conn *c);
/* The answer is out and its request read: the next may begin. */
void h1_in_next(struct h1_conn *c);
/* A head that cannot be served still becomes a stream, with as much of its first line as is known.
 */
void h1_in_refuse(struct h1_conn *c, struct tr_span buf, enum tr_err err, struct tr_status *st);
void h1_in_body_failed(struct h1_conn *c, enum tr_err err);
/* The sink has no use for the rest of the body. */
void h1_in_discard_body(struct h1_conn *c);

/* h1_out.c */
extern const struct tr_hstream_ops h1_stream_ops;
void h1_out_begin(struct h1_conn *c);
/* Turns what is committed into output pieces. */
enum tr_err h1_out_form(struct h1_conn *c) TR_MUST_USE;
/* All pieces into the stage, so that the next answer can follow in the same write; false when it
 * would grow too large. */
bool h1_out_fold(struct h1_conn *c);
size_t h1_out_pending(const struct h1_conn *c);
/* One gathered write; TR_ERR_CLIENT_GONE when the connection is lost. */
enum tr_err h1_out_write(struct h1_conn *c) TR_MUST_USE;
/* Buffers go back when nothing stands in them. */
void h1_out_reset(struct h1_conn *c);

#endif
