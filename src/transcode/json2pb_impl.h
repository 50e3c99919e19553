/* The inside of json2pb: frames, open lengths, held tokens. For json2pb*.c only.
 *
 *   frames   root | msg | list | msg | ...      the open JSON values, innermost on top
 *   lens     pos .. pos .. pos                  the length prefixes that are open, and those closed
 * ones that need more than the one byte they got; ascending by position
 *
 * A frame owns `opens` lengths, closed when it is popped: its own message, and what encloses just
 * it (the map entry, the Value). */
#ifndef TR_TRANSCODE_JSON2PB_IMPL_H
#define TR_TRANSCODE_JSON2PB_IMPL_H

#include "base/assert.h"
#include "transcode/json2pb.h"
#include "transcode/scalar.h"

enum tr_j2p_kind {
    J2P_ROOT,   /* below all: waits for the one value */
    J2P_MSG,    /* the object of a message (or the rest of an Any's, once its type is known) */
    J2P_LIST,   /* the array of a repeated field */
    J2P_MAP,    /* the object of a map field */
    J2P_STRUCT, /* the object of a google.protobuf.Struct */
    J2P_LISTVALUE,
    J2P_ANY,      /* the object of an Any whose type is not known yet */
    J2P_ANY_TYPE, /* the same, after the name "@type" */
    J2P_ANY_WKT,  /* the object of an Any whose type has a JSON form of its own, held by "value" */
    J2P_HOLD,     /* an Any without "@type" at its front: its tokens are held until it ends */
    J2P_SKIP,     /* an unknown value that is passed over */
};

enum tr_j2p_flags {
    J2P_F_GROUP = 1 << 0,     /* ends with an END_GROUP tag of the parent's field */
    J2P_F_PACKED = 1 << 1,    /* list elements go without tags */
    J2P_F_ANY = 1 << 2,       /* MSG, ANY_WKT: "@type" is not a field */
    J2P_F_TYPE_SEEN = 1 << 3, /* a second "@type" is a duplicate */
    J2P_F_VALUE_SEEN = 1 << 4,
    J2P_F_PATHS = 1 << 5,     /* fields of this message are reported to on_path */
    J2P_F_MEMBER = 1 << 6,    /* MSG: some field was there */
    J2P_F_SKIP_NEXT = 1 << 7, /* MSG, ANY_WKT: the next value is passed over */
};

struct tr_j2p_frame {
    const struct tr_msgtype *msg; /* MSG, ANY_WKT: the type */
    const struct tr_field
        *field;     /* ROOT, MSG: whose value comes next; LIST, MAP: the repeated field */
    uint64_t seen;  /* bits of fields, then of extensions, then of oneofs */
    uint32_t index; /* MSG: the field guessed next; LIST, LISTVALUE: elements so far; SKIP: depth */
    size_t start;   /* MAP, STRUCT: where the entry in hand begins (its key) */
    uint8_t kind, opens, flags;
};

/* Bits 64 and up of the `seen` of one slot of the stack; kept for the next message in that slot. */
struct tr_j2p_more {
    uint64_t *bits;
    uint32_t words;
};

struct tr_j2p_len {
    size_t pos;   /* of the length byte */
    size_t value; /* once closed: the true length */
    size_t extra; /* while open: bytes that lengths before it want beyond their one */
    uint32_t up;  /* the enclosing open length */
};

#define J2P_NO_LEN UINT32_MAX

struct tr_j2p_held; /* json2pb_any.c */

struct tr_json2pb {
    struct tr_buf *out;
    struct tr_arena *arena;
    struct tr_status *st;       /* of the call that runs */
    const struct tr_span *text; /* of the token in hand: the scanner's or a held one */
    struct tr_j2p_frame *frames;
    struct tr_j2p_len *lens;
    struct tr_j2p_more *more; /* by slot; NULL until a type needs it */
    uint32_t top, frame_cap;
    uint32_t len_count, len_cap, len_cur; /* len_cur: the innermost open length */
    size_t extra;                         /* bytes that the lengths so far want beyond their one */
    size_t limit;                         /* out->len must not pass it */
    size_t resume_len;                    /* out->len when the last call returned */
    bool replaying;                       /* tokens come from `held` */
    bool done;
    enum tr_err failed; /* final */
    const struct tr_msgtype *type;
    struct tr_j2p_held *held;
    char *path; /* for on_path */
    size_t path_cap;
    struct tr_json2pb_opts opts;
};

