#include "http/h2_pool.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <sys/mman.h>

#define STEP_BYTES    ((size_t)64)
#define SMALL_BYTES   ((size_t)2048)      /* up to here in steps */
#define CHUNK_BYTES   ((size_t)32 * 1024) /* what small blocks are cut from */
#define RESERVE_BYTES ((size_t)32 * 1024)
#define RESERVE_MAX   ((size_t)4096) /* a larger block may fail: only beginnings ask for one */
#define ALIGN_BYTES   ((size_t)16)

/* A slot is five pages for the two large blocks of a session: nghttp2's session (2.9 KiB) and its
 * frame buffer (16 KiB). They share the first page, and frames of up to a kilobyte touch no other.
 */
#define SLOT_BYTES  ((size_t)5 * 4096)
#define LEAD_BYTES  ((size_t)3008)
#define FRAME_BYTES (SLOT_BYTES - LEAD_BYTES)
#define SLOTS_A_MAP ((size_t)32)

enum {
    CLASS_LEAD = SMALL_BYTES / STEP_BYTES + 1,
    CLASS_4K,
    CLASS_8K,
    CLASS_FRAME,
    CLASS_HEAP,    /* larger: from the heap, freed to the heap */
    CLASS_RESERVE, /* from the reserve, which is whole again when its last block is freed */
    CLASS_COUNT
};

/* In front of each block. `next` and `cls` are kept apart so that a double free shows in a debug
 * build. */
struct block {
    struct block *next; /* in the free list */
    uint32_t cls;
    uint32_t size; /* asked for, of CLASS_HEAP only */
};
_Static_assert(sizeof(struct block) == ALIGN_BYTES, "blocks keep the alignment of malloc");

struct chunk {
    struct chunk *next;
    void *map; /* NULL: from the heap */
    size_t unused;
};

struct tr_h2_pool {
    struct tr_hworker *worker;
    size_t refs;
    char *reserve;
    size_t reserve_used, reserve_live; /* bytes, blocks */
    size_t window_used;
    struct block *free[CLASS_COUNT];
    struct chunk *chunks;
    char *cut, *cut_end; /* the rest of the newest chunk */
};

static const size_t large_bytes[] = {
    [CLASS_LEAD] = LEAD_BYTES,
    [CLASS_4K] = 4096 + STEP_BYTES,
    [CLASS_8K] = 8192 + STEP_BYTES,
    [CLASS_FRAME] = FRAME_BYTES,
};

static uint32_t class_of(size_t total)
{
#ifdef TR_ARENA_EMULATE
    (void)total;
    return CLASS_HEAP; /* each block its own, so that ASan sees */
#else
    if (total <= SMALL_BYTES)
        return (uint32_t)((total + STEP_BYTES - 1) / STEP_BYTES);
    uint32_t cls = CLASS_LEAD;
    while (cls < CLASS_HEAP && total > large_bytes[cls])
        cls++;
    return cls;
#endif
}

static size_t class_bytes(uint32_t cls)
{
    return cls < CLASS_LEAD ? cls * STEP_BYTES : large_bytes[cls];
}

static void push(struct tr_h2_pool *pool, struct block *b, uint32_t cls)
{
    b->cls = cls;
    b->next = pool->free[cls];
    pool->free[cls] = b;
}

#ifndef TR_ARENA_EMULATE
/* Maps room for several slots. Huge pages would make the untouched ones cost what they must not. */
static bool map_slots(struct tr_h2_pool *pool)
{
    struct chunk *c = tr_malloc(sizeof *c);
    if (!c)
        return false;
    char *map = mmap(NULL, SLOT_BYTES * SLOTS_A_MAP, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        tr_free(c);
        return false;
    }
    (void)madvise(map, SLOT_BYTES * SLOTS_A_MAP, MADV_NOHUGEPAGE);
    *c = (struct chunk){pool->chunks, map, SLOTS_A_MAP};
    pool->chunks = c;
    return true;
}

/* Cuts one slot into its two blocks; one at a time, because the heads of the blocks touch the page.
 */
static struct block *cut_slot(struct tr_h2_pool *pool, uint32_t cls)
{
    struct chunk *c = pool->chunks;
    while (c && !(c->map && c->unused))
        c = c->next;
    if (!c) {
        if (!map_slots(pool))
            return NULL;
        c = pool->chunks;
    }
    char *slot = (char *)c->map + SLOT_BYTES * --c->unused;
    push(pool, (struct block *)(void *)slot, CLASS_LEAD);
    push(pool, (struct block *)(void *)(slot + LEAD_BYTES), CLASS_FRAME);
    struct block *b = pool->free[cls];
    pool->free[cls] = b->next;
    return b;
}

