#include "pipeline/accept.h"

#include "transcode/plan.h"

static const struct {
    enum tr_format format;
    struct tr_span type;
} types[] = {
    {TR_FORMAT_JSON, TR_SPAN_INIT("application/json")},
    {TR_FORMAT_NDJSON, TR_SPAN_INIT("application/x-ndjson")},
    {TR_FORMAT_NDJSON, TR_SPAN_INIT("application/jsonl")},
    {TR_FORMAT_SSE, TR_SPAN_INIT("text/event-stream")},
    {TR_FORMAT_JSON_SEQ, TR_SPAN_INIT("application/json-seq")},
    {TR_FORMAT_PROTO, TR_SPAN_INIT("application/x-protobuf")},
    {TR_FORMAT_PROTO, TR_SPAN_INIT("application/protobuf")},
};
#define TYPES (sizeof types / sizeof types[0])

struct tr_span tr_format_type(enum tr_format format)
{
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].format == format)
            return types[i].type;
    return types[0].type;
}

struct tr_span tr_media_type(struct tr_span value)
{
    return tr_span_trim(tr_span(value.ptr, tr_span_find(value, ';')));
}

bool tr_media_type_is(struct tr_span value, struct tr_span type)
{
    return tr_span_ieq(tr_media_type(value), type);
}

struct tr_span tr_media_param(struct tr_span value, struct tr_span name)
{
    (void)tr_span_cut(&value, ';');
    while (value.ptr) {
        struct tr_span param = tr_span_trim(tr_span_cut(&value, ';'));
        size_t eq = tr_span_find(param, '=');
        if (eq == param.len || !tr_span_ieq(tr_span_trim(tr_span(param.ptr, eq)), name))
            continue;
        struct tr_span v = tr_span_trim(tr_span_from(param, eq + 1));
        if (v.len >= 2 && v.ptr[0] == '"' && v.ptr[v.len - 1] == '"')
            v = tr_span_sub(v, 1, v.len - 2);
        return v;
    }
    return tr_span(NULL, 0);
}

/* q in thousandths; malformed counts as 0, as no one can have meant it. */
static unsigned quality(struct tr_span range)
{
    struct tr_span q = tr_media_param(range, TR_SPAN("q"));
    if (!q.ptr)
        return 1000;
    if (q.len == 0 || q.len > 5 || (q.ptr[0] != '0' && q.ptr[0] != '1') ||
        (q.len > 1 && q.ptr[1] != '.'))
        return 0;
    unsigned v = (unsigned)(q.ptr[0] - '0') * 1000, scale = 100;
    for (size_t i = 2; i < q.len; i++, scale /= 10) {
        if (!tr_is_digit(q.ptr[i]))
            return 0;
        v += (unsigned)(q.ptr[i] - '0') * scale;
    }
    return v > 1000 ? 0 : v;
}

/* 3: the type itself, 2: its kind ("text/" and a star), 1: everything, 0: no match. */
static unsigned match(struct tr_span range, struct tr_span type)
{
    struct tr_span media = tr_media_type(range);
    if (tr_span_ieq(media, type))
        return 3;
    if (media.len >= 3 && tr_span_ends(media, TR_SPAN("/*"))) {
        if (media.ptr[0] == '*')
            return 1;
        struct tr_span kind = tr_span(media.ptr, media.len - 1);
        return tr_span_ieq(kind, tr_span_sub(type, 0, kind.len)) ? 2 : 0;
    }
    return 0;
}

static unsigned type_quality(const struct tr_headers *headers, struct tr_span type,
                             unsigned *ret_specific)
{
    unsigned best = 0, q = 0;
    for (const struct tr_header *h = tr_headers_find(headers, TR_TOKEN_ACCEPT, NULL); h;
         h = tr_headers_find(headers, TR_TOKEN_ACCEPT, h)) {
        struct tr_span rest = h->value;
        while (rest.ptr) {
            struct tr_span range = tr_span_trim(tr_span_cut(&rest, ','));
            unsigned m = match(range, type);
            if (m > best) {
                best = m;
                q = quality(range);
            }
        }
    }
    *ret_specific = best;
    return q;
}

