#include "transcode/scalar.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/num.h"

#include <limits.h>

const char *tr_scalar_name(uint8_t type)
{
    static const char *const names[] = {
        [TR_FT_DOUBLE] = "double",     [TR_FT_FLOAT] = "float",     [TR_FT_INT64] = "int64",
        [TR_FT_UINT64] = "uint64",     [TR_FT_INT32] = "int32",     [TR_FT_FIXED64] = "fixed64",
        [TR_FT_FIXED32] = "fixed32",   [TR_FT_BOOL] = "bool",       [TR_FT_STRING] = "string",
        [TR_FT_GROUP] = "message",     [TR_FT_MESSAGE] = "message", [TR_FT_BYTES] = "bytes",
        [TR_FT_UINT32] = "uint32",     [TR_FT_ENUM] = "enum",       [TR_FT_SFIXED32] = "sfixed32",
        [TR_FT_SFIXED64] = "sfixed64", [TR_FT_SINT32] = "sint32",   [TR_FT_SINT64] = "sint64",
    };
    return type < sizeof names / sizeof names[0] && names[type] ? names[type] : "value";
}

/* Bytes of a number quoted back to the client; longer ones say nothing more. */
static int shown(struct tr_span text)
{
    return (int)(text.len < 40 ? text.len : 40);
}

static enum tr_err bad_number(uint8_t type, struct tr_span text, enum tr_err err,
                              struct tr_status *st)
{
    if (err == TR_ERR_JSON_RANGE)
        return tr_fail(st, TR_ERR_JSON_RANGE, "%s out of range: %.*s", tr_scalar_name(type),
                       shown(text), text.ptr);
    if (err == TR_ERR_JSON_TYPE)
        return tr_fail(st, TR_ERR_JSON_TYPE, "expected an integer (%s), got %.*s",
                       tr_scalar_name(type), shown(text), text.ptr);
    return tr_fail(st, TR_ERR_JSON_TYPE, "expected a number (%s), got \"%.*s\"",
                   tr_scalar_name(type), shown(text), text.ptr);
}

static enum tr_err parse_signed(uint8_t type, struct tr_span text, int64_t *ret,
                                struct tr_status *st)
{
    int64_t v;
    enum tr_err err = tr_num_parse_i64(text, &v);
    bool narrow =
        type == TR_FT_INT32 || type == TR_FT_SINT32 || type == TR_FT_SFIXED32 || type == TR_FT_ENUM;
    if (!err && narrow && (v < INT32_MIN || v > INT32_MAX))
        err = TR_ERR_JSON_RANGE;
    if (err)
        return bad_number(type, text, err, st);
    *ret = v;
    return TR_OK;
}

static enum tr_err parse_unsigned(uint8_t type, struct tr_span text, uint64_t *ret,
                                  struct tr_status *st)
{
    uint64_t v;
    enum tr_err err = tr_num_parse_u64(text, &v);
    if (!err && (type == TR_FT_UINT32 || type == TR_FT_FIXED32) && v > UINT32_MAX)
        err = TR_ERR_JSON_RANGE;
    if (err)
        return bad_number(type, text, err, st);
    *ret = v;
    return TR_OK;
}

/* The three words that ProtoJSON quotes; no other spelling is one. */
static bool special_float(struct tr_span text, double *ret)
{
    if (tr_span_eq(text, TR_SPAN("NaN")))
        *ret = __builtin_nan("");
    else if (tr_span_eq(text, TR_SPAN("Infinity")))
        *ret = __builtin_inf();
    else if (tr_span_eq(text, TR_SPAN("-Infinity")))
        *ret = -__builtin_inf();
    else
        return false;
    return true;
}

