/* What the files of pb2json share. Not for others.
 *
 * Vocabulary: a *frame* is one message that is being printed; a *slot* is a bit of its seen set:
 * fields by index, then extensions in order of number, then the real oneofs. A frame is *bare* when
 * it prints the value of one field of its message and nothing else: Struct, ListValue and
 * response_body are that. A frame *streams* until a field comes back, then it is *indexed*: printed
 * again from a sorted list of its records. */
#ifndef TR_TRANSCODE_PB2JSON_PRIV_H
#define TR_TRANSCODE_PB2JSON_PRIV_H

#include "base/assert.h"
#include "proto/wire.h"
#include "transcode/fields.h"
#include "transcode/pb2json.h"

#define TR_PJ_DEPTH_MAX 100 /* messages inside the root */
#define TR_PJ_ROOM      40  /* bytes that are always reserved for a number after its key */
#define TR_PJ_NEAR      6
#define TR_PJ_REDO_MAX                                                                             \
    16 /* index passes after which what is below an indexed frame is indexed at once */

/* A scalar off the wire: u is the number (integers sign-extended, floats as bits, strings their
 * length): 0 is the zero of every type; s has the bytes of strings and bytes. */
struct tr_pj_scalar {
    uint64_t u;
    struct tr_span s;
};

/* One record of an indexed message: where its value starts, its slot, wire type, and whether it
 * lost to a later one. */
struct tr_pj_entry {
    uint32_t off;
    uint32_t meta;
};
#define TR_PJ_META(slot, wire) ((uint32_t)(slot) << 4 | (uint32_t)(wire) << 1)
#define TR_PJ_DROPPED          1u

static inline uint32_t tr_pj_entry_slot(const struct tr_pj_entry *e)
{
    return e->meta >> 4;
}
static inline uint32_t tr_pj_entry_wire(const struct tr_pj_entry *e)
{
    return e->meta >> 1 & 7;
}

/* Keys of the open map: a list, and a hash table over it once the list is long. */
#define TR_PJ_KEYS_FEW 4
struct tr_pj_keys {
    struct tr_pj_scalar few[TR_PJ_KEYS_FEW]; /* the list until it is longer */
    struct tr_pj_scalar *list;
    uint32_t count, cap;
    uint32_t *table; /* 1 + position in list */
    uint32_t mask;
};

struct tr_pj_frame {
    struct tr_pj_frame *prev;
    const struct tr_msgtype *type;
    const char *p, *begin, *end;
    const char *safe; /* bytes up to here may be read: the end of what surrounds this message */
    const struct tr_field *cur;  /* the list or map that is open */
    const struct tr_field *via;  /* the field that led here, for error texts */
    const struct tr_field *only; /* bare frames: the field that is printed */
    const struct tr_field_tree *tree;
    uint64_t *seen;
    uint64_t seen_inline[2];
    size_t out_start;
    struct tr_arena_mark mark;
    struct tr_pj_keys keys;
    struct tr_pj_entry *entries;
    uint32_t entry_count, entry_at;
    uint32_t indent;     /* at out_start */
    uint32_t oneof_base; /* slot of oneof 1 */
    uint16_t seen_words;
    char sep, start_sep; /* written before the next key */
    char item_sep;       /* written before the next item of cur */
    uint8_t extra;       /* braces of enclosing Any messages to close after this value */
    bool plain; /* streams a whole message, a Struct or a ListValue, compact: pb2json_plain.c */
    bool indexed, want_index;
};

struct tr_pj {
    const struct tr_pb2json_opts *o;
    struct tr_buf *out;
    struct tr_arena *scratch;
    struct tr_status *st;
    struct tr_pj_frame *top;
    size_t limit;        /* of out->len */
    size_t merge_budget; /* bytes that merged messages may still take */
    uint32_t indent, depth, redos;
    struct tr_pj_frame near[TR_PJ_NEAR]; /* the outer frames; inner ones are in scratch */
};

/* -- pb2json.c -- */
/* One record whose value is at *p; advances *p. TR_ERR_AGAIN: the field was printed before, index
 * the frame. */
enum tr_err tr_pj_field(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                        uint32_t wire, const char **p, const char *end) TR_MUST_USE;
/* The value of a singular message field. */
enum tr_err tr_pj_submessage(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                             struct tr_span value) TR_MUST_USE;
/* A message as a value: printed at once, or a frame is pushed. */
struct tr_pj_push {
    const struct tr_msgtype *type;
    struct tr_span wire;
    const struct tr_field *via;
    const struct tr_field *only;
    const struct tr_field_tree *tree;
    uint8_t extra;
    bool opened; /* the brace and something in it are written already */
};
enum tr_err tr_pj_push_frame(struct tr_pj *j, const struct tr_pj_push *push) TR_MUST_USE;
/* The record at f->p, whatever it is; the frame may be indexed or another may be on top after it.
 */
