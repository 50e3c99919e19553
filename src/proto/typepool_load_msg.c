/* Messages: fields with their features, oneofs, and the checks that need no other message. */
#include "base/utf8.h"
#include "proto/names.h"
#include "proto/typepool_load.h"

#include <stdlib.h>

static bool is_packable(unsigned type)
{
    return type != TR_FT_STRING && type != TR_FT_BYTES && type != TR_FT_MESSAGE &&
           type != TR_FT_GROUP;
}

static uint8_t field_flags(const struct tr_load *l, const pb_field *pb, struct tr_features f)
{
    unsigned flags = 0;
    bool is_message = (int)pb->type == TR_FT_MESSAGE || (int)pb->type == TR_FT_GROUP;
    if (pb->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED) {
        flags |= TR_FF_REPEATED;
        bool packed = f.repeated == TR_REPEATED_PACKED;
        if (pb->options && pb->options->has_packed)
            packed = pb->options->packed;
        if (packed && is_packable((unsigned)pb->type))
            flags |= TR_FF_PACKED;
    } else {
        if (pb->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REQUIRED ||
            (!l->proto3 && f.presence == TR_PRESENCE_LEGACY_REQUIRED && !pb->has_oneof_index &&
             !pb->extendee))
            flags |= TR_FF_REQUIRED;
        if (f.presence != TR_PRESENCE_IMPLICIT || is_message || pb->has_oneof_index ||
            pb->extendee || pb->proto3_optional || !pb->has_type)
            flags |= TR_FF_PRESENCE;
    }
    if (f.utf8 == TR_UTF8_VERIFY && (int)pb->type == TR_FT_STRING)
        flags |= TR_FF_UTF8;
    if (pb->extendee)
        flags |= TR_FF_EXTENSION;
    return (uint8_t)flags;
}

static enum tr_err copy_text(struct tr_load *l, const char *text, const char **ret,
                             uint32_t *ret_len)
{
    struct tr_span s = tr_arena_copy(&l->pool->arena, tr_span_cstr(text));
    *ret = s.ptr;
    *ret_len = (uint32_t)s.len;
    return s.ptr ? TR_OK : TR_ERR_NOMEM;
}

static void check_field(const struct tr_load *l, const pb_field *pb, struct tr_span owner)
{
    bool too_large = pb->number > TR_FIELD_NUMBER_MAX && !pb->extendee; /* link asks the extendee */
    if (!pb->has_number || pb->number < 1 || too_large ||
        (pb->number >= 19000 && pb->number <= 19999))
        tr_pool_problem(l->pool, l->file, "%.*s.%s: field number %d is out of range",
                        TR_FMT_SPAN(owner), pb->name, (int)pb->number);
    if (pb->has_type && ((int)pb->type < TR_FT_DOUBLE || (int)pb->type > TR_FT_SINT64))
        tr_pool_problem(l->pool, l->file, "%.*s.%s: unknown type %d", TR_FMT_SPAN(owner), pb->name,
                        (int)pb->type);
    else if ((!pb->has_type || (int)pb->type == TR_FT_MESSAGE || (int)pb->type == TR_FT_GROUP ||
              (int)pb->type == TR_FT_ENUM) &&
             (!pb->type_name || !pb->type_name[0]))
        tr_pool_problem(l->pool, l->file, "%.*s.%s has no type", TR_FMT_SPAN(owner), pb->name);
}

/* As it is kept: one that is negative is told of and sorts last. */
static uint32_t number_of(const pb_field *pb)
{
    return pb->has_number ? (uint32_t)pb->number : 0;
}

