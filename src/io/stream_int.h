/* The common head of all kinds of streams. Not seen by other layers. */
#ifndef TR_IO_STREAM_INT_H
#define TR_IO_STREAM_INT_H

#include "io/loop_int.h"
#include "io/stream.h"
#include "io/tls_conn.h"

#define TR_STREAM_PIECES_MAX 16

struct tr_stream_ops {
    void (*want)(struct tr_stream *s); /* s->want_* were set */
    ssize_t (*read)(struct tr_stream *s, void *buf, size_t cap);
    ssize_t (*writev)(struct tr_stream *s, const struct tr_span *pieces, int count);
    void (*shutdown)(struct tr_stream *s);
    void (*close)(struct tr_stream *s, bool abort);
};

enum tr_stream_state {
    TR_STREAM_CONNECTING,
    TR_STREAM_HANDSHAKING,
    TR_STREAM_OPEN,
    TR_STREAM_FAILED,    /* on_ready had, or will have, the error */
    TR_STREAM_LINGERING, /* the owner is gone, a record is still to be sent */
    TR_STREAM_CLOSED,
};

struct tr_stream {
    const struct tr_stream_ops *ops;
    struct tr_loop *loop;
    struct tr_stream_events events;
    void *ctx;
    const char *error; /* static text; NULL: none */
    struct tr_tls_conn *tls;
    enum tr_stream_state state;
    bool want_read, want_write;
    struct tr_addr peer;
};

static inline bool tr_stream_is_live(const struct tr_stream *s)
{
    return s->state < TR_STREAM_LINGERING;
}

/* Static text of an errno value, in English. */
const char *tr_stream_errno_text(int err);

/* Closes by force what still flushes; frees pooled objects. The loop's, when it goes. */
void tr_stream_end_lingering(struct tr_loop *loop);
void tr_stream_pool_drop(struct tr_loop *loop);

#endif
