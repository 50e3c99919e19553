#include "io/watch.h"

#include "base/assert.h"

_Static_assert((int)TR_WATCH_READ == (int)UV_READABLE && (int)TR_WATCH_WRITE == (int)UV_WRITABLE,
               "masks are handed to libuv as they are");

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct tr_watch *w = poll->data;
    tr_loop_enter(w->loop);
    unsigned ev = (unsigned)events & (TR_WATCH_READ | TR_WATCH_WRITE);
    if (status < 0) {
        /* libuv has stopped the handle; the owner finds the error by reading or writing, and when
         * it does not, the mask is set again before the next sleep and this is called again. */
        ev = w->want;
        w->now = 0;
        if (w->want && tr_list_empty(&w->change))
            tr_list_push_back(&w->loop->changes, &w->change);
    }
    ev &= w->want; /* an earlier callback of this round may have lost interest */
    if (ev)
        w->fn(w, ev);
}

enum tr_err tr_watch_init(struct tr_watch *w, struct tr_loop *loop, int fd,
                          void (*fn)(struct tr_watch *w, unsigned events))
{
    int rc = uv_poll_init(&loop->uv, &w->poll, fd);
    if (rc != 0)
        return rc == UV_ENOMEM ? TR_ERR_NOMEM : TR_ERR_IO;
    w->poll.data = w;
    w->loop = loop;
    w->fn = fn;
    w->closed = NULL;
    tr_list_init(&w->change);
    w->want = w->now = 0;
    return TR_OK;
}

void tr_watch_want(struct tr_watch *w, unsigned mask)
{
    w->want = (uint8_t)mask;
    if (w->want != w->now && tr_list_empty(&w->change))
        tr_list_push_back(&w->loop->changes, &w->change);
}

static void on_close(uv_handle_t *handle)
{
    struct tr_watch *w = handle->data;
    w->closed(w);
}

void tr_watch_close(struct tr_watch *w, void (*closed)(struct tr_watch *w))
{
    tr_list_remove(&w->change);
    w->want = w->now = 0;
    w->closed = closed;
    uv_close((uv_handle_t *)&w->poll, on_close);
}

void tr_watch_apply(struct tr_loop *loop)
{
    struct tr_list *node;
    while ((node = tr_list_pop_front(&loop->changes)) != NULL) {
        struct tr_watch *w = tr_container_of(node, struct tr_watch, change);
        if (w->want == w->now)
            continue;
        int rc = w->want ? uv_poll_start(&w->poll, w->want, on_poll) : uv_poll_stop(&w->poll);
        TR_ASSERT(rc == 0);
        w->now = w->want;
    }
}
