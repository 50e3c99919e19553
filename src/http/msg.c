#include "http/msg.h"

#include "http/chars.h"
#include "http/uri.h"

/* The table is written as predicates, so that it can be checked against the grammar by eye. */
#define ALNUM(c)                                                                                   \
    (((c) >= '0' && (c) <= '9') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define UNRES(c) (ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define SUBD(c)                                                                                    \
    ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' ||          \
     (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define TCHAR(c)                                                                                   \
    (ALNUM(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || (c) == '&' ||             \
     (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' ||          \
     (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define PATHC(c)  (UNRES(c) || SUBD(c) || (c) == ':' || (c) == '@' || (c) == '/' || (c) == '%')
#define QUERYC(c) (PATHC(c) || (c) == '?' || (c) == '[' || (c) == ']')
#define HOSTC(c)  (UNRES(c) || (SUBD(c) && (c) != ',') || (c) == '%')
#define FIELDC(c) ((c) == '\t' || ((c) >= 0x20 && (c) != 0x7f))
#define C(c)                                                                                       \
    ((TCHAR(c) ? TR_CLASS_TOKEN : 0) | (PATHC(c) ? TR_CLASS_PATH : 0) |                            \
     (QUERYC(c) ? TR_CLASS_QUERY : 0) | (HOSTC(c) ? TR_CLASS_HOST : 0) |                           \
     (FIELDC(c) ? TR_CLASS_FIELD : 0))
#define C4(c)  C(c), C((c) + 1), C((c) + 2), C((c) + 3)
#define C16(c) C4(c), C4((c) + 4), C4((c) + 8), C4((c) + 12)
#define C64(c) C16(c), C16((c) + 16), C16((c) + 32), C16((c) + 48)
const uint8_t tr_http_classes[256] = {C64(0), C64(64), C64(128), C64(192)};

static const struct tr_span method_names[TR_METHOD__COUNT] = {
    [TR_METHOD_OTHER] = TR_SPAN_INIT(""),          [TR_METHOD_GET] = TR_SPAN_INIT("GET"),
    [TR_METHOD_HEAD] = TR_SPAN_INIT("HEAD"),       [TR_METHOD_POST] = TR_SPAN_INIT("POST"),
    [TR_METHOD_PUT] = TR_SPAN_INIT("PUT"),         [TR_METHOD_DELETE] = TR_SPAN_INIT("DELETE"),
    [TR_METHOD_PATCH] = TR_SPAN_INIT("PATCH"),     [TR_METHOD_OPTIONS] = TR_SPAN_INIT("OPTIONS"),
    [TR_METHOD_CONNECT] = TR_SPAN_INIT("CONNECT"), [TR_METHOD_TRACE] = TR_SPAN_INIT("TRACE"),
};

enum tr_method tr_method_from(struct tr_span text)
{
    if (text.len < 3 || text.len > 7)
        return TR_METHOD_OTHER;
    for (int m = TR_METHOD_GET; m < TR_METHOD__COUNT; m++) {
        if (tr_span_eq(text, method_names[m]))
            return (enum tr_method)m;
    }
    return TR_METHOD_OTHER;
}

struct tr_span tr_method_name(enum tr_method method)
{
    return (unsigned)method < TR_METHOD__COUNT ? method_names[method] : TR_SPAN("");
}

static const struct tr_span token_names[TR_TOKEN__COUNT] = {
    [TR_TOKEN_NONE] = TR_SPAN_INIT(""),
#define TR_TOKEN(id, name) [TR_TOKEN_##id] = TR_SPAN_INIT(name),
#include "http/tokens.def"
#undef TR_TOKEN
};

/* The tokens by the length of their names. A new token is entered here too; the unit test finds one
 * that is missing. */
#define T(id) TR_TOKEN_##id
static const uint8_t tokens_by_len[24][6] = {
    [2] = {T(TE)},
    [4] = {T(HOST), T(DATE)},
    [6] = {T(ACCEPT), T(COOKIE), T(ORIGIN), T(EXPECT), T(SERVER)},
    [7] = {T(UPGRADE), T(TRAILER)},
    [10] = {T(USER_AGENT), T(CONNECTION), T(KEEP_ALIVE), T(TRACESTATE)},
    [11] = {T(TRACEPARENT), T(GRPC_STATUS)},
    [12] = {T(CONTENT_TYPE), T(X_REQUEST_ID), T(GRPC_TIMEOUT), T(GRPC_MESSAGE)},
    [13] = {T(AUTHORIZATION), T(CACHE_CONTROL), T(GRPC_ENCODING)},
    [14] = {T(CONTENT_LENGTH), T(HTTP2_SETTINGS)},
    [15] = {T(ACCEPT_ENCODING), T(X_FORWARDED_FOR)},
    [16] = {T(CONTENT_ENCODING), T(X_FORWARDED_HOST), T(PROXY_CONNECTION)},
    [17] = {T(TRANSFER_ENCODING), T(X_FORWARDED_PROTO), T(X_REQUEST_TIMEOUT)},
    [18] = {T(PROXY_AUTHENTICATE)},
    [19] = {T(PROXY_AUTHORIZATION)},
    [20] = {T(GRPC_ACCEPT_ENCODING)},
    [23] = {T(GRPC_STATUS_DETAILS)},
};
#undef T

enum tr_token tr_token_from(struct tr_span name)
{
    if (name.len >= sizeof tokens_by_len / sizeof tokens_by_len[0])
        return TR_TOKEN_NONE;
    for (const uint8_t *t = tokens_by_len[name.len]; *t; t++) {
        if (name.ptr[0] == token_names[*t].ptr[0] &&
            memcmp(name.ptr, token_names[*t].ptr, name.len) == 0)
            return (enum tr_token) * t;
    }
    return TR_TOKEN_NONE;
}

struct tr_span tr_token_name(enum tr_token token)
{
    return (unsigned)token < TR_TOKEN__COUNT ? token_names[token] : TR_SPAN("");
}

#define HEADERS_FIRST 16

enum tr_err tr_headers_add(struct tr_headers *h, struct tr_arena *arena, struct tr_span name,
                           struct tr_span value, enum tr_token token)
{
    if (h->count == h->cap) {
        uint32_t cap = h->cap ? h->cap * 2 : HEADERS_FIRST;
        struct tr_header *items = tr_arena_alloc(arena, cap * sizeof *items);
        if (!items)
            return TR_ERR_NOMEM;
        if (h->count)
            memcpy(items, h->items, h->count * sizeof *items);
        h->items = items;
        h->cap = cap;
    }
    h->items[h->count++] = (struct tr_header){name, value, (uint16_t)token};
    return TR_OK;
}

const struct tr_header *tr_headers_find(const struct tr_headers *h, enum tr_token token,
                                        const struct tr_header *after)
{
    for (uint32_t i = after ? (uint32_t)(after - h->items) + 1 : 0; i < h->count; i++) {
        if (h->items[i].token == (uint16_t)token)
            return &h->items[i];
    }
    return NULL;
}

const struct tr_header *tr_headers_find_name(const struct tr_headers *h, struct tr_span name)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (tr_span_eq(h->items[i].name, name))
            return &h->items[i];
    }
    return NULL;
}

void tr_headers_remove(struct tr_headers *h, struct tr_span name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->count; i++)
        if (!tr_span_eq(h->items[i].name, name))
            h->items[kept++] = h->items[i];
    h->count = kept;
}