enum tr_err tr_pj_slow_record(struct tr_pj *j, struct tr_pj_frame *f) TR_MUST_USE;
/* End of the frame on top: what is still to be printed, then it is dropped. */
enum tr_err tr_pj_pop_frame(struct tr_pj *j, struct tr_pj_frame *f) TR_MUST_USE;
enum tr_err tr_pj_malformed(struct tr_pj *j) TR_MUST_USE;
enum tr_err tr_pj_oversized(struct tr_pj *j) TR_MUST_USE;
/* Newline and indentation when pretty. */
enum tr_err tr_pj_newline(struct tr_pj *j) TR_MUST_USE;
/* Closing braces of enclosing Any messages. */
enum tr_err tr_pj_close_extra(struct tr_pj *j, unsigned extra) TR_MUST_USE;

/* tr_pb2json of a value that stands inside other JSON, `indent` levels deep. */
enum tr_err tr_pb2json_indented(const struct tr_msgtype *type, struct tr_span wire,
                                const struct tr_pb2json_opts *opts, unsigned indent,
                                struct tr_buf *out, struct tr_arena *scratch) TR_MUST_USE;

/* -- pb2json_plain.c -- */
/* Prints until the frame on top is not plain, or there is none. */
enum tr_err tr_pj_plain_run(struct tr_pj *j) TR_MUST_USE;

/* -- pb2json_scalar.c -- */
/* TR_PJ_ROOM bytes must be reserved. */
enum tr_err tr_pj_put_scalar(struct tr_pj *j, const struct tr_field *fd,
                             const struct tr_pj_scalar *v) TR_MUST_USE;
/* The quoted key of a map. */
enum tr_err tr_pj_put_key(struct tr_pj *j, const struct tr_field *fd,
                          const struct tr_pj_scalar *v) TR_MUST_USE;
/* The text of a key that is not a string, without quotes; out holds TR_PJ_ROOM bytes. */
size_t tr_pj_key_text(char *out, const struct tr_field *fd, const struct tr_pj_scalar *v);
/* The value of an absent field. */
enum tr_err tr_pj_put_zero(struct tr_pj *j, const struct tr_field *fd) TR_MUST_USE;
/* False: truncated. Reads by the declared type; the wire type was checked. */
bool tr_pj_read_scalar(const struct tr_field *fd, const char **p, const char *end,
                       struct tr_pj_scalar *ret);
/* The content of a message or group whose tag was read. */
bool tr_pj_read_message(const struct tr_field *fd, const char **p, const char *end,
                        struct tr_span *ret);
/* Closed enums: unknown numbers are unknown fields. */
bool tr_pj_enum_known(const struct tr_field *fd, const struct tr_pj_scalar *v);

/* -- pb2json_map.c -- */
struct tr_pj_pair {
    struct tr_pj_scalar key, value;
    struct tr_span message; /* the value when it is a message */
    bool has_key, has_value;
    bool dropped; /* unknown value of a closed enum: the entry is an unknown field */
};
enum tr_err tr_pj_pair_read(struct tr_pj *j, const struct tr_field *map, struct tr_span wire,
                            struct tr_pj_pair *ret) TR_MUST_USE;
/* The usual form, key and value once and in this order, without enums of closed types; false: use
 * the other. */
bool tr_pj_pair_read_plain(const struct tr_field *map, struct tr_span wire, struct tr_pj_pair *ret);
static inline void tr_pj_keys_clear(struct tr_pj_keys *keys)
{
    keys->count = 0;
    keys->table = NULL;
}
/* *ret_dup: the key was there. */
enum tr_err tr_pj_keys_add(struct tr_pj *j, struct tr_pj_keys *keys, const struct tr_field *map,
                           const struct tr_pj_scalar *key, bool *ret_dup) TR_MUST_USE;
/* The bytes of several occurrences one after the other, in scratch. */
enum tr_err tr_pj_concat(struct tr_pj *j, const struct tr_span *a, const struct tr_span *b,
                         struct tr_span *ret) TR_MUST_USE;

/* -- pb2json_wkt.c -- */
enum tr_err tr_pj_wkt(struct tr_pj *j, const struct tr_pj_push *push) TR_MUST_USE;

/* The one field of a Struct or ListValue; NULL when it is not declared as it should be. */
const struct tr_field *tr_pj_only_field(const struct tr_msgtype *type);
/* Numbers of google.protobuf.Value. */
enum {
    TR_PJ_VALUE_NULL = 1,
    TR_PJ_VALUE_NUMBER,
    TR_PJ_VALUE_STRING,
    TR_PJ_VALUE_BOOL,
    TR_PJ_VALUE_STRUCT,
    TR_PJ_VALUE_LIST,
};

/* -- pb2json_index.c -- */
enum tr_err tr_pj_index_start(struct tr_pj *j, struct tr_pj_frame *f) TR_MUST_USE;
enum tr_err tr_pj_index_run(struct tr_pj *j, struct tr_pj_frame *f) TR_MUST_USE;

