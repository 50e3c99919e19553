#include "base/arena.h"

#include "base/alloc.h"

struct tr_arena_block {
    struct tr_arena_block *next;
    size_t size; /* bytes of data */
    _Alignas(16) char data[];
};

#define STD_DATA (TR_ARENA_BLOCK_BYTES - sizeof(struct tr_arena_block))

void tr_block_cache_init(struct tr_block_cache *cache, uint32_t max_blocks)
{
    *cache = (struct tr_block_cache){.max = max_blocks};
}

void tr_block_cache_fini(struct tr_block_cache *cache)
{
    while (cache->free) {
        struct tr_arena_block *b = cache->free;
        cache->free = b->next;
        tr_free(b);
    }
    cache->count = 0;
}

void tr_arena_init(struct tr_arena *arena, struct tr_block_cache *cache)
{
    *arena = (struct tr_arena){.cache = cache};
}

static struct tr_arena_block *block_get(struct tr_block_cache *cache, size_t size)
{
    if (size == STD_DATA && cache && cache->free) {
        struct tr_arena_block *b = cache->free;
        cache->free = b->next;
        cache->count--;
        return b;
    }
    struct tr_arena_block *b = tr_malloc(sizeof *b + size);
    if (b)
        b->size = size;
    return b;
}

static void block_put(struct tr_block_cache *cache, struct tr_arena_block *b)
{
    if (b->size == STD_DATA && cache && cache->count < cache->max) {
        b->next = cache->free;
        cache->free = b;
        cache->count++;
        return;
    }
    tr_free(b);
}

void tr_arena_reset(struct tr_arena *arena)
{
    while (arena->head) {
        struct tr_arena_block *b = arena->head;
        arena->head = b->next;
        block_put(arena->cache, b);
    }
    arena->ptr = arena->end = NULL;
    arena->used_bytes = 0;
}

void *tr_arena_alloc(struct tr_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + 7) & ~(size_t)7;
#ifndef TR_ARENA_EMULATE
    if ((size_t)(arena->end - arena->ptr) >= size && arena->ptr) {
        char *p = arena->ptr;
        arena->ptr += size;
        arena->used_bytes += size;
        return p;
    }
    size_t want = size <= STD_DATA ? STD_DATA : size;
#else
    size_t want = size;
#endif
    struct tr_arena_block *b = block_get(arena->cache, want);
    if (!b)
        return NULL;
    b->next = arena->head;
    arena->head = b;
    arena->ptr = b->data + size;
    arena->end = b->data + b->size;
    arena->used_bytes += size;
    return b->data;
}

void *tr_arena_calloc(struct tr_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *p = tr_arena_alloc(arena, total);
    if (p && total)
        memset(p, 0, total);
    return p;
}

struct tr_span tr_arena_copy(struct tr_arena *arena, struct tr_span s)
{
    char *p = tr_arena_alloc(arena, s.len + 1);
    if (!p)
        return (struct tr_span){NULL, 0};
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = '\0';
    return (struct tr_span){p, s.len};
}

struct tr_arena_mark tr_arena_mark(const struct tr_arena *arena)
{
    return (struct tr_arena_mark){arena->head, arena->ptr, arena->used_bytes};
}

void tr_arena_rewind(struct tr_arena *arena, struct tr_arena_mark mark)
{
    while (arena->head != mark.head) {
        struct tr_arena_block *b = arena->head;
        arena->head = b->next;
        block_put(arena->cache, b);
    }
    arena->ptr = mark.ptr;
    arena->end = mark.head ? mark.head->data + mark.head->size : NULL;
    arena->used_bytes = mark.used_bytes;
}