bool tr_http_is_token(struct tr_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!(tr_http_class(s.ptr[i]) & TR_CLASS_TOKEN))
            return false;
    }
    return s.len > 0;
}

bool tr_http_is_field_value(struct tr_span s)
{
    unsigned ok = TR_CLASS_FIELD;
    for (size_t i = 0; i < s.len; i++)
        ok &= tr_http_class(s.ptr[i]);
    return ok != 0;
}

bool tr_http_is_hop_by_hop(enum tr_token token)
{
    static const bool hop[TR_TOKEN__COUNT] = {
        [TR_TOKEN_CONNECTION] = true,
        [TR_TOKEN_KEEP_ALIVE] = true,
        [TR_TOKEN_PROXY_CONNECTION] = true,
        [TR_TOKEN_PROXY_AUTHENTICATE] = true,
        [TR_TOKEN_PROXY_AUTHORIZATION] = true,
        [TR_TOKEN_TE] = true,
        [TR_TOKEN_TRAILER] = true,
        [TR_TOKEN_TRANSFER_ENCODING] = true,
        [TR_TOKEN_UPGRADE] = true,
        [TR_TOKEN_HTTP2_SETTINGS] = true,
    };
    return (unsigned)token < TR_TOKEN__COUNT && hop[token];
}

/* A list member equals `word` without regard to case and to parameters ("trailers;q=0.5"). */
static bool list_has(struct tr_span list, struct tr_span word)
{
    while (list.ptr) {
        struct tr_span member = tr_span_cut(&list, ',');
        if (tr_span_ieq(tr_span_trim(tr_span_cut(&member, ';')), word))
            return true;
    }
    return false;
}

