/* What the tests of the JSON reader share: its types, and the wire as text. */
#ifndef TR_TESTS_UNIT_TRANSCODE_JSON2PB_UTIL_H
#define TR_TESTS_UNIT_TRANSCODE_JSON2PB_UTIL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/num.h"
#include "proto/typepool.h"
#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A whole file; the caller frees ptr with free(). ptr NULL when there is none. */
static inline struct tr_span j2p_read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return (struct tr_span){NULL, 0};
    size_t len = 0, cap = 65536;
    char *p = malloc(cap);
    for (size_t n = 1; p && n; len += n) {
        if (len == cap && (p = realloc(p, cap *= 2)) == NULL)
            break;
        n = fread(p + len, 1, cap - len, f);
    }
    (void)fclose(f);
    return (struct tr_span){p, p ? len : 0};
}

/* The types of json2pb.proto and json2pb_old.proto; TR_TEST_SET is the descriptor set that the
 * build made of them. */
static inline struct tr_typepool *j2p_pool(void)
{
    static struct tr_typepool *pool;
    struct tr_status st;
    if (pool)
        return pool;
    struct tr_span set = j2p_read_file(TR_TEST_SET);
    if (!set.ptr || tr_typepool_new(&pool) || tr_typepool_add(pool, set, &st) ||
        tr_typepool_link(pool, NULL, NULL, &st) || tr_typepool_freeze(pool, true, &st)) {
        (void)fprintf(stderr, "no types in %s: %.*s\n", TR_TEST_SET, (int)st.text_len, st.text);
        abort();
    }
    free((void *)(uintptr_t)set.ptr);
    return pool;
}

static inline const struct tr_msgtype *j2p_type(const char *name)
{
    const struct tr_msgtype *t = tr_typepool_find(j2p_pool(), tr_span_cstr(name));
    if (!t) {
        (void)fprintf(stderr, "no type %s\n", name);
        abort();
    }
    return t;
}

static inline void j2p_quoted(struct tr_buf *out, struct tr_span s)
{
    (void)!tr_buf_push(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
            (void)tr_buf_printf(out, "\\%03o", c);
        else
            (void)!tr_buf_push(out, (char)c);
    }
    (void)!tr_buf_push(out, '"');
}

static inline void j2p_double(struct tr_buf *out, double d, bool is_float)
{
    char s[TR_NUM_MAX];
    if (__builtin_isnan(d))
        (void)tr_buf_printf(out, "nan");
    else if (__builtin_isinf(d))
        (void)tr_buf_printf(out, d > 0 ? "inf" : "-inf");
    else
        (void)!tr_buf_append(
            out, tr_span(s, is_float ? tr_num_float(s, (float)d) : tr_num_double(s, d)));
}

/* One scalar of the wire; false when it is cut off. */
static inline bool j2p_scalar(struct tr_buf *out, const struct tr_field *f, const char **p,
                              const char *end)
{
    uint64_t v = 0;
    uint32_t v32 = 0;
    double d;
    float fl;
    struct tr_span s;
    switch (f->type) {
    case TR_FT_DOUBLE:
        if (!tr_wire_fixed64(p, end, &v))
            return false;
        memcpy(&d, &v, 8);
        j2p_double(out, d, false);
        return true;
    case TR_FT_FLOAT:
        if (!tr_wire_fixed32(p, end, &v32))
            return false;
        memcpy(&fl, &v32, 4);
        j2p_double(out, (double)fl, true);
        return true;
    case TR_FT_FIXED64:
        return tr_wire_fixed64(p, end, &v) && !tr_buf_printf(out, "%llu", (unsigned long long)v);
    case TR_FT_SFIXED64:
        return tr_wire_fixed64(p, end, &v) && !tr_buf_printf(out, "%lld", (long long)v);
    case TR_FT_FIXED32:
        return tr_wire_fixed32(p, end, &v32) && !tr_buf_printf(out, "%u", v32);
    case TR_FT_SFIXED32:
        return tr_wire_fixed32(p, end, &v32) && !tr_buf_printf(out, "%d", (int32_t)v32);
    case TR_FT_STRING:
    case TR_FT_BYTES:
        if (!tr_wire_len(p, end, &s))
            return false;
        j2p_quoted(out, s);
        return true;
    default:
        break;
    }
    if (!tr_wire_varint(p, end, &v))
        return false;
    if (f->type == TR_FT_BOOL)
        (void)tr_buf_printf(out, v ? "true" : "false");
    else if (f->type == TR_FT_UINT64 || f->type == TR_FT_UINT32)
        (void)tr_buf_printf(out, "%llu", (unsigned long long)v);
    else if (f->type == TR_FT_SINT32 || f->type == TR_FT_SINT64)
        (void)tr_buf_printf(out, "%lld", (long long)tr_wire_unzigzag64(v));
    else
        (void)tr_buf_printf(out, "%lld", (long long)v);
    return true;
}