/* json2pb.c */
enum tr_err tr_j2p_push(struct tr_json2pb *j, enum tr_j2p_kind kind, unsigned opens,
                        struct tr_j2p_frame **ret);
enum tr_err tr_j2p_pop(struct tr_json2pb *j);
enum tr_err tr_j2p_lens_grow(struct tr_json2pb *j);
enum tr_err tr_j2p_expected(struct tr_json2pb *j, const char *what, enum tr_json_tok tok);

/* json2pb_msg.c */
/* A message begins in frame f: nothing of it was seen. */
void tr_j2p_unseen(struct tr_json2pb *j, struct tr_j2p_frame *f);
enum tr_err tr_j2p_msg_key(struct tr_json2pb *j, struct tr_j2p_frame *f);
enum tr_err tr_j2p_msg_end(struct tr_json2pb *j, struct tr_j2p_frame *f);
enum tr_err tr_j2p_list_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok);
enum tr_err tr_j2p_map_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok);
/* The value of the field in hand; f is the frame on top (ROOT or MSG). */
enum tr_err tr_j2p_field_value(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok);
/* The value of a message type; field (may be NULL: nothing is written around it) gives the tag;
 * opens lengths are closed with it. tok is not NULL-token unless the type is Value. */
enum tr_err tr_j2p_message(struct tr_json2pb *j, const struct tr_msgtype *msg,
                           const struct tr_field *field, enum tr_json_tok tok, unsigned opens);
/* A value that is passed over, whose first token is tok. */
enum tr_err tr_j2p_skip(struct tr_json2pb *j, enum tr_json_tok tok);
/* A name that the type of frame f does not have. */
enum tr_err tr_j2p_unknown_name(struct tr_json2pb *j, struct tr_j2p_frame *f);
/* json2pb_scalar.c: a scalar value, with its tag or without. TR_ERR_JSON_ENUM leaves out as it was.
 */
enum tr_err tr_j2p_scalar(struct tr_json2pb *j, const struct tr_field *field, bool tag,
                          enum tr_json_tok tok);

/* json2pb_wkt.c: the steps of frames of those kinds, and the values of types with a form of their
 * own. */
enum tr_err tr_j2p_wkt(struct tr_json2pb *j, const struct tr_msgtype *msg, enum tr_json_tok tok,
                       unsigned opens);
enum tr_err tr_j2p_struct_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok);
enum tr_err tr_j2p_listvalue_step(struct tr_json2pb *j, struct tr_j2p_frame *f,
                                  enum tr_json_tok tok);

/* json2pb_any.c */
enum tr_err tr_j2p_any_begin(struct tr_json2pb *j, unsigned opens);
enum tr_err tr_j2p_any_step(struct tr_json2pb *j, struct tr_j2p_frame *f,
                            const struct tr_json_scan *scan, enum tr_json_tok tok);
/* "@type" as a name in an Any whose type is known: passed over once. */
enum tr_err tr_j2p_any_type_again(struct tr_json2pb *j, struct tr_j2p_frame *f);
enum tr_err tr_j2p_any_wkt_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok);
enum tr_err tr_j2p_hold_step(struct tr_json2pb *j, struct tr_j2p_frame *f,
                             const struct tr_json_scan *scan, enum tr_json_tok tok);
/* The next held token; replaying ends with the last one. */
enum tr_json_tok tr_j2p_held_next(struct tr_json2pb *j);
/* The place of the held token in hand. */
void tr_j2p_held_place(const struct tr_json2pb *j, struct tr_status *st);
static inline bool tr_j2p_is_type_name(struct tr_span s)
{
    return s.len == 5 && memcmp(s.ptr, "@type", 5) == 0;
}

/* json2pb_path.c */
/* The dotted path of the value in hand, in proto names, with [index] and ["key"]; into buf, cut at
 * cap; returns its length. */
size_t tr_j2p_error_path(const struct tr_json2pb *j, char *buf, size_t cap);
/* Gives the path of the field in hand of the MSG frame on top (leaf), or of the message itself, to
 * on_path. */
enum tr_err tr_j2p_report_path(struct tr_json2pb *j, bool leaf);

/* -- bytes -- */

/* Names and strings of JSON are short, and a call of memcpy or memcmp costs more than the bytes do.
 */