enum tr_format tr_accept_choose(const struct tr_headers *headers, unsigned offered)
{
    const struct tr_header *first = tr_headers_find(headers, TR_TOKEN_ACCEPT, NULL);
    enum tr_format choice = TR_FORMAT_JSON;
    unsigned best = 0;
    if (!first || tr_span_eq(first->value, TR_SPAN("*/*")) ||
        tr_span_eq(first->value, TR_SPAN("application/json")))
        return TR_FORMAT_JSON;
    for (size_t i = 0; i < TYPES; i++) {
        unsigned specific;
        if (!(offered & 1u << types[i].format))
            continue;
        unsigned q = type_quality(headers, types[i].type, &specific);
        if (q > best) {
            best = q;
            choice = types[i].format;
        }
    }
    return choice;
}

struct tr_span tr_accept_type(const struct tr_headers *headers, enum tr_format format)
{
    struct tr_span choice = tr_format_type(format);
    unsigned best = 0;
    if (format != TR_FORMAT_NDJSON) /* the others have one name each that everybody reads */
        return choice;
    for (size_t i = 0; i < TYPES; i++) {
        unsigned specific,
            q = types[i].format == format ? type_quality(headers, types[i].type, &specific) : 0;
        if (q > best) {
            best = q;
            choice = types[i].type;
        }
    }
    return choice;
}

static bool is_json(struct tr_span media, bool stream)
{
    if (media.len == 0 || tr_span_ieq(media, TR_SPAN("application/json")))
        return true;
    if (media.len > 17 && tr_span_ieq(tr_span_sub(media, 0, 12), TR_SPAN("application/")) &&
        tr_span_ieq(tr_span_from(media, media.len - 5), TR_SPAN("+json")))
        return true;
    /* a stream of values may be called what it is */
    return stream && (tr_span_ieq(media, TR_SPAN("application/x-ndjson")) ||
                      tr_span_ieq(media, TR_SPAN("application/jsonl")));
}

enum tr_err tr_input_choose(const struct tr_headers *headers, const struct tr_plan *plan,
                            bool no_body, enum tr_input *ret_input, struct tr_span *ret_type,
                            struct tr_status *st)
{
    const struct tr_header *type = tr_headers_find(headers, TR_TOKEN_CONTENT_TYPE, NULL);
    if (type && tr_headers_find(headers, TR_TOKEN_CONTENT_TYPE, type))
        return tr_fail(st, TR_ERR_BAD_HEADER, "Content-Type is given twice");
    *ret_type = type ? type->value : TR_SPAN("");
    struct tr_span media = tr_media_type(*ret_type),
                   charset = tr_media_param(*ret_type, TR_SPAN("charset"));
    if (plan->body == TR_BODY_NONE) {
        *ret_input = TR_INPUT_NONE;
    } else if (plan->body_is_http_body) {
        *ret_input = TR_INPUT_HTTP_BODY;
    } else if (is_json(media, plan->rpc->client_streaming)) {
        if (charset.ptr && !tr_span_ieq(charset, TR_SPAN("utf-8")) &&
            !tr_span_ieq(charset, TR_SPAN("utf8")))
            return tr_fail(st, TR_ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type: JSON must be UTF-8");
        *ret_input = TR_INPUT_JSON;
    } else if (tr_span_ieq(media, TR_SPAN("application/x-protobuf")) ||
               tr_span_ieq(media, TR_SPAN("application/protobuf"))) {
        *ret_input = TR_INPUT_PROTO;
    } else if (no_body) { /* a type for a body that does not come says nothing */
        *ret_input = TR_INPUT_JSON;
    } else {
        return tr_fail(
            st, TR_ERR_UNSUPPORTED_MEDIA_TYPE,
            "Content-Type must be application/json or application/x-protobuf, not \"%.*s\"",
            (int)(media.len < 100 ? media.len : 100), media.ptr);
    }
    return TR_OK;
}
