#include "base/alloc.h"
#include "base/assert.h"
#include "io/stream_int.h"

/* Two ends and a ring of bytes for each direction. An end is freed in the round after its close, so
 * that callbacks further up the stack may still look at it. */
struct ring {
    char *bytes;
    size_t cap, head, len;
};

struct mem {
    struct tr_stream base;
    struct tr_task again; /* events of this end; its freeing after close */
    struct mem *peer;     /* NULL: the other end was closed */
    struct ring in;       /* what the other end wrote */
    bool in_ended, out_ended, was_reset;
};

static struct mem *mem_of(struct tr_stream *s)
{
    return (struct mem *)s;
}

static bool readable(const struct mem *m)
{
    return m->in.len > 0 || m->in_ended || m->was_reset;
}

static bool writable(const struct mem *m)
{
    return m->was_reset || m->out_ended || !m->peer || m->peer->in.len < m->peer->in.cap;
}

static void update(struct mem *m)
{
    if (m->base.state != TR_STREAM_OPEN)
        return;
    if ((m->base.want_read && readable(m)) || (m->base.want_write && writable(m)))
        tr_loop_next_turn(m->base.loop, &m->again);
}

static void mem_want(struct tr_stream *s)
{
    update(mem_of(s));
}

static void mem_free(struct mem *m)
{
    tr_free(m->in.bytes);
    tr_free(m);
}

static void on_again(struct tr_task *task)
{
    struct mem *m = tr_container_of(task, struct mem, again);
    struct tr_stream *s = &m->base;
    if (s->state == TR_STREAM_CLOSED) {
        mem_free(m);
        return;
    }
    if (s->want_read && readable(m) && s->events.on_readable)
        s->events.on_readable(s->ctx);
    if (s->state == TR_STREAM_OPEN && s->want_write && writable(m) && s->events.on_writable)
        s->events.on_writable(s->ctx);
    update(m); /* level-triggered */
}

static ssize_t mem_read(struct tr_stream *s, void *buf, size_t cap)
{
    struct mem *m = mem_of(s);
    struct ring *r = &m->in;
    if (m->was_reset) {
        s->error = "Connection reset by peer";
        return TR_STREAM_ERROR;
    }
    if (r->len == 0)
        return m->in_ended ? 0 : TR_STREAM_AGAIN;
    size_t n = 0;
    while (n < cap && r->len > 0) {
        size_t run = r->cap - r->head;
        if (run > r->len)
            run = r->len;
        if (run > cap - n)
            run = cap - n;
        memcpy((char *)buf + n, r->bytes + r->head, run);
        r->head = (r->head + run) % r->cap;
        r->len -= run;
        n += run;
    }
    if (m->peer)
        update(m->peer);
    return (ssize_t)n;
}

static ssize_t mem_writev(struct tr_stream *s, const struct tr_span *pieces, int count)
{
    struct mem *m = mem_of(s);
    if (m->was_reset || m->out_ended || !m->peer) {
        s->error = "Broken pipe";
        return TR_STREAM_ERROR;
    }
    struct ring *r = &m->peer->in;
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        struct tr_span left = pieces[i];
        while (left.len > 0 && r->len < r->cap) {
            size_t tail = (r->head + r->len) % r->cap;
            size_t run = tail >= r->head ? r->cap - tail : r->head - tail;
            if (run > left.len)
                run = left.len;
            memcpy(r->bytes + tail, left.ptr, run);
            r->len += run;
            total += run;
            left = tr_span_from(left, run);
        }
    }
    if (total)
        update(m->peer);
    return (ssize_t)total;
}

static void mem_shutdown(struct tr_stream *s)
{
    struct mem *m = mem_of(s);
    m->out_ended = true;
    if (m->peer) {
        m->peer->in_ended = true;
        update(m->peer);
    }
}

static void mem_close(struct tr_stream *s, bool hard)
{
    struct mem *m = mem_of(s);
    TR_ASSERT(s->state == TR_STREAM_OPEN);
    s->state = TR_STREAM_CLOSED;
    if (m->peer) {
        m->peer->in_ended = true;
        m->peer->was_reset = m->peer->was_reset || hard;
        m->peer->peer = NULL;
        update(m->peer);
        m->peer = NULL;
    }
    tr_task_cancel(&m->again);
    tr_loop_next_turn(s->loop, &m->again);
}

static const struct tr_stream_ops mem_ops = {
    mem_want, mem_read, mem_writev, mem_shutdown, mem_close,
};

static struct mem *mem_new(struct tr_loop *loop, size_t capacity)
{
    struct mem *m = tr_calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->in.bytes = tr_malloc(capacity);
    m->in.cap = capacity;
    if (!m->in.bytes) {
        tr_free(m);
        return NULL;
    }
    m->base.ops = &mem_ops;
    m->base.loop = loop;
    m->base.state = TR_STREAM_OPEN;
    tr_task_init(&m->again, on_again);
    return m;
}

enum tr_err tr_stream_mem_pair(struct tr_loop *loop, size_t capacity, struct tr_stream **ret_a,
                               struct tr_stream **ret_b)
{
    TR_ASSERT(capacity > 0);
    struct mem *a = mem_new(loop, capacity);
    struct mem *b = a ? mem_new(loop, capacity) : NULL;
    if (!b) {
        if (a)
            mem_free(a);
        return TR_ERR_NOMEM;
    }
    a->peer = b;
    b->peer = a;
    *ret_a = &a->base;
    *ret_b = &b->base;
    return TR_OK;
}
