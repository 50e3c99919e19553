#include "io/stream.h"

#include "base/assert.h"
#include "io/stream_int.h"

void tr_stream_set_events(struct tr_stream *s, const struct tr_stream_events *events, void *ctx)
{
    s->events = *events;
    s->ctx = ctx;
}

void tr_stream_want(struct tr_stream *s, bool readable, bool writable)
{
    s->want_read = readable;
    s->want_write = writable;
    s->ops->want(s);
}

ssize_t tr_stream_read(struct tr_stream *s, void *buf, size_t cap)
{
    return s->ops->read(s, buf, cap);
}

ssize_t tr_stream_write(struct tr_stream *s, const void *data, size_t len)
{
    struct tr_span piece = tr_span(data, len);
    return s->ops->writev(s, &piece, 1);
}

ssize_t tr_stream_writev(struct tr_stream *s, const struct tr_span *pieces, int count)
{
    TR_ASSERT(count >= 0 && count <= TR_STREAM_PIECES_MAX);
    return s->ops->writev(s, pieces, count);
}

void tr_stream_shutdown(struct tr_stream *s)
{
    s->ops->shutdown(s);
}

void tr_stream_close(struct tr_stream *s, bool abort)
{
    s->ops->close(s, abort);
}

bool tr_stream_is_tls(const struct tr_stream *s)
{
    return s->tls != NULL;
}

struct tr_span tr_stream_alpn(const struct tr_stream *s)
{
    return s->tls ? tr_tls_conn_alpn(s->tls) : TR_SPAN("");
}

const struct tr_addr *tr_stream_peer(const struct tr_stream *s)
{
    return &s->peer;
}

struct tr_span tr_stream_error(const struct tr_stream *s)
{
    if (s->error)
        return tr_span_cstr(s->error);
    return s->tls ? tr_tls_conn_error(s->tls) : TR_SPAN("");
}

struct tr_span tr_stream_peer_certificate(const struct tr_stream *s)
{
    return s->tls ? tr_tls_conn_certificate(s->tls) : TR_SPAN("");
}

struct tr_span tr_stream_sni(const struct tr_stream *s)
{
    return s->tls ? tr_tls_conn_sni(s->tls) : TR_SPAN("");
}
