/* The common case in one loop: frames that print whole messages, compact, in the order in which
 * they come. What is rare (extensions, other wire types, enums in lists) goes record by record
 * through tr_pj_field, and a frame that needs more leaves the loop.
 *
 * The place where the next byte goes is kept in a *pen*, whose members stay in registers as
 * everything that takes it is inlined; at the top of the loop it always has TR_PJ_ROOM bytes of
 * room. Before a call of anything else it is put down (out->len is set) and taken up again after.
 */
#include "base/num.h"
#include "base/simd.h"
#include "json/emit.h"
#include "transcode/pb2json_priv.h"

/* must be last */
#include "base/banned.h"

#define INLINE static inline __attribute__((always_inline))

struct pen {
    char *w, *lim; /* lim: end of the buffer */
};

INLINE struct pen pen_up(const struct tr_buf *out)
{
    return (struct pen){out->ptr + out->len, out->ptr + out->cap};
}

INLINE void pen_down(struct tr_buf *out, struct pen pen)
{
    out->len = (size_t)(pen.w - out->ptr);
}

__attribute__((noinline)) static enum tr_err grow(struct tr_pj *j, const char *w, size_t n)
{
    j->out->len = (size_t)(w - j->out->ptr);
    if (j->out->len > j->limit)
        return tr_pj_oversized(j);
    return tr_buf_reserve(j->out, n);
}

INLINE enum tr_err room(struct tr_pj *j, struct pen *pen, size_t n)
{
    if (tr_likely((size_t)(pen->lim - pen->w) >= n))
        return TR_OK;
    enum tr_err err = grow(j, pen->w, n);
    *pen = pen_up(j->out);
    return err;
}

/* n > 0 bytes; by overlapping moves, since names are short and a call costs more. */
INLINE char *put_bytes(char *w, const char *s, size_t n)
{
#if defined(TR_SIMD)
    if (n >= 16) {
        size_t i = 0;
        do {
            tr_simd_store(w + i, tr_simd_load(s + i));
            i += 16;
        } while (i + 16 <= n);
        tr_simd_store(w + n - 16, tr_simd_load(s + n - 16));
        return w + n;
    }
    if (n >= 8) {
        uint64_t a, b;
        memcpy(&a, s, 8);
        memcpy(&b, s + n - 8, 8);
        memcpy(w, &a, 8);
        memcpy(w + n - 8, &b, 8);
        return w + n;
    }
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, s, 4);
        memcpy(&b, s + n - 4, 4);
        memcpy(w, &a, 4);
        memcpy(w + n - 4, &b, 4);
        return w + n;
    }
#endif
    memcpy(w, s, n);
    return w + n;
}

/* Copies text that stands for itself: ASCII without quotes, backslashes and controls. False: it is
 * not that, or it lies too near to the end of what may be read. Up to 15 bytes more are written. */
#define PLAIN_MAX 64
INLINE bool put_plain(char *w, struct tr_span s, const char *safe)
{
#if defined(TR_SIMD)
    if (s.len > PLAIN_MAX || (size_t)(safe - s.ptr) < ((s.len + 15) & ~(size_t)15))
        return false;
    for (size_t i = 0; i < s.len; i += 16) {
        __m128i v = tr_simd_load(s.ptr + i);
        tr_simd_store(w + i, v);
        /* signed: bytes above 0x7F are less than a space too */
        __m128i bad = _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(' ')),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                                _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
        uint32_t mask = (uint32_t)_mm_movemask_epi8(bad);
        if (s.len - i < 16)
            mask &= (1u << (s.len - i)) - 1;
        if (mask)
            return false;
    }
    return true;
#else
    (void)w, (void)s, (void)safe;
    return false;
#endif
}

/* A quoted string; leaves TR_PJ_ROOM. PLAIN_MAX + 16 + TR_PJ_ROOM bytes must be there. */
INLINE enum tr_err put_string(struct tr_pj *j, struct pen *pen, struct tr_span s, const char *safe)
{
    if (tr_likely(put_plain(pen->w + 1, s, safe))) {
        *pen->w = '"';
        pen->w[s.len + 1] = '"';
        pen->w += s.len + 2;
        return TR_OK;
    }
    pen_down(j->out, *pen);
    enum tr_err err = tr_emit_string(j->out, s, j->o->bad_utf8);
    *pen = pen_up(j->out);
    return err ? err : room(j, pen, TR_PJ_ROOM);
}
#define STRING_ROOM (PLAIN_MAX + 16 + TR_PJ_ROOM)

