/* Scalars: from the wire to a value, from a value to JSON. */
#include "base/num.h"
#include "json/emit.h"
#include "transcode/pb2json_priv.h"

/* must be last */
#include "base/banned.h"

const uint8_t tr_pj_wire_of[19] = {
    [TR_FT_DOUBLE] = TR_WIRE_FIXED64,   [TR_FT_FLOAT] = TR_WIRE_FIXED32,
    [TR_FT_INT64] = TR_WIRE_VARINT,     [TR_FT_UINT64] = TR_WIRE_VARINT,
    [TR_FT_INT32] = TR_WIRE_VARINT,     [TR_FT_FIXED64] = TR_WIRE_FIXED64,
    [TR_FT_FIXED32] = TR_WIRE_FIXED32,  [TR_FT_BOOL] = TR_WIRE_VARINT,
    [TR_FT_STRING] = TR_WIRE_LEN,       [TR_FT_GROUP] = TR_WIRE_SGROUP,
    [TR_FT_MESSAGE] = TR_WIRE_LEN,      [TR_FT_BYTES] = TR_WIRE_LEN,
    [TR_FT_UINT32] = TR_WIRE_VARINT,    [TR_FT_ENUM] = TR_WIRE_VARINT,
    [TR_FT_SFIXED32] = TR_WIRE_FIXED32, [TR_FT_SFIXED64] = TR_WIRE_FIXED64,
    [TR_FT_SINT32] = TR_WIRE_VARINT,    [TR_FT_SINT64] = TR_WIRE_VARINT,
};

const char tr_pj_pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

bool tr_pj_read_scalar(const struct tr_field *fd, const char **p, const char *end,
                       struct tr_pj_scalar *ret)
{
    return tr_pj_read_scalar_inline(fd, p, end, ret);
}

bool tr_pj_read_message(const struct tr_field *fd, const char **p, const char *end,
                        struct tr_span *ret)
{
    if (tr_likely(fd->type != TR_FT_GROUP))
        return tr_wire_len(p, end, ret);
    const char *start = *p;
    for (;;) {
        const char *before = *p;
        uint32_t number, wire;
        if (!tr_wire_tag(p, end, &number, &wire))
            return false;
        if (wire == TR_WIRE_EGROUP) {
            *ret = tr_span(start, (size_t)(before - start));
            return number == fd->number;
        }
        if (!tr_wire_skip(p, end, number, wire))
            return false;
    }
}

static const struct tr_enum_value *enum_value(const struct tr_enumtype *en, int32_t n)
{
    uint32_t i = (uint32_t)n - (uint32_t)en->dense_min;
    if (tr_likely(i < en->dense_count && en->by_number[i]))
        return &en->values[en->by_number[i] - 1];
    return tr_enumtype_by_number(en, n);
}

bool tr_pj_enum_known(const struct tr_field *fd, const struct tr_pj_scalar *v)
{
    return !(fd->flags & TR_FF_CLOSED_ENUM) ||
           tr_enumtype_by_number(fd->sub.en, (int32_t)v->u) != NULL;
}

static enum tr_err put_enum(struct tr_pj *j, const struct tr_enumtype *en, int32_t n)
{
    if (en->is_null_value)
        return tr_buf_append(j->out, TR_SPAN("null"));
    const struct tr_enum_value *v = j->o->enums_as_numbers ? NULL : enum_value(en, n);
    if (v)
        return tr_buf_append(j->out, v->quoted);
    j->out->len += tr_num_i64(tr_buf_end(j->out), n);
    return TR_OK;
}

static inline char *put_literal(char *w, const char *lit, size_t len)
{
    memcpy(w, lit, len);
    return w + len;
}
#define PUT(w, lit) put_literal((w), (lit), sizeof(lit) - 1)

static char *put_double(char *w, uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    if (tr_likely((bits >> 52 & 0x7FF) != 0x7FF))
        return w + tr_num_double(w, d);
    return d != d ? PUT(w, "\"NaN\"") : d < 0 ? PUT(w, "\"-Infinity\"") : PUT(w, "\"Infinity\"");
}