static enum tr_err finish_target(struct tr_req_head *head, struct tr_span target,
                                 struct tr_span *ret_authority, struct tr_status *st)
{
    if (target.len == 0)
        return tr_fail(st, TR_ERR_BAD_TARGET, "the request target is empty");
    if (target.len == 1 && target.ptr[0] == '*') {
        head->path = target;
        if (head->method != TR_METHOD_OPTIONS)
            return tr_fail(st, TR_ERR_BAD_TARGET, "the target * is for OPTIONS only");
        return TR_OK;
    }
    if (target.ptr[0] == '/') {
        size_t mark = tr_span_find(target, '?');
        head->path = tr_span_sub(target, 0, mark);
        if (mark < target.len)
            head->query = tr_span_from(target, mark + 1);
        if (!tr_uri_is_path(head->path))
            return tr_fail(st, TR_ERR_BAD_TARGET, "the path has a byte that no URI may hold");
        if (!tr_uri_is_query(head->query))
            return tr_fail(st, TR_ERR_BAD_TARGET, "the query has a byte that no URI may hold");
        return TR_OK;
    }
    struct tr_uri uri;
    if (head->version >= 20 || tr_uri_parse(target, &uri) != TR_OK)
        return tr_fail(st, TR_ERR_BAD_TARGET, "the request target has none of the known forms");
    /* RFC 9112 §3.2.4: OPTIONS on an absolute form without path and query means "*". */
    if (uri.path.len == 0)
        uri.path =
            head->method == TR_METHOD_OPTIONS && !uri.query.ptr ? TR_SPAN("*") : TR_SPAN("/");
    head->path = uri.path;
    head->query = uri.query;
    *ret_authority = uri.authority;
    return TR_OK;
}

/* Takes Host out of the headers. In HTTP/1.1 the authority of an absolute form replaces it (RFC
 * 9112 §3.2.2), in HTTP/2 the two must agree (RFC 9113 §8.3.1). */
static enum tr_err finish_host(struct tr_req_head *head, struct tr_span absolute,
                               struct tr_status *st)
{
    struct tr_headers *h = &head->headers;
    struct tr_span host = {NULL, 0};
    uint32_t kept = 0, seen = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        if (h->items[i].token == TR_TOKEN_HOST) {
            host = h->items[i].value;
            seen++;
        } else {
            if (kept != i)
                h->items[kept] = h->items[i];
            kept++;
        }
    }
    h->count = kept;
    if (seen > 1)
        return tr_fail(st, TR_ERR_BAD_HOST, "Host is given %u times", (unsigned)seen);
    if (seen == 0 && (head->version == 11 || (head->version >= 20 && head->authority.len == 0)))
        return tr_fail(st, TR_ERR_BAD_HOST, "there is no Host");
    if (seen && !tr_uri_is_authority(host))
        return tr_fail(st, TR_ERR_BAD_HOST, "Host is malformed");
    if (head->version >= 20 && head->authority.len) {
        if (!tr_uri_is_authority(head->authority))
            return tr_fail(st, TR_ERR_BAD_HOST, ":authority is malformed");
        if (seen && !tr_span_ieq(host, head->authority))
            return tr_fail(st, TR_ERR_BAD_HOST, "Host differs from :authority");
        return TR_OK;
    }
    head->authority = absolute.len ? absolute : host;
    return TR_OK;
}

