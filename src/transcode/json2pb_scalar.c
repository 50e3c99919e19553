#include "transcode/json2pb_impl.h"

/* Plain integers of up to 18 digits, as nearly all are; anything else goes to the exact parser. */
static inline bool small_int(struct tr_span s, int64_t *ret)
{
    if (s.len == 0 || s.len > 18)
        return false;
    const char *p = s.ptr, *end = s.ptr + s.len;
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
    if (tr_likely(small_int(*j->text, &v))) {
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
    return tr_scalar_number(field->type, *j->text, tok == TR_JSON_STRING, ret, j->st);
}

static enum tr_err enum_value(struct tr_json2pb *j, const struct tr_field *field,
                              enum tr_json_tok tok, uint64_t *ret)
{
    int32_t v = 0;
    enum tr_err err = TR_OK;
    if (tok == TR_JSON_STRING)
        err = tr_scalar_enum_name(field->sub.en, *j->text, &v, j->st);
    else if (tok == TR_JSON_NUMBER)
        err = tr_scalar_enum_number(field, *j->text, &v, j->st);
    else if (tok != TR_JSON_NULL || !field->sub.en->is_null_value)
        return tr_j2p_expected(j, "an enum value (its name or number)", tok);
    *ret = (uint64_t)(int64_t)v;
    return err;
}

static enum tr_err put_raw(struct tr_json2pb *j, const struct tr_field *field, bool tag,
                           uint64_t raw)
{
    enum tr_err err = tr_buf_reserve(j->out, 5 + TR_VARINT_MAX);
    if (tr_unlikely(err))
        return err;
    char *p = tr_buf_end(j->out);
    if (tag)
        p = tr_scalar_tag(p, field);
    p += tr_scalar_write(p, field->type, raw);
    j->out->len = (size_t)(p - j->out->ptr);
    return TR_OK;
}

static enum tr_err put_string(struct tr_json2pb *j, const struct tr_field *field)
{
    struct tr_span s = *j->text;
    enum tr_err err = tr_buf_reserve(j->out, s.len + 5 + TR_VARINT_MAX);
    if (tr_unlikely(err))
        return err;
    char *p = tr_scalar_tag(tr_buf_end(j->out), field);
    p += tr_wire_put_varint(p, s.len);
    tr_j2p_copy(p, s.ptr, s.len);
    j->out->len = (size_t)(p - j->out->ptr) + s.len;
    return tr_likely(j->out->len <= j->limit) ? TR_OK : TR_ERR_BODY_TOO_LARGE;
}

static enum tr_err put_bytes(struct tr_json2pb *j, const struct tr_field *field)
{
    size_t before = j->out->len;
    enum tr_err err = tr_buf_reserve(j->out, 5);
    if (err)
        return err;
    j->out->len = (size_t)(tr_scalar_tag(tr_buf_end(j->out), field) - j->out->ptr);
    err = tr_scalar_put_bytes(j->out, *j->text, j->st);
    if (err)
        j->out->len = before;
    return err;
}

enum tr_err tr_j2p_scalar(struct tr_json2pb *j, const struct tr_field *field, bool tag,
                          enum tr_json_tok tok)
{
    uint64_t raw = 0;
    enum tr_err err;
    switch (field->type) {
    case TR_FT_STRING: /* strings and bytes are never packed */
        return tr_likely(tok == TR_JSON_STRING) ? put_string(j, field)
                                                : tr_j2p_expected(j, "a string", tok);
    case TR_FT_BYTES:
        return tr_likely(tok == TR_JSON_STRING) ? put_bytes(j, field)
                                                : tr_j2p_expected(j, "a string of base64", tok);
    case TR_FT_BOOL:
        if (tr_unlikely(tok != TR_JSON_TRUE && tok != TR_JSON_FALSE))
            return tr_j2p_expected(j, "true or false", tok);
        return put_raw(j, field, tag, tok == TR_JSON_TRUE);
    case TR_FT_ENUM:
        err = enum_value(j, field, tok, &raw);
        break;
    default:
        err = number(j, field, tok, &raw);
        break;
    }
    return tr_unlikely(err) ? err : put_raw(j, field, tag, raw);
}
