/* Descriptor sets by hand, for what protoc refuses to make: each function appends to a buffer,
 * nested messages are built first and then put. Names follow descriptor.proto. Out of memory ends
 * the test. */
#ifndef TR_TESTS_UNIT_PROTO_FDS_H
#define TR_TESTS_UNIT_PROTO_FDS_H

#include "base/buf.h"
#include "proto/typepool.h"
#include "proto/types.h"
#include "proto/wire.h"
#include "test.h"

static inline void fds_varint(struct tr_buf *b, uint32_t number, uint64_t v)
{
    char tmp[2 * TR_VARINT_MAX];
    size_t n = tr_wire_put_varint(tmp, (uint64_t)number << 3 | TR_WIRE_VARINT);
    n += tr_wire_put_varint(tmp + n, v);
    assert_int_equal(tr_buf_append(b, tr_span(tmp, n)), TR_OK);
}

static inline void fds_bytes(struct tr_buf *b, uint32_t number, struct tr_span s)
{
    char tmp[2 * TR_VARINT_MAX];
    size_t n = tr_wire_put_varint(tmp, (uint64_t)number << 3 | TR_WIRE_LEN);
    n += tr_wire_put_varint(tmp + n, s.len);
    assert_int_equal(tr_buf_append(b, tr_span(tmp, n)), TR_OK);
    assert_int_equal(tr_buf_append(b, s), TR_OK);
}

static inline void fds_text(struct tr_buf *b, uint32_t number, const char *text)
{
    fds_bytes(b, number, tr_span_cstr(text));
}

/* Puts sub into b as a message and empties sub. */
static inline void fds_put(struct tr_buf *b, uint32_t number, struct tr_buf *sub)
{
    fds_bytes(b, number, tr_buf_span(sub));
    tr_buf_fini(sub);
    tr_buf_init(sub);
}

enum { FDS_OPTIONAL = 1, FDS_REQUIRED = 2, FDS_REPEATED = 3 };

struct fds_field {
    const char *name;
    int number, label, type;
    const char *type_name, *json_name, *default_value, *extendee;
    int oneof_index; /* 1-based; 0: none */
    bool proto3_optional;
    struct tr_span options; /* serialized FieldOptions */
};

static inline void fds_field(struct tr_buf *b, uint32_t into, struct fds_field f)
{
    struct tr_buf sub;
    tr_buf_init(&sub);
    if (f.name)
        fds_text(&sub, 1, f.name);
    if (f.extendee)
        fds_text(&sub, 2, f.extendee);
    fds_varint(&sub, 3, (uint64_t)(int64_t)f.number);
    fds_varint(&sub, 4, (uint64_t)(f.label ? f.label : FDS_OPTIONAL));
    if (f.type)
        fds_varint(&sub, 5, (uint64_t)f.type);
    if (f.type_name)
        fds_text(&sub, 6, f.type_name);
    if (f.default_value)
        fds_text(&sub, 7, f.default_value);
    if (f.options.len)
        fds_bytes(&sub, 8, f.options);
    if (f.oneof_index)
        fds_varint(&sub, 9, (uint64_t)(f.oneof_index - 1));
    if (f.json_name)
        fds_text(&sub, 10, f.json_name);
    if (f.proto3_optional)
        fds_varint(&sub, 17, 1);
    fds_put(b, into, &sub);
}

/* A file of name and package; syntax NULL: proto2. */
static inline void fds_file_head(struct tr_buf *b, const char *name, const char *package,
                                 const char *syntax)
{
    fds_text(b, 1, name);
    if (package)
        fds_text(b, 2, package);
    if (syntax)
        fds_text(b, 12, syntax);
}

/* Field numbers of the parts. */
enum {
    FDS_SET_FILE = 1,
    FDS_FILE_DEP = 3,
    FDS_FILE_MESSAGE = 4,
    FDS_FILE_ENUM = 5,
    FDS_FILE_SERVICE = 6,
    FDS_FILE_EXTENSION = 7,
    FDS_MSG_FIELD = 2,
    FDS_MSG_NESTED = 3,
    FDS_MSG_ENUM = 4,
    FDS_MSG_EXTENSION = 6,
    FDS_MSG_OPTIONS = 7,
    FDS_MSG_ONEOF = 8,
};

/* What link says of a set: the problems, one a line. "": none. For tests of refusals; at most 1,000
 * bytes. */
struct fds_report {
    char text[2000];
    size_t len;
    int count;
};

static inline void fds_note(void *ctx, const struct tr_status *st)
{
    struct fds_report *r = ctx;
    r->count++;
    if (r->len + st->text_len + 1 < sizeof r->text) {
        memcpy(r->text + r->len, st->text, st->text_len);
        r->len += st->text_len;
        r->text[r->len++] = '\n';
        r->text[r->len] = '\0';
    }
}

/* A pool with the sets, linked; NULL when that failed. */
static inline struct tr_typepool *fds_pool(const struct tr_span *sets, size_t count,
                                           struct fds_report *report)
{
    struct tr_typepool *pool;
    struct tr_status st;
    tr_status_clear(&st);
    memset(report, 0, sizeof *report);
    if (tr_typepool_new(&pool) != TR_OK)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (tr_typepool_add(pool, sets[i], &st) != TR_OK) {
            fds_note(report, &st);
            tr_typepool_free(pool);
            return NULL;
        }
    if (tr_typepool_link(pool, fds_note, report, &st) != TR_OK) {
        tr_typepool_free(pool);
        return NULL;
    }
    return pool;
}

/* One file with one message M; fields are put by the caller. */
struct fds_one {
    struct tr_buf set, file, msg;
};

static inline void fds_one_begin(struct fds_one *o, const char *syntax)
{
    memset(o, 0, sizeof *o);
    fds_file_head(&o->file, "a.proto", "p", syntax);
    fds_text(&o->msg, 1, "M");
}

static inline void fds_one_end(struct fds_one *o)
{
    fds_put(&o->file, FDS_FILE_MESSAGE, &o->msg);
    fds_put(&o->set, FDS_SET_FILE, &o->file);
}

static inline void fds_one_fini(struct fds_one *o)
{
    tr_buf_fini(&o->set);
    tr_buf_fini(&o->file);
    tr_buf_fini(&o->msg);
}

/* A service S with one method Call. */
static inline void fds_put_service(struct fds_one *o, const char *input, const char *output,
                                   struct tr_span options)
{
    struct tr_buf s, m;
    tr_buf_init(&s);
    tr_buf_init(&m);
    fds_text(&m, 1, "Call");
    if (input)
        fds_text(&m, 2, input);
    if (output)
        fds_text(&m, 3, output);
    if (options.len)
        fds_bytes(&m, 4, options);
    fds_text(&s, 1, "S");
    fds_put(&s, 2, &m);
    fds_put(&o->file, FDS_FILE_SERVICE, &s);
}

#endif
