/* Explicit defaults: the descriptor has them as text, of which JSON's form is made once. */
#include "base/base64.h"
#include "base/num.h"
#include "proto/names.h"
#include "proto/typepool_int.h"

static const struct tr_span none = {"", 0};
static const struct tr_span no_memory = {NULL, 0};

static struct tr_span bad(bool *ret_bad)
{
    *ret_bad = true;
    return none;
}

static struct tr_span integer(struct tr_arena *arena, const struct tr_field_decl *f, bool *ret_bad)
{
    bool is_signed = true, wide = false;
    switch (f->type) {
    case TR_FT_UINT64:
    case TR_FT_FIXED64:
        is_signed = false;
        wide = true;
        break;
    case TR_FT_UINT32:
    case TR_FT_FIXED32:
        is_signed = false;
        break;
    case TR_FT_INT64:
    case TR_FT_SINT64:
    case TR_FT_SFIXED64:
        wide = true;
        break;
    default:
        break;
    }
    struct tr_span text = tr_span(f->def, f->def_len);
    char out[TR_NUM_MAX];
    size_t n;
    int64_t i;
    uint64_t u;
    if (is_signed) {
        if (tr_num_parse_i64(text, &i) != TR_OK || (!wide && (i < INT32_MIN || i > INT32_MAX)))
            return bad(ret_bad);
        n = tr_num_i64(out, i);
    } else {
        if (tr_num_parse_u64(text, &u) != TR_OK || (!wide && u > UINT32_MAX))
            return bad(ret_bad);
        n = tr_num_u64(out, u);
    }
    return wide ? tr_name_quote(arena, tr_span(out, n), "") : tr_arena_copy(arena, tr_span(out, n));
}

static struct tr_span floating(struct tr_arena *arena, const struct tr_field_decl *f, bool *ret_bad)
{
    struct tr_span text = tr_span(f->def, f->def_len);
    if (tr_span_eq(text, TR_SPAN("inf")))
        return TR_SPAN("\"Infinity\"");
    if (tr_span_eq(text, TR_SPAN("-inf")))
        return TR_SPAN("\"-Infinity\"");
    if (tr_span_eq(text, TR_SPAN("nan")) || tr_span_eq(text, TR_SPAN("-nan")))
        return TR_SPAN("\"NaN\"");
    char out[TR_NUM_MAX];
    size_t n;
    if (f->type == TR_FT_FLOAT) {
        float v;
        if (tr_num_parse_float(text, &v) != TR_OK)
            return bad(ret_bad);
        n = tr_num_float(out, v);
    } else {
        double v;
        if (tr_num_parse_double(text, &v) != TR_OK)
            return bad(ret_bad);
        n = tr_num_double(out, v);
    }
    return tr_arena_copy(arena, tr_span(out, n));
}

/* One escape of C at s (behind the backslash): its length, 0 when there is none such. */
static size_t unescape_one(struct tr_span s, char *ret)
{
    static const char from[] = "abfnrtv\\'\"?", to[] = "\a\b\f\n\r\t\v\\'\"?";
    if (!s.len)
        return 0;
    const char *at = s.ptr[0] ? strchr(from, s.ptr[0]) : NULL;
    if (at) {
        *ret = to[at - from];
        return 1;
    }
    unsigned v = 0;
    size_t n = 0;
    if (s.ptr[0] == 'x' || s.ptr[0] == 'X') {
        for (n = 1; n < s.len && n < 3 && tr_hex_value(s.ptr[n]) >= 0; n++)
            v = v * 16 + (unsigned)tr_hex_value(s.ptr[n]);
        *ret = (char)v;
        return n > 1 ? n : 0;
    }
    for (; n < s.len && n < 3 && s.ptr[n] >= '0' && s.ptr[n] <= '7'; n++)
        v = v * 8 + (unsigned)(s.ptr[n] - '0');
    *ret = (char)v;
    return n;
}

static struct tr_span bytes(struct tr_arena *arena, const struct tr_field_decl *f, bool *ret_bad)
{
    struct tr_span text = tr_span(f->def, f->def_len);
    char *raw = tr_arena_alloc(arena, text.len);
    char *out = tr_arena_alloc(arena, tr_base64_encoded_len(text.len) + 2);
    if (!raw || !out)
        return no_memory;
    size_t n = 0;
    for (size_t i = 0; i < text.len;) {
        if (text.ptr[i] != '\\') {
            raw[n++] = text.ptr[i++];
            continue;
        }
        size_t len = unescape_one(tr_span_from(text, i + 1), &raw[n++]);
        if (!len)
            return bad(ret_bad);
        i += 1 + len;
    }
    out[0] = '"';
    n = tr_base64_encode(out + 1, tr_span(raw, n));
    out[n + 1] = '"';
    return tr_span(out, n + 2);
}

static struct tr_span enum_name(struct tr_arena *arena, const struct tr_field_decl *f,
                                bool *ret_bad)
{
    const struct tr_enum_decl *e = f->ref->of.en;
    if (!f->def) /* without a default of its own the first value counts */
        return e->value_count && e->values[0].number != 0
                   ? tr_name_quote(arena, tr_span(e->values[0].name, e->values[0].name_len), "")
                   : none;
    struct tr_span text = tr_span(f->def, f->def_len);
    for (uint32_t i = 0; i < e->value_count; i++)
        if (tr_span_eq(tr_span(e->values[i].name, e->values[i].name_len), text))
            return tr_name_quote(arena, text, "");
    return bad(ret_bad);
}

struct tr_span tr_pool_default_json(struct tr_typepool *pool, const struct tr_field_decl *f,
                                    bool *ret_bad)
{
    struct tr_arena *arena = &pool->arena;
    *ret_bad = false;
    if (f->type == TR_FT_ENUM && !(f->flags & TR_FF_REPEATED))
        return enum_name(arena, f, ret_bad);
    if (!f->def)
        return none;
    if (f->flags & TR_FF_REPEATED)
        return bad(ret_bad);
    struct tr_span text = tr_span(f->def, f->def_len);
    switch (f->type) {
    case TR_FT_STRING:
        return tr_name_quote(arena, text, "");
    case TR_FT_BYTES:
        return bytes(arena, f, ret_bad);
    case TR_FT_BOOL:
        if (tr_span_eq(text, TR_SPAN("true")))
            return TR_SPAN("true");
        return tr_span_eq(text, TR_SPAN("false")) ? TR_SPAN("false") : bad(ret_bad);
    case TR_FT_DOUBLE:
    case TR_FT_FLOAT:
        return floating(arena, f, ret_bad);
    case TR_FT_MESSAGE:
    case TR_FT_GROUP:
        return bad(ret_bad);
    default:
        return integer(arena, f, ret_bad);
    }
}
