/* What a server and a client session share: the output path over one tr_stream, and the streams'
 * bytes to send.
 *
 * Vocabulary: a *source* is the buffer that a stream's DATA comes from; a *flush* turns all that
 * nghttp2 wants to send into one write. What the socket does not take is kept in `left`, and no
 * more is made until that is gone.
 *
 * Contract: the user pointer of the session is its tr_h2_sess. A flush runs at the end of the
 * loop's turn, never from inside a callback of nghttp2. DATA is copied once, from the source into
 * the worker's write buffer. One thread. */
#ifndef TR_HTTP_H2_SESS_H
#define TR_HTTP_H2_SESS_H

#include "http/codec.h"
#include "http/h2_pool.h"

#include <nghttp2/nghttp2.h>

/* Bytes made for one write; more waits for the next round. */
#define TR_H2_WRITE_BYTES ((size_t)128 * 1024)

struct tr_h2_source {
    struct tr_buf *buf; /* bytes before *pos are taken, those before `ready` may be */
    size_t *pos;
    size_t ready;
    /* Trailers to submit when the bytes are out, NULL when END_STREAM ends. */
    const struct tr_headers *trailers;
    bool end;      /* no more bytes will come */
    bool deferred; /* nghttp2 asked and there was nothing: resume */
    bool dead;     /* the buffer may be gone */
};

struct tr_h2_sess {
    nghttp2_session *ng;
    struct tr_h2_pool *pool;
    struct tr_h2_mem mem;
    struct tr_hworker *worker;
    struct tr_stream *stream;
    struct tr_buf left; /* made but not taken by the socket; from worker->bufs */
    size_t left_pos;
    uint64_t progress_ns; /* when the socket last took bytes, or there were none to take */
    bool full;            /* the round's bytes are made; send_data stops */
};

/* Callbacks that both sides set the same way: send_data. */
void tr_h2_sess_callbacks(nghttp2_session_callbacks *cb);
/* The options of both sides. */
void tr_h2_sess_options(nghttp2_option *opt);

/* Takes a reference to the pool; ng stays NULL. TR_ERR_NOMEM. */
enum tr_err tr_h2_sess_init(struct tr_h2_sess *s, struct tr_hworker *worker,
                            struct tr_stream *stream) TR_MUST_USE;
/* Deletes the session (not the stream). Never from inside a callback of nghttp2. Safe to repeat. */
void tr_h2_sess_fini(struct tr_h2_sess *s);

/* Feeds bytes: TR_OK, NOMEM, H2_FLOOD or H2_PROTOCOL. */
enum tr_err tr_h2_sess_feed(struct tr_h2_sess *s, const uint8_t *data, size_t len) TR_MUST_USE;

enum tr_h2_flush {
    TR_H2_FLUSHED, /* nothing is left to send */
    TR_H2_BLOCKED, /* the socket is full: want writable */
    TR_H2_MORE,    /* enough for this round: flush again */
    TR_H2_BROKEN,  /* the socket failed */
    TR_H2_NOMEM,   /* nghttp2 failed */
};
enum tr_h2_flush tr_h2_sess_flush(struct tr_h2_sess *s);

/* What a read gave: the bytes are in worker->read_buf. */
ssize_t tr_h2_sess_read(struct tr_h2_sess *s);

/* The provider of a source. */
nghttp2_data_provider tr_h2_source_provider(struct tr_h2_source *src);
static inline size_t tr_h2_source_queued(const struct tr_h2_source *src)
{
    return src->dead ? 0 : src->ready - *src->pos;
}
/* All of the buffer may be taken now; end: no more will come. Returns the bytes that are new. */
size_t tr_h2_source_commit(struct tr_h2_source *src, bool end);
/* Drops taken bytes from the front of the buffer: all of them with `force`, else when that is
 * cheap. */
void tr_h2_source_compact(struct tr_h2_source *src, bool force);
/* Tells nghttp2 of new bytes, or of the end. */
void tr_h2_source_resume(struct tr_h2_sess *s, int32_t stream_id, struct tr_h2_source *src);

/* A stream's receive window. It begins at TR_H2_WINDOW_FIRST and grows once, when so much was
 * consumed that more would make the transfer faster, and while the budget of the worker allows. */
#define TR_H2_WINDOW_FIRST ((int32_t)64 * 1024)
#define TR_H2_WINDOW_LARGE ((int32_t)512 * 1024)
#define TR_H2_WINDOW_GROWS ((uint32_t)256 * 1024) /* bytes consumed before */
struct tr_h2_window {
    uint32_t consumed; /* until it has grown */
    bool large;
};
void tr_h2_window_consume(struct tr_h2_sess *s, int32_t stream_id, struct tr_h2_window *window,
                          size_t bytes);
/* The stream is gone. */
void tr_h2_window_end(struct tr_h2_sess *s, struct tr_h2_window *window);

/* A field for nghttp2: the name is not copied when it is a known token's. */
nghttp2_nv tr_h2_nv(const struct tr_header *h);
nghttp2_nv tr_h2_nv_static(const char *name, size_t name_len, struct tr_span value);

#define TR_H2_NV_STACK 64 /* fields that need no allocation */
/* Room for count fields: the caller's array of TR_H2_NV_STACK when it is enough; NULL when out of
 * memory. */
nghttp2_nv *tr_h2_nvs(struct tr_h2_sess *s, size_t count, nghttp2_nv *stack);
void tr_h2_nvs_done(struct tr_h2_sess *s, nghttp2_nv *nva, const nghttp2_nv *stack);

/* Counts an error that no exchange will count. */
static inline void tr_h2_count(struct tr_hworker *worker, enum tr_err err)
{
    if (worker->err_counts)
        __atomic_store_n(&worker->err_counts[err], worker->err_counts[err] + 1, __ATOMIC_RELAXED);
}

#endif
