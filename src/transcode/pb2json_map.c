/* Map entries and the keys that a map has shown. */
#include "transcode/pb2json_priv.h"

/* must be last */
#include "base/banned.h"

#define LINEAR_MAX 16 /* keys that are compared one by one */

enum tr_err tr_pj_concat(struct tr_pj *j, const struct tr_span *a, const struct tr_span *b,
                         struct tr_span *ret)
{
    size_t len = a->len + b->len;
    if (len > j->merge_budget)
        return tr_fail(j->st, TR_ERR_PROTO_UNPRINTABLE, "%s", "too much to merge in one message");
    char *m = tr_arena_alloc(j->scratch, len);
    if (!m)
        return TR_ERR_NOMEM;
    j->merge_budget -= len;
    if (a->len)
        memcpy(m, a->ptr, a->len);
    if (b->len)
        memcpy(m + a->len, b->ptr, b->len);
    *ret = tr_span(m, len);
    return TR_OK;
}

enum tr_err tr_pj_pair_read(struct tr_pj *j, const struct tr_field *map, struct tr_span wire,
                            struct tr_pj_pair *ret)
{
    const struct tr_field *kf = &map->sub.msg->fields[0], *vf = &map->sub.msg->fields[1];
    *ret = (struct tr_pj_pair){.key.s = {"", 0}, .value.s = {"", 0}, .message = {"", 0}};
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    while (p < end) {
        uint32_t number, type;
        if (!tr_wire_tag(&p, end, &number, &type))
            return tr_pj_malformed(j);
        bool ok;
        if (number == 1 && type == tr_pj_wire_of[kf->type]) {
            ok = tr_pj_read_scalar(kf, &p, end, &ret->key);
        } else if (number != 2 || type != tr_pj_wire_of[vf->type]) {
            ok = tr_wire_skip(&p, end, number, type);
        } else if (tr_pj_is_message(vf)) {
            struct tr_span s = {"", 0};
            ok = tr_pj_read_message(vf, &p, end, &s);
            if (ok && tr_unlikely(ret->has_value)) {
                enum tr_err err = tr_pj_concat(j, &ret->message, &s, &s);
                if (err)
                    return err;
            }
            ret->message = s;
            ret->has_value = true;
        } else {
            ok = tr_pj_read_scalar(vf, &p, end, &ret->value);
            ret->has_value = true;
        }
        if (!ok)
            return tr_pj_malformed(j);
    }
    ret->dropped = ret->has_value && vf->type == TR_FT_ENUM && !tr_pj_enum_known(vf, &ret->value);
    return TR_OK;
}

bool tr_pj_pair_read_plain(const struct tr_field *map, struct tr_span wire, struct tr_pj_pair *ret)
{
    const struct tr_field *kf = &map->sub.msg->fields[0], *vf = &map->sub.msg->fields[1];
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    if (p == end || (uint8_t)*p++ != (1u << 3 | tr_pj_wire_of[kf->type]) ||
        !tr_pj_read_scalar_inline(kf, &p, end, &ret->key))
        return false;
    if (p == end || (uint8_t)*p++ != (2u << 3 | tr_pj_wire_of[vf->type]) ||
        (vf->flags & TR_FF_CLOSED_ENUM))
        return false;
    if (tr_pj_is_message(vf) ? !tr_pj_read_message(vf, &p, end, &ret->message)
                             : !tr_pj_read_scalar_inline(vf, &p, end, &ret->value))
        return false;
    return p == end;
}

/* -- keys -- */

/* Eight bytes that tell most short keys apart, so that the list is walked without touching the
 * keys. */
static uint64_t fingerprint(struct tr_span s)
{
    uint64_t a = 0, b = 0;
    if (s.len >= 8) {
        memcpy(&a, s.ptr, 8);
        memcpy(&b, s.ptr + s.len - 8, 8);
    } else if (s.len >= 4) {
        uint32_t x, y;
        memcpy(&x, s.ptr, 4);
        memcpy(&y, s.ptr + s.len - 4, 4);
        a = x;
        b = y;
    } else {
        for (size_t i = 0; i < s.len; i++)
            a = a << 8 | (uint8_t)s.ptr[i];
    }
    return a ^ (b << 23 | b >> 41) ^ s.len;
}

static inline bool same_key(const struct tr_pj_scalar *a, const struct tr_pj_scalar *b)
{
    return a->u == b->u && tr_span_eq(a->s, b->s);
}

/* Peers choose keys: the place of the arena is a seed that they do not know. */
static uint32_t hash_key(const struct tr_pj *j, const struct tr_pj_scalar *k)
{
    uint64_t seed = (uint64_t)(uintptr_t)j->scratch * 0x9E3779B97F4A7C15u;
    uint64_t h = k->s.len ? tr_span_hash(k->s, seed)
                          : tr_span_hash(tr_span((const char *)&k->u, sizeof k->u), seed);
    return (uint32_t)(h ^ h >> 32);
}

static enum tr_err keys_grow(struct tr_pj *j, struct tr_pj_keys *keys)
{
    uint32_t cap = keys->cap * 4;
    if (cap > UINT32_MAX / 8)
        return TR_ERR_NOMEM;
    struct tr_pj_scalar *list = tr_arena_alloc(j->scratch, cap * sizeof *list);
    if (!list)
        return TR_ERR_NOMEM;
    if (keys->count)
        memcpy(list, keys->list, keys->count * sizeof *list);
    keys->list = list;
    keys->cap = cap;
    if (cap <= LINEAR_MAX)
        return TR_OK;
    keys->table = tr_arena_calloc(j->scratch, 2 * (size_t)cap, sizeof *keys->table);
    if (!keys->table)
        return TR_ERR_NOMEM;
    keys->mask = 2 * cap - 1;
    for (uint32_t i = 0; i < keys->count; i++) {
        uint32_t at = hash_key(j, &list[i]) & keys->mask;
        while (keys->table[at])
            at = (at + 1) & keys->mask;
        keys->table[at] = i + 1;
    }
    return TR_OK;
}

enum tr_err tr_pj_keys_add(struct tr_pj *j, struct tr_pj_keys *keys, const struct tr_field *map,
                           const struct tr_pj_scalar *key, bool *ret_dup)
{
    struct tr_pj_scalar k = {key->u, {"", 0}};
    if (map->sub.msg->fields[0].type == TR_FT_STRING)
        k = (struct tr_pj_scalar){fingerprint(key->s), key->s};
    *ret_dup = false;
    uint32_t *slot = NULL;
    if (tr_unlikely(keys->count == keys->cap || (keys->count >= LINEAR_MAX && !keys->table))) {
        enum tr_err err = keys_grow(j, keys);
        if (err)
            return err;
    }
    if (!keys->table) {
        for (uint32_t i = 0; i < keys->count; i++) {
            if (same_key(&keys->list[i], &k)) {
                *ret_dup = true;
                return TR_OK;
            }
        }
    } else {
        uint32_t at = hash_key(j, &k) & keys->mask;
        for (; keys->table[at]; at = (at + 1) & keys->mask) {
            if (same_key(&keys->list[keys->table[at] - 1], &k)) {
                *ret_dup = true;
                return TR_OK;
            }
        }
        slot = &keys->table[at];
    }
    keys->list[keys->count++] = k;
    if (slot)
        *slot = keys->count;
    return TR_OK;
}
