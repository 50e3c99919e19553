#include "base/alloc.h"
#include "proto/names.h"
#include "proto/typepool_int.h"

#include <stdlib.h>

struct by_value {
    int32_t number;
    uint32_t index;
};

static int value_cmp(const void *a, const void *b)
{
    const struct by_value *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Sorted by number, the first name of each number only. */
static uint32_t sort_values(const struct tr_enum_decl *e, struct by_value *sorted)
{
    for (uint32_t i = 0; i < e->value_count; i++)
        sorted[i] = (struct by_value){e->values[i].number, i};
    qsort(sorted, e->value_count, sizeof *sorted, value_cmp);
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->value_count; i++)
        if (!n || sorted[n - 1].number != sorted[i].number)
            sorted[n++] = sorted[i];
    return n;
}

/* The dense range starts at 0, or at the least number, and holds as much as pays. */
static bool compile_numbers(struct tr_typepool *pool, struct tr_enumtype *en,
                            const struct by_value *sorted, uint32_t n)
{
    uint32_t first = 0;
    if (n && sorted[0].number < -64)
        while (first < n && sorted[first].number < 0)
            first++;
    int64_t min = first < n ? sorted[first].number : 0, range = 0;
    for (uint32_t i = first; i < n; i++) {
        int64_t at = (int64_t)sorted[i].number - min;
        if (at < 4 * (int64_t)(i - first + 1) + 32)
            range = at + 1;
    }
    uint32_t *dense = tr_arena_calloc(&pool->arena, (size_t)range, sizeof *dense);
    if (!dense)
        return false;
    uint32_t inside = 0;
    for (uint32_t i = first; i < n && (int64_t)sorted[i].number - min < range; i++, inside++)
        dense[(int64_t)sorted[i].number - min] = sorted[i].index + 1;
    en->dense_min = (int32_t)min;
    en->dense_count = (uint32_t)range;
    en->by_number = dense;
    if (inside == n)
        return true;
    uint32_t *all = tr_arena_alloc(&pool->arena, n * sizeof *all);
    if (!all)
        return false;
    for (uint32_t i = 0; i < n; i++)
        all[i] = sorted[i].index + 1;
    en->sorted = all;
    en->sorted_count = n;
    return true;
}

static bool compile_values(struct tr_typepool *pool, const struct tr_enum_decl *e,
                           struct tr_enumtype *en)
{
    struct tr_arena *arena = &pool->arena;
    struct tr_enum_value *values = tr_arena_calloc(arena, e->value_count, sizeof *values);
    uint32_t slot_count = tr_name_slot_count(e->value_count);
    uint32_t *slots = tr_arena_calloc(arena, slot_count, sizeof *slots);
    if (!values || !slots)
        return false;
    for (uint32_t i = 0; i < e->value_count; i++) {
        struct tr_enum_value *v = &values[i];
        v->number = e->values[i].number;
        v->name = tr_span(e->values[i].name, e->values[i].name_len);
        v->quoted = tr_name_quote(arena, v->name, "");
        if (!v->quoted.ptr)
            return false;
        uint32_t at = (uint32_t)tr_span_hash(v->name, TR_NAME_SEED) & (slot_count - 1);
        while (slots[at])
            at = (at + 1) & (slot_count - 1);
        slots[at] = i + 1;
    }
    en->values = values;
    en->value_count = e->value_count;
    en->name_slots = slots;
    en->name_mask = slot_count - 1;
    return true;
}

const struct tr_enumtype *tr_pool_enum_type(struct tr_typepool *pool, struct tr_enum_decl *e)
{
    if (e->type)
        return e->type;
    struct tr_enumtype *en = TR_ARENA_NEW(&pool->arena, struct tr_enumtype);
    if (!en || !compile_values(pool, e, en))
        return NULL;
    en->full_name = e->sym->name;
    en->closed = e->closed;
    en->is_null_value = tr_span_eq(en->full_name, TR_SPAN("google.protobuf.NullValue"));
    struct by_value *sorted = tr_malloc(e->value_count * sizeof *sorted);
    if (!sorted)
        return NULL;
    uint32_t n = sort_values(e, sorted);
    bool ok = compile_numbers(pool, en, sorted, n);
    tr_free(sorted);
    if (ok)
        e->type = en;
    return e->type;
}