static char *put_float(char *w, uint32_t bits)
{
    float d;
    memcpy(&d, &bits, sizeof d);
    if (tr_likely((bits >> 23 & 0xFF) != 0xFF))
        return w + tr_num_float(w, d);
    return d != d ? PUT(w, "\"NaN\"") : d < 0 ? PUT(w, "\"-Infinity\"") : PUT(w, "\"Infinity\"");
}

enum tr_err tr_pj_put_scalar(struct tr_pj *j, const struct tr_field *fd,
                             const struct tr_pj_scalar *v)
{
    char *w = tr_buf_end(j->out);
    switch (fd->type) {
    case TR_FT_STRING:
        return tr_emit_string(j->out, v->s, j->o->bad_utf8);
    case TR_FT_BYTES:
        return tr_emit_base64(j->out, v->s);
    case TR_FT_ENUM:
        return put_enum(j, fd->sub.en, (int32_t)v->u);
    case TR_FT_BOOL:
        w = v->u ? PUT(w, "true") : PUT(w, "false");
        break;
    case TR_FT_INT32:
    case TR_FT_SINT32:
    case TR_FT_SFIXED32:
        w += tr_num_i64(w, (int64_t)v->u);
        break;
    case TR_FT_UINT32:
    case TR_FT_FIXED32:
        w += tr_num_u64(w, v->u);
        break;
    case TR_FT_INT64:
    case TR_FT_SINT64:
    case TR_FT_SFIXED64:
        *w++ = '"';
        w += tr_num_i64(w, (int64_t)v->u);
        *w++ = '"';
        break;
    case TR_FT_UINT64:
    case TR_FT_FIXED64:
        *w++ = '"';
        w += tr_num_u64(w, v->u);
        *w++ = '"';
        break;
    case TR_FT_DOUBLE:
        w = put_double(w, v->u);
        break;
    case TR_FT_FLOAT:
        w = put_float(w, (uint32_t)v->u);
        break;
    default:
        return TR_ERR_INTERNAL;
    }
    j->out->len = (size_t)(w - j->out->ptr);
    return TR_OK;
}

size_t tr_pj_key_text(char *out, const struct tr_field *fd, const struct tr_pj_scalar *v)
{
    switch (fd->type) {
    case TR_FT_BOOL:
        return (size_t)((v->u ? PUT(out, "true") : PUT(out, "false")) - out);
    case TR_FT_UINT32:
    case TR_FT_FIXED32:
    case TR_FT_UINT64:
    case TR_FT_FIXED64:
        return tr_num_u64(out, v->u);
    default:
        return tr_num_i64(out, (int64_t)v->u);
    }
}

enum tr_err tr_pj_put_key(struct tr_pj *j, const struct tr_field *fd, const struct tr_pj_scalar *v)
{
    if (fd->type == TR_FT_STRING)
        return tr_emit_string(j->out, v->s, j->o->bad_utf8);
    char *w = tr_buf_end(j->out);
    *w++ = '"';
    w += tr_pj_key_text(w, fd, v);
    *w++ = '"';
    j->out->len = (size_t)(w - j->out->ptr);
    return TR_OK;
}

static enum tr_err put_zero_enum(struct tr_pj *j, const struct tr_field *fd)
{
    const struct tr_enumtype *en = fd->sub.en;
    struct tr_span text = fd->names->default_json;
    const struct tr_enum_value *v = en->value_count ? &en->values[0] : NULL;
    if (text.len > 2 && text.ptr[0] == '"')
        v = tr_enumtype_by_name(en, tr_span(text.ptr + 1, text.len - 2));
    enum tr_err err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    return err ? err : put_enum(j, en, v ? v->number : 0);
}

enum tr_err tr_pj_put_zero(struct tr_pj *j, const struct tr_field *fd)
{
    if (fd->flags & TR_FF_MAP)
        return tr_buf_append(j->out, TR_SPAN("{}"));
    if (fd->flags & TR_FF_REPEATED)
        return tr_buf_append(j->out, TR_SPAN("[]"));
    if (fd->type == TR_FT_ENUM)
        return put_zero_enum(j, fd);
    if (fd->names->default_json.len)
        return tr_buf_append(j->out, fd->names->default_json);
    const struct tr_pj_scalar zero = {0, {"", 0}};
    enum tr_err err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    return err ? err : tr_pj_put_scalar(j, fd, &zero);
}