/* RFC 9112 §6.3 and RFC 9110 §8.6, without the leniences: one way to see where a message ends. */
static enum tr_err finish_framing(struct tr_req_head *head, struct tr_status *st)
{
    const struct tr_header *cl = tr_headers_find(&head->headers, TR_TOKEN_CONTENT_LENGTH, NULL);
    const struct tr_header *te = tr_headers_find(&head->headers, TR_TOKEN_TRANSFER_ENCODING, NULL);
    head->content_length = -1;
    if (cl) {
        uint64_t v;
        if (tr_headers_find(&head->headers, TR_TOKEN_CONTENT_LENGTH, cl))
            return tr_fail(st, TR_ERR_BAD_FRAMING, "Content-Length is repeated");
        if (cl->value.len > 18 || !tr_span_u64(cl->value, &v))
            return tr_fail(st, TR_ERR_BAD_FRAMING, "Content-Length is not a number");
        head->content_length = (int64_t)v;
    }
    if (te) {
        if (head->version >= 20)
            return tr_fail(st, TR_ERR_BAD_HEADER, "HTTP/2 has no Transfer-Encoding");
        if (head->version < 11)
            return tr_fail(st, TR_ERR_BAD_FRAMING, "HTTP/1.0 has no Transfer-Encoding");
        if (cl)
            return tr_fail(st, TR_ERR_BAD_FRAMING,
                           "both Content-Length and Transfer-Encoding are given");
        if (tr_headers_find(&head->headers, TR_TOKEN_TRANSFER_ENCODING, te) ||
            !tr_span_ieq(te->value, TR_SPAN("chunked")))
            return tr_fail(st, TR_ERR_BAD_FRAMING, "the only transfer coding here is chunked");
    }
    if (head->version < 20)
        head->end = !te && head->content_length <= 0;
    return TR_OK;
}

static enum tr_err finish_expect(struct tr_req_head *head, struct tr_status *st)
{
    const struct tr_header *e = tr_headers_find(&head->headers, TR_TOKEN_EXPECT, NULL);
    if (!e || head->version < 11) /* RFC 9110 §10.1.1: not in HTTP/1.0 */
        return TR_OK;
    for (; e; e = tr_headers_find(&head->headers, TR_TOKEN_EXPECT, e)) {
        if (!tr_span_ieq(e->value, TR_SPAN("100-continue")))
            return tr_fail(st, TR_ERR_EXPECTATION_FAILED, "only Expect: 100-continue is known");
    }
    head->expect_continue = !head->end;
    return TR_OK;
}

enum tr_err tr_req_head_finish(struct tr_req_head *head, struct tr_span target,
                               struct tr_status *st)
{
    struct tr_span absolute = {NULL, 0};
    head->content_length = -1;
    head->expect_continue = false;
    head->query = (struct tr_span){NULL, 0};
    head->te_trailers = head->version >= 20;
    const struct tr_header *te = NULL;
    while (!head->te_trailers && (te = tr_headers_find(&head->headers, TR_TOKEN_TE, te)) != NULL)
        head->te_trailers = head->version >= 11 && list_has(te->value, TR_SPAN("trailers"));

    /* All steps run, so that a refusal can be logged with what is right; the first error counts. */
    enum tr_err err = TR_OK, e;
    if (head->method == TR_METHOD_CONNECT) {
        head->path = target;
        err = tr_fail(st, TR_ERR_UPGRADE, "CONNECT is not served");
    } else {
        err = finish_target(head, target, &absolute, st);
    }
    if ((e = finish_host(head, absolute, err ? NULL : st)) != TR_OK && !err)
        err = e;
    if ((e = finish_framing(head, err ? NULL : st)) != TR_OK && !err)
        err = e;
    if ((e = finish_expect(head, err ? NULL : st)) != TR_OK && !err)
        err = e;
    return err;
}

static char *put2(char *p, unsigned v)
{
    *p++ = (char)('0' + v / 10);
    *p++ = (char)('0' + v % 10);
    return p;
}

struct tr_span tr_http_date(char *out, int64_t unix_s)
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (unix_s < 0)
        unix_s = 0;
    uint64_t day = (uint64_t)unix_s / 86400, sec = (uint64_t)unix_s % 86400;
    /* Civil date of a day number, by eras of 400 years that begin on March 1st. */
    uint64_t z = day + 719468, era = z / 146097, doe = z - era * 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    unsigned dom = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    unsigned month = (unsigned)(mp < 10 ? mp + 2 : mp - 10); /* 0 = January */
    unsigned year = (unsigned)(yoe + era * 400 + (month <= 1));
    char *p = out;
    memcpy(p, days + day % 7 * 3, 3);
    p[3] = ',';
    p[4] = ' ';
    p = put2(p + 5, dom);
    *p++ = ' ';
    memcpy(p, months + (size_t)month * 3, 3);
    p[3] = ' ';
    p = put2(p + 4, year / 100 % 100);
    p = put2(p, year % 100);
    *p++ = ' ';
    p = put2(p, (unsigned)(sec / 3600));
    *p++ = ':';
    p = put2(p, (unsigned)(sec / 60 % 60));
    *p++ = ':';
    p = put2(p, (unsigned)(sec % 60));
    static const char zone[4] = {' ', 'G', 'M', 'T'};
    memcpy(p, zone, sizeof zone);
    return tr_span(out, 29);
}
