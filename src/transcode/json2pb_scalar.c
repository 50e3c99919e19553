#include "transcode/json2pb_impl.h"

/* Plain integers of up to 18 digits, as nearly all are; anything else goes to the exact parser. */
static inline bool small_int(struct tr_span s, int64_t *ret)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    if (s.len == 0 || s.len > 18)
        return false;
    bool negative = *p == '-';
    p += negative;
    if (p == end || (*p == '0' && end - p > 1))
        return false;
    int64_t v = 0;
    for (; p < end; p++) {
        unsigned d = (unsigned)(unsigned char)*p - '0';
        if (d > 9)
            return false;
        v = v * 10 + (int64_t)d;
    }
    *ret = negative ? -v : v;
    return true;
}

static enum tr_err number(struct tr_json2pb *j, const struct tr_field *field, enum tr_json_tok tok,
                          uint64_t *ret)
{
    int64_t v;
    if (tr_unlikely(tok != TR_JSON_NUMBER && tok != TR_JSON_STRING))
        return tr_j2p_expected(j, "a number", tok);
    if (tr_likely(small_int(j->text, &v))) {
        switch (field->type) {
        case TR_FT_INT64:
        case TR_FT_SFIXED64:
            *ret = (uint64_t)v;
            return TR_OK;
        case TR_FT_INT32:
        case TR_FT_SFIXED32:
            if (v < INT32_MIN || v > INT32_MAX)
                break;
            *ret = (uint64_t)v;
            return TR_OK;
        case TR_FT_UINT64:
        case TR_FT_FIXED64:
            if (v < 0)
                break;
            *ret = (uint64_t)v;
            return TR_OK;
        case TR_FT_UINT32:
        case TR_FT_FIXED32:
            if (v < 0 || v > UINT32_MAX)
                break;
            *ret = (uint64_t)v;
            return TR_OK;
        default:
            break;
        }
    }
    return tr_scalar_number(field->type, j->text, tok == TR_JSON_STRING, ret, j->st);
}

static enum tr_err enum_value(struct tr_json2pb *j, const struct tr_field *field,
                              enum tr_json_tok tok, uint64_t *ret)
{
    int32_t v = 0;
    enum tr_err err = TR_OK;
    if (tok == TR_JSON_STRING)
        err = tr_scalar_enum_name(field->sub.en, j->text, &v, j->st);
    else if (tok == TR_JSON_NUMBER)
        err = tr_scalar_enum_number(field, j->text, &v, j->st);
    else if (tok != TR_JSON_NULL || !field->sub.en->is_null_value)
        return tr_j2p_expected(j, "an enum value (its name or number)", tok);
    *ret = (uint64_t)(int64_t)v;
    return err;
}

enum tr_err tr_j2p_scalar(struct tr_json2pb *j, const struct tr_field *field, bool tag,
                          enum tr_json_tok tok)
{
    uint64_t raw = 0;
    enum tr_err err = TR_OK;
    switch (field->type) {
    case TR_FT_STRING:
    case TR_FT_BYTES:
        if (tr_unlikely(tok != TR_JSON_STRING))
            return tr_j2p_expected(
                j, field->type == TR_FT_STRING ? "a string" : "a string of base64", tok);
        break;
    case TR_FT_BOOL:
        if (tr_unlikely(tok != TR_JSON_TRUE && tok != TR_JSON_FALSE))
            return tr_j2p_expected(j, "true or false", tok);
        raw = tok == TR_JSON_TRUE;
        break;
    case TR_FT_ENUM:
        err = enum_value(j, field, tok, &raw);
        break;
    default:
        err = number(j, field, tok, &raw);
        break;
    }
    if (tr_unlikely(err))
        return err;
    struct tr_buf *out = j->out;
    size_t room = 5 + TR_VARINT_MAX + (field->type == TR_FT_STRING ? j->text.len : 0);
    if (tr_unlikely(out->cap - out->len < room) && (err = tr_buf_grow(out, room)) != TR_OK)
        return err;
    char *p = out->ptr + out->len;
    if (tag)
        p = tr_scalar_tag(p, field);
    if (field->type == TR_FT_STRING) {
        p += tr_wire_put_varint(p, j->text.len);
        if (j->text.len)
            memcpy(p, j->text.ptr, j->text.len);
        p += j->text.len;
    } else if (field->type == TR_FT_BYTES) {
        size_t before = out->len;
        out->len = (size_t)(p - out->ptr);
        err = tr_scalar_put_bytes(out, j->text, j->st);
        if (err)
            out->len = before;
        return err;
    } else {
        p += tr_scalar_write(p, field->type, raw);
    }
    out->len = (size_t)(p - out->ptr);
    return TR_OK;
}