enum tr_err tr_load_field(struct tr_load *l, const pb_field *pb, struct tr_span owner,
                          struct tr_features inherited, struct tr_field_decl *ret)
{
    struct tr_features f = tr_load_features(inherited, pb->options ? pb->options->features : NULL);
    check_field(l, pb, owner);
    ret->number = number_of(pb);
    ret->type = pb->has_type ? (uint8_t)pb->type : 0;
    ret->flags = field_flags(l, pb, f);
    ret->delimited = f.message == TR_MESSAGE_DELIMITED;
    enum tr_err err = TR_OK;
    if (!ret->name)
        err = copy_text(l, pb->name, &ret->name, &ret->name_len);
    if (!err && pb->json_name && !tr_utf8_valid(tr_span_cstr(pb->json_name)))
        tr_pool_problem(l->pool, l->file, "%.*s.%s: the JSON name is not UTF-8", TR_FMT_SPAN(owner),
                        pb->name);
    if (!err && !pb->extendee && pb->json_name && pb->json_name[0] &&
        !tr_name_is_json_of(tr_span_cstr(pb->json_name), tr_span_cstr(pb->name))) {
        ret->json_given = true;
        err = copy_text(l, pb->json_name, &ret->json, &ret->json_len);
    }
    if (!err && pb->default_value)
        err = copy_text(l, pb->default_value, &ret->def, &ret->def_len);
    bool named = ret->type == 0 || ret->type == TR_FT_MESSAGE || ret->type == TR_FT_GROUP ||
                 ret->type == TR_FT_ENUM;
    if (!err && named && pb->type_name && pb->type_name[0])
        err = tr_load_refer(l, pb->type_name, owner, owner, &ret->ref);
    return err;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = number_of(*(const pb_field *const *)a), y = number_of(*(const pb_field *const *)b);
    return x < y ? -1 : x > y;
}

/* The fields ascending by number. They are sorted before they are loaded, for a late reference
 * holds the address of the declaration that it will fill in. */
static enum tr_err sort_fields(struct tr_load *l, const pb_message *pb, pb_field ***ret_fields)
{
    bool sorted = true;
    for (size_t i = 1; i < pb->n_field && sorted; i++)
        sorted = number_of(pb->field[i - 1]) <= number_of(pb->field[i]);
    if (sorted) {
        *ret_fields = pb->field;
        return TR_OK;
    }
    pb_field **fields = tr_arena_calloc(l->scratch, pb->n_field, sizeof(pb_field *));
    if (!fields)
        return TR_ERR_NOMEM;
    memcpy(fields, pb->field, pb->n_field * sizeof(pb_field *));
    qsort(fields, pb->n_field, sizeof(pb_field *), by_number);
    *ret_fields = fields;
    return TR_OK;
}

/* Real oneofs keep their order; the synthetic ones that proto3's `optional` makes vanish. ret_map:
 * index to 1-based. */
static enum tr_err load_oneofs(struct tr_load *l, const pb_message *pb, struct tr_msg_decl *m,
                               uint16_t **ret_map)
{
    size_t n = pb->n_oneof_decl;
    uint16_t *map = tr_arena_calloc(l->scratch, n + 1, sizeof *map);
    if (!map)
        return TR_ERR_NOMEM;
    *ret_map = map;
    if (n > UINT16_MAX - 1u) {
        tr_pool_problem(l->pool, l->file, "%s has too many oneofs", m->sym->name.ptr);
        return TR_OK;
    }
    for (size_t i = 0; i < pb->n_field; i++) {
        const pb_field *f = pb->field[i];
        if (!f->has_oneof_index)
            continue;
        if (f->oneof_index < 0 || (size_t)f->oneof_index >= n)
            tr_pool_problem(l->pool, l->file, "%s.%s: there is no oneof %d", m->sym->name.ptr,
                            f->name ? f->name : "", (int)f->oneof_index);
        else if (!f->proto3_optional)
            map[f->oneof_index] = 1;
    }
    if (!n)
        return TR_OK;
    m->oneofs = tr_arena_calloc(&l->pool->arena, n, sizeof *m->oneofs);
    if (!m->oneofs)
        return TR_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!map[i])
            continue;
        m->oneofs[m->oneof_count] =
            tr_arena_copy(&l->pool->arena, tr_span_cstr(pb->oneof_decl[i]->name));
        if (!m->oneofs[m->oneof_count].ptr)
            return TR_ERR_NOMEM;
        map[i] = ++m->oneof_count;
    }
    return TR_OK;
}

static bool add_field(struct tr_load *l, const pb_field *p, struct tr_msg_decl *m)
{
    if (!tr_load_is_identifier(tr_span_cstr(p->name)))
        tr_pool_problem(l->pool, l->file, "a field of %s has a malformed name", m->sym->name.ptr);
    else if (p->extendee && p->extendee[0])
        tr_pool_problem(l->pool, l->file, "%s.%s is a field and an extension", m->sym->name.ptr,
                        p->name);
    else
        return true;
    return false;
}

