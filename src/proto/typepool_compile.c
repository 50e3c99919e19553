/* Declarations to the tables of proto/types.h. Reaching a type gives its address at once and puts
 * it on a list; the list is worked off until nothing new is reached, so cycles and depth need no
 * care. */
#include "proto/names.h"
#include "proto/typepool_int.h"
#include "proto/wire.h"

const struct tr_msgtype *tr_pool_reach(struct tr_typepool *pool, struct tr_msg_decl *msg)
{
    if (msg->type)
        return msg->type;
    struct tr_msgtype *type = TR_ARENA_NEW(&pool->arena, struct tr_msgtype);
    if (!type)
        return NULL;
    type->full_name = msg->sym->name;
    msg->type = type;
    msg->next_todo = pool->todo;
    pool->todo = msg;
    return type;
}

static unsigned wire_type(const struct tr_field_decl *f)
{
    if (f->flags & TR_FF_PACKED)
        return TR_WIRE_LEN;
    switch (f->type) {
    case TR_FT_DOUBLE:
    case TR_FT_FIXED64:
    case TR_FT_SFIXED64:
        return TR_WIRE_FIXED64;
    case TR_FT_FLOAT:
    case TR_FT_FIXED32:
    case TR_FT_SFIXED32:
        return TR_WIRE_FIXED32;
    case TR_FT_STRING:
    case TR_FT_BYTES:
    case TR_FT_MESSAGE:
        return TR_WIRE_LEN;
    case TR_FT_GROUP:
        return TR_WIRE_SGROUP;
    default:
        return TR_WIRE_VARINT;
    }
}

static bool compile_names(struct tr_typepool *pool, const struct tr_field_decl *d,
                          struct tr_field_names *names)
{
    struct tr_arena *arena = &pool->arena;
    struct tr_span name = tr_span(d->name, d->name_len);
    if (d->flags & TR_FF_EXTENSION) {
        char *bracket = tr_arena_alloc(arena, name.len + 2);
        if (!bracket)
            return false;
        bracket[0] = '[';
        memcpy(bracket + 1, name.ptr, name.len);
        bracket[name.len + 1] = ']';
        names->proto = names->json = tr_span(bracket, name.len + 2);
    } else {
        names->proto = name;
        names->json = d->json ? tr_span(d->json, d->json_len) : tr_name_to_json(arena, name);
    }
    if (!names->json.ptr)
        return false;
    names->json_key = tr_name_quote(arena, names->json, ":");
    names->proto_key = names->proto.ptr == names->json.ptr
                           ? names->json_key
                           : tr_name_quote(arena, names->proto, ":");
    bool bad; /* told by link */
    names->default_json = tr_pool_default_json(pool, d, &bad);
    return names->json_key.ptr && names->proto_key.ptr && names->default_json.ptr;
}

static bool compile_field(struct tr_typepool *pool, const struct tr_field_decl *d, uint32_t index,
                          struct tr_field *f, struct tr_field_names *names)
{
    f->number = d->number;
    f->index = (uint16_t)index;
    f->oneof = d->oneof;
    f->type = d->type;
    f->flags = d->flags;
    f->tag_len = (uint8_t)tr_wire_varint_len((uint64_t)d->number << 3);
    char tag[TR_VARINT_MAX];
    (void)tr_wire_put_varint(tag, (uint64_t)d->number << 3 | wire_type(d));
    memcpy(f->tag, tag, sizeof f->tag < f->tag_len ? sizeof f->tag : f->tag_len);
    f->names = names;
    if (d->type == TR_FT_ENUM) {
        f->sub.en = tr_pool_enum_type(pool, d->ref->of.en);
        if (!f->sub.en)
            return false;
    } else if (d->type == TR_FT_MESSAGE || d->type == TR_FT_GROUP) {
        f->sub.msg = tr_pool_reach(pool, d->ref->of.msg);
        if (!f->sub.msg)
            return false;
    }
    return compile_names(pool, d, names);
}

/* Numbers below it are looked up in an array: all of them when they are about as many as the
 * fields. */
static uint32_t dense_limit(const struct tr_field *fields, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < count; i++)
        if (fields[i].number < 4 * (i + 1) + 16)
            best = fields[i].number + 1;
    return best < UINT16_MAX ? best : UINT16_MAX;
}

static bool name_taken(const struct tr_msgtype *type, const uint16_t *slots, uint32_t mask,
                       struct tr_span name)
{
    for (uint32_t at = (uint32_t)tr_span_hash(name, TR_NAME_SEED) & mask; slots[at];
         at = (at + 1) & mask) {
        const struct tr_field_names *n = type->fields[slots[at] - 1].names;
        if (tr_span_eq(n->json, name) || tr_span_eq(n->proto, name))
            return true;
    }
    return false;
}

