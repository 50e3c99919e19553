#include "base/bufpool.h"

void tr_bufpool_fini(struct tr_bufpool *pool)
{
    while (pool->count)
        tr_buf_fini(&pool->free[--pool->count]);
}

struct tr_buf tr_bufpool_get(struct tr_bufpool *pool)
{
    if (pool->count)
        return pool->free[--pool->count];
    return (struct tr_buf){NULL, 0, 0};
}

void tr_bufpool_put(struct tr_bufpool *pool, struct tr_buf *b)
{
    if (b->cap && b->cap <= TR_BUFPOOL_KEEP_CAP && pool->count < TR_BUFPOOL_KEEP) {
        pool->free[pool->count++] = (struct tr_buf){b->ptr, 0, b->cap};
        tr_buf_init(b);
        return;
    }
    tr_buf_fini(b);
}