static inline void tr_j2p_copy(char *to, const char *from, size_t n)
{
    uint64_t a, b;
    uint32_t c, d;
    if (n > 16) {
        memcpy(to, from, n);
    } else if (n >= 8) {
        memcpy(&a, from, 8);
        memcpy(&b, from + n - 8, 8);
        memcpy(to, &a, 8);
        memcpy(to + n - 8, &b, 8);
    } else if (n >= 4) {
        memcpy(&c, from, 4);
        memcpy(&d, from + n - 4, 4);
        memcpy(to, &c, 4);
        memcpy(to + n - 4, &d, 4);
    } else if (n) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}
static inline bool tr_j2p_same(struct tr_span x, struct tr_span y)
{
    uint64_t a, b, c, d;
    uint32_t e, f, g, h;
    size_t n = x.len;
    if (n != y.len)
        return false;
    if (n > 16)
        return memcmp(x.ptr, y.ptr, n) == 0;
    if (n >= 8) {
        memcpy(&a, x.ptr, 8);
        memcpy(&b, y.ptr, 8);
        memcpy(&c, x.ptr + n - 8, 8);
        memcpy(&d, y.ptr + n - 8, 8);
        return ((a ^ b) | (c ^ d)) == 0;
    }
    if (n >= 4) {
        memcpy(&e, x.ptr, 4);
        memcpy(&f, y.ptr, 4);
        memcpy(&g, x.ptr + n - 4, 4);
        memcpy(&h, y.ptr + n - 4, 4);
        return ((e ^ f) | (g ^ h)) == 0;
    }
    return n == 0 ||
           (x.ptr[0] == y.ptr[0] && x.ptr[n / 2] == y.ptr[n / 2] && x.ptr[n - 1] == y.ptr[n - 1]);
}

/* -- lengths -- */

/* A length that is not known yet, behind tag_len bytes that the caller has put at the end of out.
 */
static inline void tr_j2p_open_at(struct tr_json2pb *j, unsigned tag_len)
{
    struct tr_j2p_len *l = &j->lens[j->len_count];
    l->pos = j->out->len + tag_len;
    l->extra = j->extra;
    l->up = j->len_cur;
    j->len_cur = j->len_count++;
    j->out->len += tag_len + 1;
}
/* Room for a tag, a length byte and a record of it. */
static inline enum tr_err tr_j2p_open_room(struct tr_json2pb *j)
{
    enum tr_err err = tr_buf_reserve(j->out, 6);
    if (tr_unlikely(j->len_count == j->len_cap) && !err)
        err = tr_j2p_lens_grow(j);
    return err;
}
static inline enum tr_err tr_j2p_open_field(struct tr_json2pb *j, const struct tr_field *field)
{
    enum tr_err err = tr_j2p_open_room(j);
    if (tr_unlikely(err))
        return err;
    (void)tr_scalar_tag(tr_buf_end(j->out), field);
    tr_j2p_open_at(j, field->tag_len);
    return TR_OK;
}
static inline enum tr_err tr_j2p_open_tag(struct tr_json2pb *j, char tag)
{
    enum tr_err err = tr_j2p_open_room(j);
    if (tr_unlikely(err))
        return err;
    *tr_buf_end(j->out) = tag;
    tr_j2p_open_at(j, 1);
    return TR_OK;
}

static inline void tr_j2p_close(struct tr_json2pb *j)
{
    struct tr_j2p_len *l = &j->lens[j->len_cur];
    size_t len = j->out->len - l->pos - 1 + (j->extra - l->extra);
    if (len < 0x80) {
        /* A length that fits has none inside that does not, so it is the last one. */
        j->out->ptr[l->pos] = (char)len;
        j->len_cur = l->up;
        j->len_count--;
        return;
    }
    j->extra += tr_wire_varint_len(len) - 1;
    l->value = len;
    j->len_cur = l->up;
}
static inline void tr_j2p_close_n(struct tr_json2pb *j, unsigned n)
{
    while (n--)
        tr_j2p_close(j);
}
/* Takes back the innermost open length with all that was written since its tag (tag_len bytes). */
static inline void tr_j2p_abandon(struct tr_json2pb *j, unsigned tag_len)
{
    struct tr_j2p_len *l = &j->lens[j->len_cur];
    j->out->len = l->pos - tag_len;
    j->extra = l->extra;
    j->len_count = j->len_cur;
    j->len_cur = l->up;
}

#endif