/* -- inline -- */
extern const char tr_pj_pairs[201];     /* "00" to "99" */
extern const uint8_t tr_pj_wire_of[19]; /* wire type of each enum tr_ftype */

static inline bool tr_pj_is_message(const struct tr_field *fd)
{
    return fd->type == TR_FT_MESSAGE || fd->type == TR_FT_GROUP;
}
/* A record of another wire type is an unknown field; packed and unpacked lists are read alike. */
static inline bool tr_pj_accepts(const struct tr_field *fd, uint32_t wire)
{
    return tr_pj_wire_of[fd->type] == wire ||
           ((fd->flags & TR_FF_REPEATED) && wire == TR_WIRE_LEN && fd->type != TR_FT_GROUP);
}
static inline bool tr_pj_is_packed(const struct tr_field *fd, uint32_t wire)
{
    return wire == TR_WIRE_LEN && tr_pj_wire_of[fd->type] != TR_WIRE_LEN;
}
static inline uint32_t tr_pj_slot(const struct tr_msgtype *type, const struct tr_field *fd)
{
    return tr_likely(!(fd->flags & TR_FF_EXTENSION)) ? fd->index : tr_field_slot(type, fd);
}
static inline bool tr_pj_seen(const struct tr_pj_frame *f, uint32_t slot)
{
    return f->seen[slot >> 6] >> (slot & 63) & 1;
}
static inline void tr_pj_mark_seen(struct tr_pj_frame *f, uint32_t slot)
{
    f->seen[slot >> 6] |= (uint64_t)1 << (slot & 63);
}
static inline const struct tr_field_tree *tr_pj_subtree(const struct tr_pj_frame *f, uint32_t slot)
{
    if (tr_likely(!f->tree) || f->only)
        return f->tree;
    return f->tree->sub ? f->tree->sub[slot] : NULL;
}
static inline void tr_pj_drop_frame(struct tr_pj *j, struct tr_pj_frame *f)
{
    j->depth--;
    j->top = f->prev;
    if (tr_unlikely(j->scratch->ptr != f->mark.ptr))
        tr_arena_rewind(j->scratch, f->mark);
}
static inline bool tr_pj_selected(const struct tr_pj_frame *f, uint32_t slot)
{
    return tr_likely(!f->tree) || f->only || tr_field_tree_has(f->tree, slot);
}

/* tr_wire_varint with two bytes in line. */
static inline bool tr_pj_varint(const char **p, const char *end, uint64_t *ret)
{
    const char *q = *p;
    if (tr_likely(q < end)) {
        uint64_t v = (uint8_t)*q;
        if (v < 0x80) {
            *p = q + 1;
            *ret = v;
            return true;
        }
        if (tr_likely(end - q >= 2 && (uint8_t)q[1] < 0x80)) {
            *p = q + 2;
            *ret = (v & 0x7F) | (uint64_t)(uint8_t)q[1] << 7;
            return true;
        }
    }
    return tr_wire_varint_slow(p, end, ret);
}

static inline uint64_t tr_pj_sign_extend(uint32_t v)
{
    return (uint64_t)(int64_t)(int32_t)v;
}

static inline __attribute__((always_inline)) bool tr_pj_read_scalar_inline(
    const struct tr_field *fd, const char **p, const char *end, struct tr_pj_scalar *ret)
{
    uint32_t u32;
    switch (fd->type) {
    case TR_FT_STRING:
    case TR_FT_BYTES:
        if (!tr_wire_len(p, end, &ret->s))
            return false;
        ret->u = ret->s.len;
        return true;
    case TR_FT_DOUBLE:
    case TR_FT_FIXED64:
    case TR_FT_SFIXED64:
        return tr_wire_fixed64(p, end, &ret->u);
    case TR_FT_FLOAT:
    case TR_FT_FIXED32:
        if (!tr_wire_fixed32(p, end, &u32))
            return false;
        ret->u = u32;
        return true;
    case TR_FT_SFIXED32:
        if (!tr_wire_fixed32(p, end, &u32))
            return false;
        ret->u = tr_pj_sign_extend(u32);
        return true;
    default:
        break;
    }
    uint64_t v;
    if (!tr_pj_varint(p, end, &v))
        return false;
    switch (fd->type) {
    case TR_FT_INT32:
    case TR_FT_ENUM:
        v = tr_pj_sign_extend((uint32_t)v);
        break;
    case TR_FT_UINT32:
        v = (uint32_t)v;
        break;
    case TR_FT_SINT32:
        v = (uint64_t)(int64_t)tr_wire_unzigzag32((uint32_t)v);
        break;
    case TR_FT_SINT64:
        v = (uint64_t)tr_wire_unzigzag64(v);
        break;
    case TR_FT_BOOL:
        v = v != 0;
        break;
    default:
        break;
    }
    ret->u = v;
    return true;
}

#endif
