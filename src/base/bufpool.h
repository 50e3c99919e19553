/* Buffers kept for reuse by one worker, so that steady traffic allocates nothing. Not thread-safe.
 *
 * Vocabulary: the *classes* are the powers of two from TR_BUFPOOL_MIN to TR_BUFPOOL_MAX; a kept
 * buffer is of the largest class that its capacity fills. Small and large ones are kept apart, so
 * that a request that needs 300 bytes never holds 64 KiB, and one that needs 64 KiB does not grow
 * there through eight copies. */
#ifndef TR_BASE_BUFPOOL_H
#define TR_BASE_BUFPOOL_H

#include "base/buf.h"

#define TR_BUFPOOL_MIN_SHIFT 11
#define TR_BUFPOOL_CLASSES   8
#define TR_BUFPOOL_MIN       ((size_t)1 << TR_BUFPOOL_MIN_SHIFT) /* 2 KiB: what get gives */
/* 256 KiB */
#define TR_BUFPOOL_MAX      ((size_t)1 << (TR_BUFPOOL_MIN_SHIFT + TR_BUFPOOL_CLASSES - 1))
#define TR_BUFPOOL_KEEP_MIN ((size_t)1 << 20) /* bytes kept of the smallest class */
#define TR_BUFPOOL_KEEP     ((size_t)4 << 20) /* bytes kept of all others */

struct tr_bufpool_item;

struct tr_bufpool {
    struct tr_bufpool_item *free[TR_BUFPOOL_CLASSES];
    uint32_t count[TR_BUFPOOL_CLASSES]; /* kept */
    uint32_t
        least[TR_BUFPOOL_CLASSES]; /* kept at any time since the last decay: nobody needed these */
    size_t kept_min, kept;         /* bytes: of the smallest class, of the others */
    uint64_t dropped;              /* bytes given back to the heap, since the start */
};

void tr_bufpool_init(struct tr_bufpool *pool);
void tr_bufpool_fini(struct tr_bufpool *pool);
/* An empty buffer of TR_BUFPOOL_MIN bytes. Never fails: when there is no memory it has no capacity,
 * and its first append fails. */
struct tr_buf tr_bufpool_get(struct tr_bufpool *pool);
/* Takes the buffer over; *b is empty after. One above TR_BUFPOOL_MAX, or one too many, goes back to
 * the heap. */
void tr_bufpool_put(struct tr_bufpool *pool, struct tr_buf *b);
/* tr_buf_reserve, where growing takes a larger buffer from the pool and gives the old one back.
 * TR_ERR_NOMEM leaves the buffer as it was. */
enum tr_err tr_bufpool_grow(struct tr_bufpool *pool, struct tr_buf *b, size_t extra) TR_MUST_USE;
static inline TR_MUST_USE enum tr_err tr_bufpool_reserve(struct tr_bufpool *pool, struct tr_buf *b,
                                                         size_t extra)
{
    return b->cap - b->len >= extra ? TR_OK : tr_bufpool_grow(pool, b, extra);
}

/* Frees those above the smallest class that were not needed since the last call. */
void tr_bufpool_decay(struct tr_bufpool *pool);

#endif