static struct block *cut_small(struct tr_h2_pool *pool, uint32_t cls)
{
    size_t bytes = class_bytes(cls);
    if ((size_t)(pool->cut_end - pool->cut) < bytes) {
        struct chunk *c = tr_malloc(CHUNK_BYTES);
        if (!c)
            return NULL;
        /* what is left of the old chunk serves smaller blocks */
        size_t rest = (size_t)(pool->cut_end - pool->cut) / STEP_BYTES * STEP_BYTES;
        while (rest) {
            size_t piece = rest < SMALL_BYTES ? rest : SMALL_BYTES;
            push(pool, (struct block *)(void *)pool->cut, class_of(piece));
            pool->cut += piece;
            rest -= piece;
        }
        *c = (struct chunk){pool->chunks, NULL, 0};
        pool->chunks = c;
        pool->cut = (char *)c + STEP_BYTES;
        pool->cut_end = (char *)c + CHUNK_BYTES;
    }
    struct block *b = (struct block *)(void *)pool->cut;
    pool->cut += bytes;
    return b;
}
#endif

void *tr_h2_pool_alloc(struct tr_h2_pool *pool, size_t size)
{
    if (size > UINT32_MAX - sizeof(struct block))
        return NULL;
    size_t total = size + sizeof(struct block);
    uint32_t cls = class_of(total);
    struct block *b = pool->free[cls];
    if (b) {
        pool->free[cls] = b->next;
    } else if (cls == CLASS_HEAP) {
        b = tr_malloc(total);
    } else {
#ifndef TR_ARENA_EMULATE
        b = cls == CLASS_FRAME || cls == CLASS_LEAD ? cut_slot(pool, cls) : cut_small(pool, cls);
#endif
    }
    if (!b)
        return NULL;
    *b = (struct block){NULL, cls, (uint32_t)size};
    return b + 1;
}

void tr_h2_pool_free(struct tr_h2_pool *pool, void *ptr)
{
    if (!ptr)
        return;
    struct block *b = (struct block *)ptr - 1;
    TR_DCHECK(b->cls < CLASS_COUNT);
    if (b->cls == CLASS_RESERVE) {
        if (--pool->reserve_live == 0)
            pool->reserve_used = 0;
    } else if (b->cls == CLASS_HEAP)
        tr_free(b);
    else
        push(pool, b, b->cls);
}

static void *from_reserve(struct tr_h2_pool *pool, size_t size)
{
    size_t total = (size + sizeof(struct block) + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    if (size > RESERVE_MAX || total > RESERVE_BYTES - pool->reserve_used)
        return NULL;
    struct block *b = (struct block *)(void *)(pool->reserve + pool->reserve_used);
    pool->reserve_used += total;
    pool->reserve_live++;
    *b = (struct block){NULL, CLASS_RESERVE, (uint32_t)size};
    return b + 1;
}

static void *mem_malloc(size_t size, void *user)
{
    struct tr_h2_mem *mem = user;
    void *p = tr_h2_pool_alloc(mem->pool, size);
    if (!p) {
        mem->low = true;
        p = from_reserve(mem->pool, size);
    }
    return p;
}

static void mem_free(void *ptr, void *user)
{
    struct tr_h2_mem *mem = user;
    tr_h2_pool_free(mem->pool, ptr);
}

static void *mem_calloc(size_t count, size_t size, void *user)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *p = mem_malloc(bytes, user);
    if (p)
        memset(p, 0, bytes);
    return p;
}

static void *mem_realloc(void *ptr, size_t size, void *user)
{
    if (!ptr)
        return mem_malloc(size, user);
    const struct block *b = (const struct block *)ptr - 1;
    size_t room = b->cls >= CLASS_HEAP ? b->size : class_bytes(b->cls) - sizeof(struct block);
    if (size <= room)
        return ptr;
    void *p = mem_malloc(size, user);
    if (!p)
        return NULL;
    memcpy(p, ptr, room);
    mem_free(ptr, user);
    return p;
}

struct tr_h2_pool *tr_h2_pool_ref(struct tr_hworker *worker)
{
    struct tr_h2_pool *pool = worker->h2_pool;
    if (!pool) {
        pool = tr_calloc(1, sizeof *pool);
        if (!pool)
            return NULL;
        pool->reserve = tr_malloc(RESERVE_BYTES);
        if (!pool->reserve) {
            tr_free(pool);
            return NULL;
        }
        pool->worker = worker;
        worker->h2_pool = pool;
    }
    pool->refs++;
    return pool;
}

void tr_h2_pool_unref(struct tr_h2_pool *pool)
{
    if (!pool || --pool->refs)
        return;
    pool->worker->h2_pool = NULL;
    while (pool->chunks) {
        struct chunk *c = pool->chunks;
        pool->chunks = c->next;
        if (c->map)
            (void)munmap(c->map, SLOT_BYTES * SLOTS_A_MAP);
        tr_free(c);
    }
    tr_free(pool->reserve);
    tr_free(pool);
}

void tr_h2_pool_mem(struct tr_h2_pool *pool, struct tr_h2_mem *user, nghttp2_mem *ret_mem)
{
    *user = (struct tr_h2_mem){pool, false};
    *ret_mem = (nghttp2_mem){user, mem_malloc, mem_free, mem_calloc, mem_realloc};
}

bool tr_h2_pool_take_window(struct tr_h2_pool *pool, size_t bytes)
{
    if (bytes > TR_H2_WINDOW_BUDGET - pool->window_used)
        return false;
    pool->window_used += bytes;
    return true;
}

void tr_h2_pool_give_window(struct tr_h2_pool *pool, size_t bytes)
{
    TR_DCHECK(bytes <= pool->window_used);
    pool->window_used -= bytes;
}