/* The separator and the name; the bracket of an open list before them. Room: KEY_ROOM + the length
 * of the name. */
#define KEY_ROOM 2
INLINE char *put_key(const struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                     struct tr_span key, char *w)
{
    (void)j;
    if (f->cur) {
        *w++ = (f->cur->flags & TR_FF_MAP) ? '}' : ']';
        f->cur = NULL;
    }
    *w++ = f->sep;
    f->sep = ',';
    tr_pj_mark_seen(f, fd->index);
    if (fd->oneof)
        tr_pj_mark_seen(f, f->oneof_base + fd->oneof - 1u);
    return put_bytes(w, key.ptr, key.len);
}

INLINE struct tr_span key_of(const struct tr_pj *j, const struct tr_field *fd)
{
    return j->o->proto_names ? fd->names->proto_key : fd->names->json_key;
}

/* -- numbers -- */

/* Below 10,000 without a call: most numbers are small. */
INLINE char *put_u64(char *w, uint64_t v)
{
    if (tr_unlikely(v >= 10000))
        return w + tr_num_u64(w, v);
    if (v < 10) {
        *w = (char)('0' + v);
        return w + 1;
    }
    if (v < 100) {
        memcpy(w, tr_pj_pairs + 2 * v, 2);
        return w + 2;
    }
    size_t hundreds = (size_t)v / 100;
    char *q = w;
    if (hundreds < 10) {
        *q++ = (char)('0' + hundreds);
    } else {
        memcpy(q, tr_pj_pairs + 2 * hundreds, 2);
        q += 2;
    }
    memcpy(q, tr_pj_pairs + 2 * ((size_t)v % 100), 2);
    return q + 2;
}

INLINE char *put_i64(char *w, int64_t v)
{
    *w = '-';
    w += v < 0;
    return put_u64(w, v < 0 ? 0u - (uint64_t)v : (uint64_t)v);
}

/* Any scalar but a string; leaves TR_PJ_ROOM, which must be there. */
INLINE enum tr_err put_number(struct tr_pj *j, struct pen *pen, const struct tr_field *fd,
                              const struct tr_pj_scalar *v)
{
    char *w = pen->w;
    switch (fd->type) {
    case TR_FT_INT32:
    case TR_FT_SINT32:
    case TR_FT_SFIXED32:
        pen->w = put_i64(w, (int64_t)v->u);
        break;
    case TR_FT_UINT32:
    case TR_FT_FIXED32:
        pen->w = put_u64(w, v->u);
        break;
    case TR_FT_INT64:
    case TR_FT_SINT64:
    case TR_FT_SFIXED64:
        *w++ = '"';
        w = put_i64(w, (int64_t)v->u);
        *w++ = '"';
        pen->w = w;
        break;
    default: {
        pen_down(j->out, *pen);
        enum tr_err err = tr_pj_put_scalar(j, fd, v);
        *pen = pen_up(j->out);
        if (err)
            return err;
    }
    }
    return room(j, pen, TR_PJ_ROOM);
}

/* -- singular -- */

enum step { STEP_DONE, STEP_SLOW, STEP_PUSHED, STEP_FAILED };

/* A singular scalar whose value is at *p; *p is left alone unless STEP_DONE. */
INLINE enum step step_scalar(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                             const char **p, const char *end, struct pen *pen, enum tr_err *ret_err)
{
    struct tr_pj_scalar v;
    const char *q = *p;
    if (!tr_pj_read_scalar_inline(fd, &q, end, &v))
        return STEP_SLOW;
    if (tr_unlikely(v.u == 0) && !(fd->flags & TR_FF_PRESENCE) && !j->o->emit_defaults) {
        *p = q;
        return STEP_DONE;
    }
    if (tr_unlikely(fd->flags & TR_FF_CLOSED_ENUM))
        return STEP_SLOW;
    struct tr_span key = key_of(j, fd);
    *ret_err = room(j, pen, key.len + KEY_ROOM + STRING_ROOM);
    if (*ret_err)
        return STEP_FAILED;
    pen->w = put_key(j, f, fd, key, pen->w);
    *p = q;
    if (fd->type == TR_FT_STRING) {
        *ret_err = put_string(j, pen, v.s, f->safe);
    } else {
        *ret_err = put_number(j, pen, fd, &v);
    }
    return *ret_err ? STEP_FAILED : STEP_DONE;
}

