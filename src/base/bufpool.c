#include "base/bufpool.h"

#include "base/alloc.h"

#include <limits.h>

/* Lies in the first bytes of the kept buffer itself. */
struct tr_bufpool_item {
    struct tr_bufpool_item *next;
    size_t cap;
};

static unsigned log2_of(size_t n)
{
    return (unsigned)(sizeof(unsigned long) * CHAR_BIT - 1) - (unsigned)__builtin_clzl(n);
}

static size_t *kept_of(struct tr_bufpool *pool, unsigned class)
{
    return class == 0 ? &pool->kept_min : &pool->kept;
}

void tr_bufpool_init(struct tr_bufpool *pool)
{
    *pool = (struct tr_bufpool){.kept = 0};
}

void tr_bufpool_fini(struct tr_bufpool *pool)
{
    for (unsigned i = 0; i < TR_BUFPOOL_CLASSES; i++)
        for (struct tr_bufpool_item *next, *it = pool->free[i]; it; it = next) {
            next = it->next;
            tr_free(it);
        }
    tr_bufpool_init(pool);
}

/* One of the class, kept or new; no capacity when out of memory. */
static struct tr_buf take(struct tr_bufpool *pool, unsigned class)
{
    struct tr_bufpool_item *it = pool->free[class];
    if (it) {
        pool->free[class] = it->next;
        *kept_of(pool, class) -= it->cap;
        if (--pool->count[class] < pool->least[class])
            pool->least[class] = pool->count[class];
        return (struct tr_buf){(char *)it, 0, it->cap};
    }
    size_t cap = TR_BUFPOOL_MIN << class;
    char *p = tr_malloc(cap);
    return (struct tr_buf){p, 0, p ? cap : 0};
}

static void drop(struct tr_bufpool *pool, unsigned class)
{
    struct tr_buf b = take(pool, class);
    pool->dropped += b.cap;
    tr_buf_fini(&b);
}

void tr_bufpool_decay(struct tr_bufpool *pool)
{
    for (unsigned i = 1; i < TR_BUFPOOL_CLASSES; i++) {
        for (uint32_t n = pool->least[i]; n; n--)
            drop(pool, i);
        pool->least[i] = pool->count[i];
    }
}

struct tr_buf tr_bufpool_get(struct tr_bufpool *pool)
{
    return take(pool, 0);
}

/* Room for one more of the class, if need be by giving up larger ones: those that a burst of large
 * answers left must not keep out what is used now. */
static bool make_room(struct tr_bufpool *pool, unsigned class, size_t cap)
{
    if (class == 0)
        return pool->kept_min + cap <= TR_BUFPOOL_KEEP_MIN;
    for (unsigned i = TR_BUFPOOL_CLASSES - 1; i > class && pool->kept + cap > TR_BUFPOOL_KEEP; i--)
        while (pool->free[i] && pool->kept + cap > TR_BUFPOOL_KEEP)
            drop(pool, i);
    return pool->kept + cap <= TR_BUFPOOL_KEEP;
}

void tr_bufpool_put(struct tr_bufpool *pool, struct tr_buf *b)
{
    if (b->cap >= TR_BUFPOOL_MIN && b->cap <= TR_BUFPOOL_MAX) {
        unsigned class = log2_of(b->cap) - TR_BUFPOOL_MIN_SHIFT;
        if (make_room(pool, class, b->cap)) {
            struct tr_bufpool_item *it = (struct tr_bufpool_item *)(void *)b->ptr;
            it->next = pool->free[class];
            it->cap = b->cap;
            pool->free[class] = it;
            *kept_of(pool, class) += b->cap;
            pool->count[class]++;
            tr_buf_init(b);
            return;
        }
    }
    pool->dropped += b->cap;
    tr_buf_fini(b);
}

enum tr_err tr_bufpool_grow(struct tr_bufpool *pool, struct tr_buf *b, size_t extra)
{
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need) || need > TR_BUFPOOL_MAX)
        return tr_buf_grow(b, extra);
    /* at least twice as much, so that appends stay amortised O(1) */
    if (need < 2 * b->cap && 2 * b->cap <= TR_BUFPOOL_MAX)
        need = 2 * b->cap;
    unsigned class = need <= TR_BUFPOOL_MIN ? 0 : log2_of(need - 1) + 1 - TR_BUFPOOL_MIN_SHIFT;
    struct tr_buf more = take(pool, class);
    if (!more.ptr)
        return TR_ERR_NOMEM;
    if (b->len)
        memcpy(more.ptr, b->ptr, b->len);
    more.len = b->len;
    tr_bufpool_put(pool, b);
    *b = more;
    return TR_OK;
}
