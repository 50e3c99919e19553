/* Buffers kept for reuse by one worker, so that steady traffic allocates nothing. Not thread-safe. */
#ifndef TR_BASE_BUFPOOL_H
#define TR_BASE_BUFPOOL_H

#include "base/buf.h"

#define TR_BUFPOOL_KEEP      64                  /* buffers kept */
#define TR_BUFPOOL_KEEP_CAP  ((size_t)128 * 1024) /* a larger one is freed when it comes back */

struct tr_bufpool {
    struct tr_buf free[TR_BUFPOOL_KEEP];
    unsigned count;
};

static inline void tr_bufpool_init(struct tr_bufpool *pool)
{
    pool->count = 0;
}
void tr_bufpool_fini(struct tr_bufpool *pool);
/* An empty buffer, with capacity when one was kept; never fails (a new one allocates at its first append). */
struct tr_buf tr_bufpool_get(struct tr_bufpool *pool);
/* Takes the buffer over; *b is empty after. */
void tr_bufpool_put(struct tr_bufpool *pool, struct tr_buf *b);

#endif