INLINE enum step push_message(struct tr_pj *j, const struct tr_field *fd, struct tr_span wire,
                              struct pen *pen, enum tr_err *ret_err)
{
    const struct tr_pj_push push = {.type = fd->sub.msg, .wire = wire, .via = fd};
    pen_down(j->out, *pen);
    if (tr_likely(push.type->wkt == TR_WKT_NONE)) {
        *ret_err = tr_pj_push_frame(j, &push);
        return *ret_err ? STEP_FAILED : STEP_PUSHED;
    }
    const struct tr_pj_frame *top = j->top;
    *ret_err = tr_pj_wkt(j, &push);
    *pen = pen_up(j->out);
    if (!*ret_err)
        *ret_err = room(j, pen, TR_PJ_ROOM);
    return *ret_err ? STEP_FAILED : j->top == top ? STEP_DONE : STEP_PUSHED;
}

/* A Value with one member, which is the usual; anything else takes the long way. */
INLINE enum step put_value(struct tr_pj *j, const struct tr_pj_frame *f, const struct tr_field *vf,
                           struct tr_span wire, struct pen *pen, enum tr_err *ret_err)
{
    const struct tr_msgtype *type = vf->sub.msg;
    if (wire.len < 2 || ((uint8_t)wire.ptr[0] & 0x80))
        return push_message(j, vf, wire, pen, ret_err);
    uint32_t number = (uint8_t)wire.ptr[0] >> 3, wt = wire.ptr[0] & 7;
    const struct tr_field *fd = tr_msgtype_field(type, number);
    const char *p = wire.ptr + 1, *end = wire.ptr + wire.len;
    struct tr_pj_scalar v;
    if (!fd || number > TR_PJ_VALUE_LIST || wt != tr_pj_wire_of[fd->type])
        return push_message(j, vf, wire, pen, ret_err);
    if (fd->type == TR_FT_MESSAGE) {
        struct tr_pj_push push = {.type = fd->sub.msg, .via = vf};
        push.only = tr_pj_only_field(push.type);
        if (!push.only || !tr_wire_len(&p, end, &push.wire) || p != end)
            return push_message(j, vf, wire, pen, ret_err);
        pen_down(j->out, *pen);
        *ret_err = tr_pj_push_frame(j, &push);
        return *ret_err ? STEP_FAILED : STEP_PUSHED;
    }
    if (!tr_pj_read_scalar_inline(fd, &p, end, &v) || p != end ||
        (number == TR_PJ_VALUE_NUMBER && (v.u >> 52 & 0x7FF) == 0x7FF))
        return push_message(j, vf, wire, pen, ret_err);
    if (fd->type == TR_FT_STRING)
        *ret_err = put_string(j, pen, v.s, f->safe);
    else
        *ret_err = put_number(j, pen, fd, &v);
    return *ret_err ? STEP_FAILED : STEP_DONE;
}

/* A message as an item or as the value of a map; STRING_ROOM bytes must be there. */
INLINE enum step put_item(struct tr_pj *j, const struct tr_pj_frame *f, const struct tr_field *fd,
                          struct tr_span wire, struct pen *pen, enum tr_err *ret_err)
{
    if (fd->sub.msg->wkt == TR_WKT_VALUE)
        return put_value(j, f, fd, wire, pen, ret_err);
    return push_message(j, fd, wire, pen, ret_err);
}

INLINE enum step step_message(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                              const char **p, const char *end, struct pen *pen,
                              enum tr_err *ret_err)
{
    struct tr_span s;
    const char *q = *p;
    if (!tr_wire_len(&q, end, &s))
        return STEP_SLOW;
    struct tr_span key = key_of(j, fd);
    *ret_err = room(j, pen, key.len + KEY_ROOM + TR_PJ_ROOM);
    if (*ret_err)
        return STEP_FAILED;
    pen->w = put_key(j, f, fd, key, pen->w);
    *p = f->p = q;
    return push_message(j, fd, s, pen, ret_err);
}

