/* Memory of HTTP/2 sessions: one free list by size for each worker.
 *
 * nghttp2 allocates some ten small blocks for each request and, for each session, a frame buffer of
 * 16 KiB of which an ordinary session touches the first page only. The pool serves the small blocks
 * from lists by size, so that a warm worker calls malloc for none, and the frame buffers from
 * mapped pages, so that an idle session pays for one page of its buffer.
 *
 * When the heap gives nothing more, small blocks come from a reserve, and the session that got one
 * is marked `low`: its owner must end it. So nghttp2 never sees an allocation fail in the middle of
 * its work, where 1.52 may free a block twice.
 *
 * Ownership: the pool belongs to a worker (worker->h2_pool), is made for its first session and
 * freed with the last reference to it. One thread. Blocks are never given back to the system before
 * that: the peak is kept. */
#ifndef TR_HTTP_H2_POOL_H
#define TR_HTTP_H2_POOL_H

#include "http/codec.h"

#include <nghttp2/nghttp2.h>

/* A reference to the worker's pool, making it when there is none; NULL when out of memory. */
struct tr_h2_pool *tr_h2_pool_ref(struct tr_hworker *worker);
void tr_h2_pool_unref(struct tr_h2_pool *pool);

/* A session's allocator: fills *ret_mem, whose user pointer is *user; both must live as long as the
 * session. */
struct tr_h2_mem {
    struct tr_h2_pool *pool;
    bool low; /* the reserve was used */
};
void tr_h2_pool_mem(struct tr_h2_pool *pool, struct tr_h2_mem *user, nghttp2_mem *ret_mem);

/* For our own objects that live and die with streams. Not zeroed; NULL when out of memory. */
void *tr_h2_pool_alloc(struct tr_h2_pool *pool, size_t size);
void tr_h2_pool_free(struct tr_h2_pool *pool, void *ptr);

/* Flow-control windows beyond the first ones, of all streams of the worker together: what stalled
 * streams may hold in memory is bounded, however many there are. False when the budget is spent. */
#define TR_H2_WINDOW_BUDGET ((size_t)16 * 1024 * 1024)
bool tr_h2_pool_take_window(struct tr_h2_pool *pool, size_t bytes);
void tr_h2_pool_give_window(struct tr_h2_pool *pool, size_t bytes);

#endif
