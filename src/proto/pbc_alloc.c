#include "proto/pbc_alloc.h"

#include "proto/wire.h"

#define DEPTH_MAX 64

static void *pbc_alloc(void *data, size_t size)
{
    struct tr_pbc_alloc *a = data;
    void *p = tr_arena_alloc(&a->arena, size);
    if (!p)
        a->failed = true;
    return p;
}

static void pbc_free(void *data, void *ptr)
{
    (void)data;
    (void)ptr;
}

void tr_pbc_alloc_init(struct tr_pbc_alloc *a, struct tr_block_cache *cache)
{
    a->base = (ProtobufCAllocator){pbc_alloc, pbc_free, a};
    tr_arena_init(&a->arena, cache);
    a->failed = false;
}

void tr_pbc_alloc_rewind(struct tr_pbc_alloc *a)
{
    tr_arena_reset(&a->arena);
    a->failed = false;
}

void tr_pbc_alloc_fini(struct tr_pbc_alloc *a)
{
    tr_arena_fini(&a->arena);
}

static bool is_nest(const struct tr_pbc_nest *nest, unsigned depth, uint32_t number)
{
    if (depth > 1)
        return number == nest->inner;
    for (uint32_t i = 0; i < nest->outer_count; i++)
        if (nest->outer[i] == number)
            return true;
    return false;
}

bool tr_pbc_depth_ok(struct tr_span wire, const struct tr_pbc_nest *nest, unsigned max)
{
    const char *ends[DEPTH_MAX + 1];
    unsigned depth = 1;
    const char *p = wire.ptr;
    ends[1] = wire.ptr + wire.len;
    if (!wire.len)
        return true;
    while (depth) {
        if (p == ends[depth]) {
            depth--;
            continue;
        }
        uint32_t number, type;
        if (!tr_wire_tag(&p, ends[depth], &number, &type))
            return false;
        if (type != TR_WIRE_LEN || !is_nest(nest, depth, number)) {
            if (!tr_wire_skip(&p, ends[depth], number, type))
                return false;
            continue;
        }
        struct tr_span sub;
        if (!tr_wire_len(&p, ends[depth], &sub) || depth >= max || depth >= DEPTH_MAX)
            return false;
        p = sub.ptr;
        ends[++depth] = sub.ptr + sub.len;
    }
    return true;
}