static enum tr_err load_fields(struct tr_load *l, const pb_message *pb, struct tr_msg_decl *m,
                               struct tr_features f)
{
    if (pb->n_field > UINT16_MAX - 1u) {
        tr_pool_problem(l->pool, l->file, "%s has too many fields", m->sym->name.ptr);
        return TR_OK;
    }
    uint16_t *oneof_map;
    enum tr_err err = load_oneofs(l, pb, m, &oneof_map);
    if (err || !pb->n_field)
        return err;
    pb_field **sorted;
    err = sort_fields(l, pb, &sorted);
    if (err)
        return err;
    m->fields = tr_arena_calloc(&l->pool->arena, pb->n_field, sizeof *m->fields);
    if (!m->fields)
        return TR_ERR_NOMEM;
    for (size_t i = 0; i < pb->n_field; i++) {
        const pb_field *p = sorted[i];
        if (!add_field(l, p, m))
            continue;
        struct tr_field_decl *field = &m->fields[m->field_count++];
        if (p->has_oneof_index && p->oneof_index >= 0 && (size_t)p->oneof_index < pb->n_oneof_decl)
            field->oneof = oneof_map[p->oneof_index];
        err = tr_load_field(l, p, m->sym->name, f, field);
        if (err)
            return err;
    }
    for (uint32_t i = 1; i < m->field_count; i++)
        if (m->fields[i - 1].number == m->fields[i].number)
            tr_pool_problem(l->pool, l->file, "%s: %s and %s have the same number %u",
                            m->sym->name.ptr, m->fields[i - 1].name, m->fields[i].name,
                            (unsigned)m->fields[i].number);
    return TR_OK;
}

struct name_slot {
    struct tr_span name;
    uint32_t field; /* 1 + index */
};

/* The field that has the name already, or NULL; then it has it from now on. */
static const struct tr_field_decl *take_name(struct name_slot *slots, uint32_t mask,
                                             struct tr_span name, const struct tr_msg_decl *m,
                                             uint32_t field)
{
    uint32_t at = (uint32_t)tr_span_hash(name, TR_NAME_SEED) & mask;
    for (; slots[at].field; at = (at + 1) & mask)
        if (tr_span_eq(slots[at].name, name))
            return &m->fields[slots[at].field - 1];
    slots[at] = (struct name_slot){name, field + 1};
    return NULL;
}

/* Two fields of one name, and two of one JSON name: an error by proto3's and editions' rule, in
 * proto2 only when both names were written down. */
static enum tr_err check_names(struct tr_load *l, const struct tr_msg_decl *m)
{
    uint32_t size = tr_name_slot_count(m->field_count);
    for (int json = 0; json < 2; json++) {
        struct name_slot *slots = tr_arena_calloc(l->scratch, size, sizeof *slots);
        if (!slots)
            return TR_ERR_NOMEM;
        for (uint32_t i = 0; i < m->field_count; i++) {
            const struct tr_field_decl *f = &m->fields[i];
            struct tr_span name = tr_span(f->name, f->name_len);
            if (json)
                name = f->json ? tr_span(f->json, f->json_len) : tr_name_to_json(l->scratch, name);
            if (!name.ptr)
                return TR_ERR_NOMEM;
            const struct tr_field_decl *other = take_name(slots, size - 1, name, m, i);
            if (!other)
                continue;
            if (!json)
                tr_pool_problem(l->pool, l->file, "%s has two fields named %s", m->sym->name.ptr,
                                f->name);
            else if (m->json_strict || (f->json_given && other->json_given))
                tr_pool_problem(l->pool, l->file, "%s: %s and %s have the same JSON name %.*s",
                                m->sym->name.ptr, other->name, f->name, TR_FMT_SPAN(name));
        }
    }
    return TR_OK;
}

enum tr_err tr_load_message(struct tr_load *l, const pb_message *pb, struct tr_msg_decl *m,
                            struct tr_features f)
{
    if (pb->options) {
        m->is_map_entry = pb->options->has_map_entry && pb->options->map_entry;
        m->message_set =
            pb->options->has_message_set_wire_format && pb->options->message_set_wire_format;
    }
    m->json_strict = f.json != TR_JSON_LEGACY_BEST_EFFORT;
    if (m->is_map_entry)
        f.message = TR_MESSAGE_LENGTH_PREFIXED; /* keys and values of maps are never delimited */
    enum tr_err err = load_fields(l, pb, m, f);
    if (err)
        return err;
    return m->field_count > 1 ? check_names(l, m) : TR_OK;
}
