/* Arenas: memory freed all at once. Four lifetimes use them: snapshot, connection, exchange,
 * message.
 *
 * Vocabulary: an arena hands out bytes from blocks; blocks of the standard size come from and
 * return to a block cache (one for each worker, not thread-safe), so that after warm-up no request
 * calls malloc. Larger requests get a block of their own from the heap. With TR_ARENA_EMULATE each
 * allocation is a heap block of its own, so that ASan sees overruns. */
#ifndef TR_BASE_ARENA_H
#define TR_BASE_ARENA_H

#include "base/span.h"
#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define TR_ARENA_BLOCK_BYTES 4096

struct tr_arena_block;

/* Standard blocks kept for reuse. Zero-initialised with a limit is ready for use. */
struct tr_block_cache {
    struct tr_arena_block *free;
    uint32_t count;
    uint32_t max; /* blocks kept; those beyond go back to the heap */
};

void tr_block_cache_init(struct tr_block_cache *cache, uint32_t max_blocks);
void tr_block_cache_fini(struct tr_block_cache *cache);

struct tr_arena {
    struct tr_arena_block *head;  /* the block in use; older ones behind it */
    char *ptr, *end;              /* free bytes of head */
    struct tr_block_cache *cache; /* may be NULL: blocks come from the heap */
    size_t used_bytes;            /* handed out since the last reset */
};

struct tr_arena_mark {
    struct tr_arena_block *head;
    char *ptr;
    size_t used_bytes;
};

/* No allocation happens before the first tr_arena_alloc. The cache must outlive the arena. */
void tr_arena_init(struct tr_arena *arena, struct tr_block_cache *cache);
/* Returns every block; the arena is as after init. */
void tr_arena_reset(struct tr_arena *arena);
static inline void tr_arena_fini(struct tr_arena *arena)
{
    tr_arena_reset(arena);
}

/* 8-byte aligned, not zeroed; NULL when out of memory. */
void *tr_arena_alloc(struct tr_arena *arena, size_t size);
/* The same, zeroed; count * size must not overflow (checked: NULL). */
void *tr_arena_calloc(struct tr_arena *arena, size_t count, size_t size);
/* A copy of s followed by a NUL; ptr NULL when out of memory (an empty s gives a non-NULL ptr). */
struct tr_span tr_arena_copy(struct tr_arena *arena, struct tr_span s);

/* What was allocated after a mark is freed by rewinding to it; marks nest. */
struct tr_arena_mark tr_arena_mark(const struct tr_arena *arena);
void tr_arena_rewind(struct tr_arena *arena, struct tr_arena_mark mark);

#define TR_ARENA_NEW(arena, type) ((type *)tr_arena_calloc((arena), 1, sizeof(type)))

#endif