static void put_name(uint16_t *slots, uint32_t mask, struct tr_span name, uint32_t field)
{
    uint32_t at = (uint32_t)tr_span_hash(name, TR_NAME_SEED) & mask;
    while (slots[at])
        at = (at + 1) & mask;
    slots[at] = (uint16_t)(field + 1);
}

static bool compile_lookups(struct tr_typepool *pool, struct tr_msgtype *type)
{
    uint32_t count = type->field_count;
    if (!count)
        return true;
    uint32_t dense = dense_limit(type->fields, count);
    uint16_t *numbers = tr_arena_calloc(&pool->arena, dense, sizeof *numbers);
    uint32_t slot_count = tr_name_slot_count(2 * count);
    uint16_t *slots = tr_arena_calloc(&pool->arena, slot_count, sizeof *slots);
    if (!numbers || !slots)
        return false;
    for (uint32_t i = 0; i < count && type->fields[i].number < dense; i++)
        numbers[type->fields[i].number] = (uint16_t)(i + 1);
    /* JSON names first: they win over another field's proto name */
    for (uint32_t i = 0; i < count; i++)
        if (!name_taken(type, slots, slot_count - 1, type->fields[i].names->json))
            put_name(slots, slot_count - 1, type->fields[i].names->json, i);
    for (uint32_t i = 0; i < count; i++)
        if (!name_taken(type, slots, slot_count - 1, type->fields[i].names->proto))
            put_name(slots, slot_count - 1, type->fields[i].names->proto, i);
    type->by_number = numbers;
    type->dense_count = (uint16_t)dense;
    type->name_slots = slots;
    type->name_mask = slot_count - 1;
    return true;
}

static bool compile_extensions(struct tr_typepool *pool, const struct tr_msg_decl *m,
                               struct tr_msgtype *type)
{
    struct tr_field *fields = tr_arena_calloc(&pool->arena, m->ext_count, sizeof *fields);
    struct tr_field_names *names = tr_arena_calloc(&pool->arena, m->ext_count, sizeof *names);
    const struct tr_field **list = tr_arena_calloc(&pool->arena, m->ext_count, sizeof *list);
    if (!fields || !names || !list)
        return false;
    uint32_t i = 0;
    for (const struct tr_ext_decl *e = m->exts; e; e = e->next_same, i++) {
        if (!compile_field(pool, &e->field, m->field_count + i, &fields[i], &names[i]))
            return false;
        list[i] = &fields[i];
    }
    type->extensions = list;
    type->extension_count = i;
    return true;
}

static bool compile_message(struct tr_typepool *pool, struct tr_msg_decl *m)
{
    struct tr_msgtype *type = m->type;
    uint32_t count = m->field_count, required = 0;
    struct tr_field *fields = tr_arena_calloc(&pool->arena, count, sizeof *fields);
    struct tr_field_names *names = tr_arena_calloc(&pool->arena, count, sizeof *names);
    if (!fields || !names)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!compile_field(pool, &m->fields[i], i, &fields[i], &names[i]))
            return false;
        required += (m->fields[i].flags & TR_FF_REQUIRED) != 0;
    }
    type->fields = fields;
    type->field_count = m->field_count;
    type->oneof_count = m->oneof_count;
    type->oneof_names = m->oneofs;
    type->required_count = (uint16_t)required;
    type->wkt = m->wkt;
    type->is_map_entry = m->is_map_entry;
    type->message_set = m->message_set;
    if (required) {
        type->required_bits = tr_arena_calloc(&pool->arena, (count + 63) / 64, sizeof(uint64_t));
        if (!type->required_bits)
            return false;
        for (uint32_t i = 0; i < count; i++)
            if (fields[i].flags & TR_FF_REQUIRED)
                type->required_bits[i / 64] |= (uint64_t)1 << (i % 64);
    }
    if (m->ext_count && !compile_extensions(pool, m, type))
        return false;
    return compile_lookups(pool, type);
}

enum tr_err tr_pool_compile(struct tr_typepool *pool)
{
    while (pool->todo) {
        struct tr_msg_decl *m = pool->todo;
        pool->todo = m->next_todo;
        if (!compile_message(pool, m)) {
            m->next_todo = pool->todo; /* what was reached meanwhile stands before it */
            pool->todo = m;
            return TR_ERR_NOMEM;
        }
        m->compiled = true;
        pool->stats.compiled_messages++;
    }
    return TR_OK;
}