/* -- lists and maps -- */

/* What stands before an item; leaves `after` bytes of room. */
INLINE enum tr_err begin_item(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                              struct pen *pen, char open, size_t after)
{
    if (f->cur == fd) {
        enum tr_err err = room(j, pen, 1 + after);
        if (!err)
            *pen->w++ = ',';
        return err;
    }
    struct tr_span key = tr_unlikely(f->only != NULL) ? tr_span("", 0) : key_of(j, fd);
    enum tr_err err = room(j, pen, key.len + KEY_ROOM + 1 + after);
    if (err)
        return err;
    if (tr_likely(key.len))
        pen->w = put_key(j, f, fd, key, pen->w);
    else
        f->sep = ',';
    *pen->w++ = open;
    f->cur = fd;
    f->item_sep = ',';
    return TR_OK;
}

/* Numbers and booleans, packed. */
static enum tr_err put_packed(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                              struct tr_span items)
{
    struct pen pen = pen_up(j->out);
    const char *p = items.ptr, *end = items.ptr + items.len;
    while (p < end) {
        struct tr_pj_scalar v;
        if (!tr_pj_read_scalar_inline(fd, &p, end, &v))
            return tr_pj_malformed(j);
        enum tr_err err = begin_item(j, f, fd, &pen, '[', TR_PJ_ROOM);
        if (!err)
            err = put_number(j, &pen, fd, &v);
        if (err)
            return err;
    }
    pen_down(j->out, pen);
    return TR_OK;
}

INLINE enum step step_map(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                          struct tr_span entry, struct pen *pen, enum tr_err *ret_err)
{
    const struct tr_field *kf = &fd->sub.msg->fields[0], *vf = &fd->sub.msg->fields[1];
    struct tr_pj_pair pair;
    bool dup;
    if (kf->type != TR_FT_STRING || !tr_pj_pair_read_plain(fd, entry, &pair))
        return STEP_SLOW;
    if (f->cur != fd)
        tr_pj_keys_clear(&f->keys);
    *ret_err = tr_pj_keys_add(j, &f->keys, fd, &pair.key, &dup);
    if (*ret_err || dup)
        return dup ? STEP_SLOW : STEP_FAILED;
    *ret_err = begin_item(j, f, fd, pen, '{', STRING_ROOM);
    if (!*ret_err)
        *ret_err = put_string(j, pen, pair.key.s, f->safe);
    if (*ret_err)
        return STEP_FAILED;
    *pen->w++ = ':';
    *ret_err = room(j, pen, STRING_ROOM);
    if (*ret_err)
        return STEP_FAILED;
    if (vf->type == TR_FT_STRING) {
        *ret_err = put_string(j, pen, pair.value.s, f->safe);
    } else if (vf->type == TR_FT_MESSAGE) {
        return put_item(j, f, vf, pair.message, pen, ret_err);
    } else {
        *ret_err = put_number(j, pen, vf, &pair.value);
    }
    return *ret_err ? STEP_FAILED : STEP_DONE;
}

INLINE enum step step_repeated(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                               const char **p, const char *end, struct pen *pen,
                               enum tr_err *ret_err)
{
    struct tr_span s;
    const char *q = *p;
    if (fd->type == TR_FT_ENUM || fd->type == TR_FT_BYTES || !tr_wire_len(&q, end, &s))
        return STEP_SLOW;
    if (fd->type == TR_FT_STRING) {
        *ret_err = begin_item(j, f, fd, pen, '[', STRING_ROOM);
        if (!*ret_err)
            *ret_err = put_string(j, pen, s, f->safe);
    } else if (fd->flags & TR_FF_MAP) {
        f->p = q;
        enum step step = step_map(j, f, fd, s, pen, ret_err);
        if (step != STEP_SLOW)
            *p = q;
        return step;
    } else if (fd->type == TR_FT_MESSAGE) {
        *ret_err = begin_item(j, f, fd, pen, '[', STRING_ROOM);
        if (*ret_err)
            return STEP_FAILED;
        *p = f->p = q;
        return put_item(j, f, fd, s, pen, ret_err);
    } else {
        pen_down(j->out, *pen);
        *ret_err = put_packed(j, f, fd, s);
        *pen = pen_up(j->out);
        if (!*ret_err)
            *ret_err = room(j, pen, TR_PJ_ROOM);
    }
    *p = q;
    return *ret_err ? STEP_FAILED : STEP_DONE;
}