static enum tr_err parse_floating(uint8_t type, struct tr_span text, bool quoted, uint64_t *ret_raw,
                                  struct tr_status *st)
{
    double d = 0;
    float f = 0;
    if (quoted && special_float(text, &d)) {
        f = (float)d;
    } else {
        enum tr_err err =
            type == TR_FT_DOUBLE ? tr_num_parse_double(text, &d) : tr_num_parse_float(text, &f);
        if (err)
            return bad_number(type, text, err, st);
    }
    if (type == TR_FT_DOUBLE) {
        memcpy(ret_raw, &d, 8);
    } else {
        uint32_t bits;
        memcpy(&bits, &f, 4);
        *ret_raw = bits;
    }
    return TR_OK;
}

enum tr_err tr_scalar_number(uint8_t type, struct tr_span text, bool quoted, uint64_t *ret_raw,
                             struct tr_status *st)
{
    int64_t i = 0;
    enum tr_err err;
    switch (type) {
    case TR_FT_DOUBLE:
    case TR_FT_FLOAT:
        return parse_floating(type, text, quoted, ret_raw, st);
    case TR_FT_UINT32:
    case TR_FT_UINT64:
    case TR_FT_FIXED32:
    case TR_FT_FIXED64:
        return parse_unsigned(type, text, ret_raw, st);
    default:
        err = parse_signed(type, text, &i, st);
        if (err)
            return err;
        break;
    }
    if (type == TR_FT_SINT32)
        *ret_raw = tr_wire_zigzag32((int32_t)i);
    else if (type == TR_FT_SINT64)
        *ret_raw = tr_wire_zigzag64(i);
    else
        *ret_raw = (uint64_t)i;
    return TR_OK;
}

enum tr_err tr_scalar_enum_number(const struct tr_field *field, struct tr_span text, int32_t *ret,
                                  struct tr_status *st)
{
    int64_t v = 0;
    enum tr_err err = parse_signed(TR_FT_ENUM, text, &v, st);
    if (err)
        return err;
    if ((field->flags & TR_FF_CLOSED_ENUM) && !tr_enumtype_by_number(field->sub.en, (int32_t)v))
        return tr_fail(st, TR_ERR_JSON_ENUM, "%.*s has no value %.*s",
                       (int)field->sub.en->full_name.len, field->sub.en->full_name.ptr, shown(text),
                       text.ptr);
    *ret = (int32_t)v;
    return TR_OK;
}

enum tr_err tr_scalar_enum_name(const struct tr_enumtype *en, struct tr_span name, int32_t *ret,
                                struct tr_status *st)
{
    const struct tr_enum_value *v = tr_enumtype_by_name(en, name);
    if (!v)
        return tr_fail(st, TR_ERR_JSON_ENUM, "%.*s has no value \"%.*s\"", (int)en->full_name.len,
                       en->full_name.ptr, shown(name), name.ptr);
    *ret = v->number;
    return TR_OK;
}

enum tr_err tr_scalar_put_string(struct tr_buf *out, struct tr_span s)
{
    enum tr_err err = tr_buf_reserve(out, s.len + TR_VARINT_MAX);
    if (err)
        return err;
    char *p = tr_buf_end(out);
    p += tr_wire_put_varint(p, s.len);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    out->len = (size_t)(p - out->ptr) + s.len;
    return TR_OK;
}

enum tr_err tr_scalar_put_bytes(struct tr_buf *out, struct tr_span base64, struct tr_status *st)
{
    enum tr_err err = tr_buf_reserve(out, tr_base64_decoded_max(base64.len) + TR_VARINT_MAX);
    if (err)
        return err;
    /* The length is known from the digits before the padding, so that the bytes are decoded in
     * place. */
    size_t digits = base64.len;
    while (digits && base64.len - digits < 2 && base64.ptr[digits - 1] == '=')
        digits--;
    size_t want = digits / 4 * 3 + digits % 4 * 6 / 8;
    char *p = tr_buf_end(out);
    p += tr_wire_put_varint(p, want);
    size_t len = 0;
    if (tr_base64_decode(p, base64, &len) != TR_OK)
        return tr_fail(st, TR_ERR_JSON_BASE64, "the value is not base64");
    TR_ASSERT(len == want);
    out->len = (size_t)(p - out->ptr) + len;
    return TR_OK;
}
