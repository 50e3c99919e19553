/* Where credentials stand in a request. */
#include "filters/authn.h"

struct tr_span tr_authn_bearer(const struct tr_header *h)
{
    if (h->value.len > 7 && tr_span_ieq(tr_span_sub(h->value, 0, 7), TR_SPAN("Bearer ")))
        return tr_span_trim(tr_span_from(h->value, 7));
    return h->token == TR_TOKEN_AUTHORIZATION ? TR_SPAN("") : h->value;
}

static struct tr_span header_token(const struct tr_headers *headers, struct tr_span name)
{
    struct tr_span token = TR_SPAN("");
    for (uint32_t i = 0; i < headers->count && !token.len; i++)
        if (tr_span_eq(headers->items[i].name, name))
            token = tr_authn_bearer(&headers->items[i]);
    return token;
}

/* Without its percent-escapes; as it is where one is none, for nothing secret has such a value. */
static struct tr_span decoded(struct tr_span value, struct tr_arena *arena)
{
    size_t first = tr_span_find(value, '%'), n = 0;
    char *p = first < value.len ? tr_arena_alloc(arena, value.len) : NULL;
    for (size_t i = 0; p && i < value.len; i++) {
        char c = value.ptr[i];
        if (c == '%') {
            int high = i + 2 < value.len ? tr_hex_value(value.ptr[i + 1]) : -1;
            int low = i + 2 < value.len ? tr_hex_value(value.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return value;
            c = (char)(high * 16 + low);
            i += 2;
        }
        p[n++] = c;
    }
    return p ? tr_span(p, n) : value;
}

static struct tr_span query_value(struct tr_span query, struct tr_span name, struct tr_arena *arena)
{
    while (query.ptr) {
        struct tr_span value = tr_span_cut(&query, '&'), key = tr_span_cut(&value, '=');
        if (tr_span_eq(decoded(key, arena), name))
            return value.ptr ? decoded(value, arena) : TR_SPAN("");
    }
    return TR_SPAN("");
}

static struct tr_span cookie_value(const struct tr_headers *headers, struct tr_span name)
{
    const struct tr_header *h = NULL;
    while ((h = tr_headers_find(headers, TR_TOKEN_COOKIE, h)) != NULL) {
        struct tr_span rest = h->value;
        while (rest.ptr) {
            struct tr_span value = tr_span_trim(tr_span_cut(&rest, ';'));
            struct tr_span key = tr_span_cut(&value, '=');
            if (tr_span_eq(key, name) && value.ptr)
                return value;
        }
    }
    return TR_SPAN("");
}

struct tr_span tr_authn_without_cookie(char *out, struct tr_span cookies, struct tr_span name)
{
    size_t n = 0;
    while (cookies.ptr) {
        struct tr_span crumb = tr_span_trim(tr_span_cut(&cookies, ';')), value = crumb;
        if (!crumb.len || tr_span_eq(tr_span_cut(&value, '='), name))
            continue;
        if (n) {
            out[n++] = ';';
            out[n++] = ' ';
        }
        memcpy(out + n, crumb.ptr, crumb.len);
        n += crumb.len;
    }
    return tr_span(out, n);
}

struct tr_span tr_authn_token(const struct tr_authn_provider *p, const struct tr_req_head *head,
                              struct tr_arena *arena)
{
    struct tr_span t = p->header.len ? header_token(&head->headers, p->header) : TR_SPAN("");
    if (!t.len && p->cfg->token_query.len)
        t = query_value(head->query, p->cfg->token_query, arena);
    if (!t.len && p->cfg->token_cookie.len)
        t = cookie_value(&head->headers, p->cfg->token_cookie);
    return t;
}

struct tr_span tr_authn_api_key(const struct tr_authn_conf *conf, const struct tr_req_head *head,
                                struct tr_arena *arena)
{
    const struct tr_header *h = conf->api_key_header.len
                                    ? tr_headers_find_name(&head->headers, conf->api_key_header)
                                    : NULL;
    if (h && h->value.len)
        return h->value;
    return conf->cfg->api_keys->query.len
               ? query_value(head->query, conf->cfg->api_keys->query, arena)
               : TR_SPAN("");
}