/* -- the loop -- */

/* A record by its tag, when the tag has one or two bytes, the field is in the dense table and not
 * in a oneof. */
INLINE enum step step_record(struct tr_pj *j, struct tr_pj_frame *f, const char **p,
                             const char *end, struct pen *pen, enum tr_err *ret_err)
{
    const char *q = *p;
    uint32_t tag = (uint8_t)*q++;
    if (tag >= 0x80) {
        if (q == end || (uint8_t)*q >= 0x80)
            return STEP_SLOW;
        tag = (tag & 0x7F) | (uint32_t)(uint8_t)*q++ << 7;
    }
    uint32_t number = tag >> 3, wire = tag & 7;
    uint32_t at = number < f->type->dense_count ? f->type->by_number[number] : 0;
    if (tr_unlikely(!at))
        return STEP_SLOW;
    const struct tr_field *fd = &f->type->fields[at - 1];
    if (tr_unlikely(f->only && fd != f->only))
        return STEP_SLOW;
    if (tr_unlikely((f->cur != fd && tr_pj_seen(f, fd->index)) ||
                    (fd->oneof && tr_pj_seen(f, f->oneof_base + fd->oneof - 1u))))
        return STEP_SLOW;
    enum step step;
    if (fd->flags & TR_FF_REPEATED) {
        if (tr_unlikely(wire != TR_WIRE_LEN || fd->type == TR_FT_GROUP))
            return STEP_SLOW;
        step = step_repeated(j, f, fd, &q, end, pen, ret_err);
    } else if (tr_unlikely(wire != tr_pj_wire_of[fd->type] || fd->type == TR_FT_GROUP)) {
        return STEP_SLOW;
    } else if (fd->type == TR_FT_MESSAGE) {
        step = step_message(j, f, fd, &q, end, pen, ret_err);
    } else {
        step = step_scalar(j, f, fd, &q, end, pen, ret_err);
    }
    if (step != STEP_SLOW)
        *p = q;
    return step;
}

/* The end of a message: bracket and brace. False: the slow way is needed. */
INLINE bool close_frame(struct tr_pj *j, struct tr_pj_frame *f, struct pen *pen)
{
    if (tr_unlikely(f->extra || (f->only ? !f->cur : j->o->emit_defaults)))
        return false;
    char *w = pen->w;
    if (f->cur)
        *w++ = (f->cur->flags & TR_FF_MAP) ? '}' : ']';
    if (tr_likely(!f->only)) {
        *w = '{';
        w += f->sep == '{';
        *w++ = '}';
    }
    pen->w = w;
    tr_pj_drop_frame(j, f);
    return true;
}

enum tr_err tr_pj_plain_run(struct tr_pj *j)
{
    struct tr_pj_frame *f = j->top;
    enum tr_err err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    if (err)
        return err;
    struct pen pen = pen_up(j->out);
    for (;;) {
        const char *p = f->p, *const end = f->end;
        enum step step = STEP_DONE;
        while (p < end && (step = step_record(j, f, &p, end, &pen, &err)) == STEP_DONE)
            ;
        if (step == STEP_FAILED)
            return err;
        f->p = p;
        if (step == STEP_SLOW) {
            pen_down(j->out, pen);
            err = tr_pj_slow_record(j, f);
            if (err)
                return err;
        } else if (step == STEP_PUSHED) {
            ; /* the pen is down */
        } else if (!close_frame(j, f, &pen)) {
            pen_down(j->out, pen);
            err = tr_pj_pop_frame(j, f);
            if (err)
                return err;
        } else {
            pen_down(j->out, pen);
        }
        f = j->top;
        if (!f || !f->plain)
            return TR_OK;
        err = tr_buf_reserve(j->out, TR_PJ_ROOM);
        if (err)
            return err;
        pen = pen_up(j->out);
        if (tr_unlikely(j->out->len > j->limit))
            return tr_pj_oversized(j);
    }
}
