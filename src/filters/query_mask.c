#include "filters/query_mask.h"

#define NAME_MAX_BYTES 64

static const struct tr_span known[] = {
    TR_SPAN_INIT("key"),           TR_SPAN_INIT("api_key"),       TR_SPAN_INIT("apikey"),
    TR_SPAN_INIT("api-key"),       TR_SPAN_INIT("access_token"),  TR_SPAN_INIT("token"),
    TR_SPAN_INIT("id_token"),      TR_SPAN_INIT("refresh_token"), TR_SPAN_INIT("auth"),
    TR_SPAN_INIT("authorization"), TR_SPAN_INIT("jwt"),           TR_SPAN_INIT("password"),
    TR_SPAN_INIT("secret"),        TR_SPAN_INIT("client_secret"), TR_SPAN_INIT("signature"),
    TR_SPAN_INIT("sig"),           TR_SPAN_INIT("code"),
};

/* Percent-decoded and in lower case, '+' as a space; cut at NAME_MAX_BYTES, which no name that is
 * compared with has. */
static struct tr_span plain(char out[NAME_MAX_BYTES], struct tr_span name)
{
    size_t n = 0;
    for (size_t i = 0; i < name.len && n < NAME_MAX_BYTES; i++) {
        char c = name.ptr[i];
        if (c == '%' && i + 2 < name.len && tr_hex_value(name.ptr[i + 1]) >= 0 &&
            tr_hex_value(name.ptr[i + 2]) >= 0) {
            c = (char)(tr_hex_value(name.ptr[i + 1]) * 16 + tr_hex_value(name.ptr[i + 2]));
            i += 2;
        }
        out[n++] = c == '+' ? ' ' : tr_lower(c);
    }
    return tr_span(out, n);
}

static bool is_secret(struct tr_span name, const struct tr_strings *names)
{
    char text[NAME_MAX_BYTES];
    struct tr_span s = plain(text, name);
    for (uint32_t i = 0; i < names->count; i++)
        if (names->items[i].len && tr_span_ieq(s, tr_span_sub(names->items[i], 0, NAME_MAX_BYTES)))
            return true;
    if (tr_span_starts(s, TR_SPAN("$.")))
        s = tr_span_from(s, 2);
    else if (tr_span_starts(s, TR_SPAN("$")))
        s = tr_span_from(s, 1);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (tr_span_eq(s, known[i]))
            return true;
    return false;
}

static size_t put(char *out, size_t n, struct tr_span s)
{
    s = tr_span_sub(s, 0, TR_QUERY_MASK_MAX - n);
    if (s.len)
        memcpy(out + n, s.ptr, s.len);
    return n + s.len;
}

/* Behind the n bytes that are there; returns how many there are then. */
static size_t mask(char *out, size_t n, struct tr_span query, const struct tr_strings *names)
{
    bool first = true;
    while (query.ptr && n < TR_QUERY_MASK_MAX) {
        struct tr_span value = tr_span_cut(&query, '&');
        struct tr_span name = tr_span_cut(&value, '=');
        if (!first)
            n = put(out, n, TR_SPAN("&"));
        first = false;
        n = put(out, n, name);
        if (!value.ptr)
            continue;
        n = put(out, n, TR_SPAN("="));
        n = put(out, n, is_secret(name, names) ? TR_SPAN("***") : value);
    }
    return n;
}

struct tr_span tr_query_mask(char *out, struct tr_span query, const struct tr_strings *names)
{
    return tr_span(out, mask(out, 0, query, names));
}

struct tr_span tr_query_mask_url(char *out, struct tr_span url, const struct tr_strings *names)
{
    struct tr_span query = tr_span_sub(url, 0, tr_span_find(url, '#'));
    size_t n = put(out, 0, tr_span_cut(&query, '?'));
    if (query.ptr)
        n = put(out, n, TR_SPAN("?"));
    return tr_span(out, mask(out, n, query, names));
}