/* The wire of a message in its own order, as lines "name: value" and "name {" ... "}". The content
 * of an Any is shown by its type.
 * "!" marks what is malformed. */
static inline void j2p_text(struct tr_buf *out, const struct tr_msgtype *type, struct tr_span wire)
{
    struct {
        const struct tr_msgtype *type;
        const char *end;
        uint32_t group;
    } stack[256];
    int top = 0;
    const char *p = wire.len ? wire.ptr : "";
    struct tr_span url = TR_SPAN("");
    stack[0].type = type;
    stack[0].end = p + wire.len;
    stack[0].group = 0;
    while (top >= 0) {
        uint32_t number, wt;
        if (p == stack[top].end && !stack[top].group) {
            if (top > 0)
                (void)tr_buf_printf(out, "%*s}\n", 2 * top - 2, "");
            top--;
            continue;
        }
        if (!tr_wire_tag(&p, stack[top].end, &number, &wt))
            break;
        if (wt == TR_WIRE_EGROUP && number == stack[top].group) {
            (void)tr_buf_printf(out, "%*s}\n", 2 * top - 2, "");
            stack[top - 1].end = stack[top].end;
            top--;
            continue;
        }
        const struct tr_field *f = tr_msgtype_field(stack[top].type, number);
        if (!f || top == 255)
            break;
        (void)tr_buf_printf(out, "%*s%.*s", 2 * top, "", (int)f->names->proto.len,
                            f->names->proto.ptr);
        struct tr_span s = {NULL, 0};
        bool len = wt == TR_WIRE_LEN;
        const struct tr_msgtype *sub =
            f->type == TR_FT_MESSAGE || f->type == TR_FT_GROUP ? f->sub.msg : NULL;
        if (stack[top].type->wkt == TR_WKT_ANY && number == 1) {
            const char *q = p;
            if (!tr_wire_len(&q, stack[top].end, &url))
                break;
        } else if (stack[top].type->wkt == TR_WKT_ANY) {
            sub = tr_typepool_find(j2p_pool(), tr_span_from(url, tr_span_rfind(url, '/') + 1));
        }
        if (sub) {
            const char *end = stack[top].end;
            if (wt == TR_WIRE_LEN) {
                if (!tr_wire_len(&p, end, &s))
                    break;
                p = s.ptr;
                end = s.ptr + s.len;
            } else if (wt != TR_WIRE_SGROUP) {
                break;
            }
            (void)tr_buf_printf(out, " {\n");
            stack[++top].type = sub;
            stack[top].end = end;
            stack[top].group = wt == TR_WIRE_SGROUP ? number : 0;
            continue;
        }
        (void)tr_buf_printf(out, ": ");
        if (len && f->type != TR_FT_STRING && f->type != TR_FT_BYTES) {
            if (!(f->flags & TR_FF_REPEATED) || !tr_wire_len(&p, stack[top].end, &s))
                break;
            const char *q = s.ptr;
            (void)!tr_buf_push(out, '[');
            while (q < s.ptr + s.len) {
                if (q > s.ptr)
                    (void)tr_buf_printf(out, ", ");
                if (!j2p_scalar(out, f, &q, s.ptr + s.len))
                    break;
            }
            (void)!tr_buf_push(out, ']');
        } else if (wt == TR_WIRE_SGROUP || wt == TR_WIRE_EGROUP ||
                   !j2p_scalar(out, f, &p, stack[top].end)) {
            break;
        }
        (void)!tr_buf_push(out, '\n');
    }
    if (top >= 0)
        (void)tr_buf_printf(out, "!\n");
}

#endif
