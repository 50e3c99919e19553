#include "pipeline/metadata.h"

#include "base/base64.h"
#include "base/counter.h"

/* Request headers that never become metadata, beside grpc-* and the names in Connection. */
static bool is_dropped(enum tr_token token, bool native)
{
    switch (token) {
    case TR_TOKEN_ACCEPT_ENCODING:
    case TR_TOKEN_CONNECTION:
    case TR_TOKEN_CONTENT_ENCODING:
    case TR_TOKEN_CONTENT_LENGTH:
    case TR_TOKEN_CONTENT_TYPE:
    case TR_TOKEN_EXPECT:
    case TR_TOKEN_GRPC_TIMEOUT:
    case TR_TOKEN_HOST:
    case TR_TOKEN_HTTP2_SETTINGS:
    case TR_TOKEN_KEEP_ALIVE:
    case TR_TOKEN_PROXY_AUTHENTICATE:
    case TR_TOKEN_PROXY_AUTHORIZATION:
    case TR_TOKEN_PROXY_CONNECTION:
    case TR_TOKEN_TE:
    case TR_TOKEN_TRAILER:
    case TR_TOKEN_TRANSFER_ENCODING:
    case TR_TOKEN_UPGRADE:
    case TR_TOKEN_X_FORWARDED_FOR:
    case TR_TOKEN_X_FORWARDED_HOST:
    case TR_TOKEN_X_FORWARDED_PROTO:
    case TR_TOKEN_X_REQUEST_ID:
    case TR_TOKEN_COOKIE:
        return true;
    case TR_TOKEN_GRPC_ACCEPT_ENCODING:
    case TR_TOKEN_GRPC_ENCODING:
    case TR_TOKEN_GRPC_MESSAGE:
    case TR_TOKEN_GRPC_STATUS:
    case TR_TOKEN_GRPC_STATUS_DETAILS:
        return !native;
    case TR_TOKEN_NONE:
    case TR_TOKEN_ACCEPT:
    case TR_TOKEN_AUTHORIZATION:
    case TR_TOKEN_CACHE_CONTROL:
    case TR_TOKEN_DATE:
    case TR_TOKEN_ORIGIN:
    case TR_TOKEN_SERVER:
    case TR_TOKEN_TRACEPARENT:
    case TR_TOKEN_TRACESTATE:
    case TR_TOKEN_USER_AGENT:
    case TR_TOKEN_X_REQUEST_TIMEOUT:
    case TR_TOKEN__COUNT:
        break;
    }
    return false;
}

static char norm(char c)
{
    return c == '_' ? '-' : tr_lower(c);
}

static bool is_identity(const struct tr_strings *names, struct tr_span name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (names->items[i].len != name.len)
            continue;
        size_t k = 0;
        while (k < name.len && norm(name.ptr[k]) == names->items[i].ptr[k])
            k++;
        if (k == name.len)
            return true;
    }
    return false;
}

static enum tr_err add(struct tr_exchange *x, struct tr_span name, struct tr_span value,
                       enum tr_token token)
{
    return tr_headers_add(&x->metadata, &x->hs->arena, name, value, token);
}

/* A -bin value may be a list joined by commas (RFC 9110 §5.3), its members in either alphabet,
 * padded or not. Servers of gRPC are not all so patient: each member goes on by itself, in the form
 * that all of them read. */
static enum tr_err add_binary(struct tr_exchange *x, const struct tr_header *h)
{
    struct tr_span value = h->value;
    enum tr_err err = TR_OK;
    while (!err && value.ptr) {
        struct tr_span one = tr_span_trim(tr_span_cut(&value, ','));
        size_t n;
        char *plain = tr_arena_alloc(&x->hs->arena, tr_base64_decoded_max(one.len) + 1);
        if (!plain)
            return TR_ERR_NOMEM;
        if (tr_base64_decode(plain, one, &n) != TR_OK)
            return tr_fail(tr_exchange_status(x), TR_ERR_BAD_METADATA, "%.*s must be base64",
                           (int)h->name.len, h->name.ptr);
        char *text = tr_arena_alloc(&x->hs->arena, tr_base64_encoded_len(n) + 1);
        if (!text)
            return TR_ERR_NOMEM;
        err = add(x, h->name, tr_span(text, tr_base64_encode_unpadded(text, tr_span(plain, n))),
                  (enum tr_token)h->token);
    }
    return err;
}

static bool in_connection(const struct tr_headers *headers, const struct tr_header *connection,
                          struct tr_span name)
{
    for (; connection; connection = tr_headers_find(headers, TR_TOKEN_CONNECTION, connection)) {
        struct tr_span rest = connection->value;
        while (rest.ptr)
            if (tr_span_ieq(tr_span_trim(tr_span_cut(&rest, ',')), name))
                return true;
    }
    return false;
}

static enum tr_err copy_headers(struct tr_exchange *x, bool native)
{
    const struct tr_headers *in = &x->hs->head.headers;
    const struct tr_header *connection =
        x->hs->head.version < 20 ? tr_headers_find(in, TR_TOKEN_CONNECTION, NULL) : NULL;
    for (uint32_t i = 0; i < in->count; i++) {
        const struct tr_header *h = &in->items[i];
        if (is_dropped((enum tr_token)h->token, native))
            continue;
        if (h->token == TR_TOKEN_NONE && !native && tr_span_starts(h->name, TR_SPAN("grpc-")))
            continue;
        if (h->token == TR_TOKEN_NONE &&
            tr_span_starts(h->name, TR_SPAN("content-"))) /* of a body that does not go on */
            continue;
        if (connection && in_connection(in, connection, h->name))
            continue;
        if (x->snap->identity_headers.count && is_identity(&x->snap->identity_headers, h->name))
            continue;
        if (!tr_span_is_printable(h->value)) {
            tr_count(&x->w->dropped_headers);
            continue;
        }
        enum tr_err err = tr_span_ends(h->name, TR_SPAN("-bin"))
                              ? add_binary(x, h)
                              : add(x, h->name, h->value, (enum tr_token)h->token);
        if (err)
            return err;
    }
    return TR_OK;
}

/* HTTP/2 clients may split cookies into several fields (RFC 9113 §8.2.3). */
static enum tr_err add_cookie(struct tr_exchange *x)
{
    const struct tr_headers *in = &x->hs->head.headers;
    const struct tr_header *first = tr_headers_find(in, TR_TOKEN_COOKIE, NULL);
    if (!first ||
        (x->snap->identity_headers.count && is_identity(&x->snap->identity_headers, first->name)))
        return TR_OK;
    size_t len = 0;
    uint32_t crumbs = 0;
    for (const struct tr_header *h = first; h; h = tr_headers_find(in, TR_TOKEN_COOKIE, h)) {
        len += h->value.len + 2;
        crumbs++;
    }
    struct tr_span value = first->value;
    if (crumbs > 1) {
        char *p = tr_arena_alloc(&x->hs->arena, len);
        size_t n = 0;
        if (!p)
            return TR_ERR_NOMEM;
        for (const struct tr_header *h = first; h; h = tr_headers_find(in, TR_TOKEN_COOKIE, h)) {
            if (n) {
                p[n++] = ';';
                p[n++] = ' ';
            }
            if (h->value.len)
                memcpy(p + n, h->value.ptr, h->value.len);
            n += h->value.len;
        }
        value = tr_span(p, n);
    }
    if (!tr_span_is_printable(value)) {
        tr_count(&x->w->dropped_headers);
        return TR_OK;
    }
    return add(x, TR_SPAN("cookie"), value, TR_TOKEN_COOKIE);
}

static enum tr_err forwarded_for(struct tr_exchange *x, const struct tr_peer *peer)
{
    struct tr_span ip = peer && peer->ip_len ? tr_span(peer->ip, peer->ip_len)
                                             : TR_SPAN("unknown"); /* a unix socket */
    struct tr_span name = TR_SPAN("x-forwarded-for");
    const struct tr_headers *in = &x->hs->head.headers;
    const struct tr_header *h =
        x->snap->config.trusted_hops ? tr_headers_find(in, TR_TOKEN_X_FORWARDED_FOR, NULL) : NULL;
    size_t len = ip.len;
    for (const struct tr_header *i = h; i; i = tr_headers_find(in, TR_TOKEN_X_FORWARDED_FOR, i))
        len += i->value.len + 2;
    if (!h)
        return add(x, name, ip, TR_TOKEN_X_FORWARDED_FOR);
    char *p = tr_arena_alloc(&x->hs->arena, len);
    size_t n = 0;
    if (!p)
        return TR_ERR_NOMEM;
    for (; h; h = tr_headers_find(in, TR_TOKEN_X_FORWARDED_FOR, h)) {
        if (h->value.len == 0 || !tr_span_is_printable(h->value))
            continue;
        memcpy(p + n, h->value.ptr, h->value.len);
        n += h->value.len;
        p[n++] = ',';
        p[n++] = ' ';
    }
    memcpy(p + n, ip.ptr, ip.len);
    return add(x, name, tr_span(p, n + ip.len), TR_TOKEN_X_FORWARDED_FOR);
}

/* Where proxies in front are trusted, what the nearest of them says (one that adds a line of its
 * own puts it behind the client's), else ours. */
static enum tr_err forwarded(struct tr_exchange *x, struct tr_span name, enum tr_token token,
                             struct tr_span ours)
{
    const struct tr_headers *in = &x->hs->head.headers;
    const struct tr_header *h = NULL, *next = NULL;
    if (x->snap->config.trusted_hops)
        next = tr_headers_find(in, token, NULL);
    for (; next; next = tr_headers_find(in, token, next))
        h = next;
    struct tr_span value = h && tr_span_is_printable(h->value) ? h->value : ours;
    return value.len ? add(x, name, value, token) : TR_OK;
}

uint64_t tr_metadata_random(struct tr_pworker *w)
{
    /* xoroshiro128+: ids need to differ, not to be secret */
    uint64_t a = w->id_state[0], b = w->id_state[1], r = a + b;
    b ^= a;
    w->id_state[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    w->id_state[1] = (b << 37) | (b >> 27);
    return r;
}

static enum tr_err request_id(struct tr_exchange *x)
{
    static const char hex[] = "0123456789abcdef";
    const struct tr_headers *in = &x->hs->head.headers;
    const struct tr_header *h = tr_headers_find(in, TR_TOKEN_X_REQUEST_ID, NULL);
    if (h && h->value.len <= 128 && tr_http_is_token(h->value) &&
        !tr_headers_find(in, TR_TOKEN_X_REQUEST_ID, h))
        return add(x, TR_SPAN("x-request-id"), h->value, TR_TOKEN_X_REQUEST_ID);
    char *p = tr_arena_alloc(&x->hs->arena, 32);
    if (!p)
        return TR_ERR_NOMEM;
    for (size_t half = 0; half < 2; half++) {
        uint64_t v = tr_metadata_random(x->w);
        for (size_t i = 0; i < 16; i++, v >>= 4)
            p[half * 16 + i] = hex[v & 15];
    }
    return add(x, TR_SPAN("x-request-id"), tr_span(p, 32), TR_TOKEN_X_REQUEST_ID);
}

enum tr_err tr_metadata_request(struct tr_exchange *x, struct tr_span content_type, bool native)
{
    const struct tr_peer *peer = x->hs->conn->user;
    enum tr_err err = add(x, TR_SPAN("te"), TR_SPAN("trailers"), TR_TOKEN_TE);
    if (!err)
        err = add(x, TR_SPAN("content-type"), content_type, TR_TOKEN_CONTENT_TYPE);
    if (!err && !native)
        err = add(x, TR_SPAN("grpc-accept-encoding"), TR_SPAN("gzip, deflate, zstd"),
                  TR_TOKEN_GRPC_ACCEPT_ENCODING);
    if (!err)
        err = copy_headers(x, native);
    if (!err)
        err = add_cookie(x);
    if (!err)
        err = forwarded_for(x, peer);
    if (!err)
        err = forwarded(x, TR_SPAN("x-forwarded-proto"), TR_TOKEN_X_FORWARDED_PROTO,
                        peer && peer->tls ? TR_SPAN("https") : TR_SPAN("http"));
    if (!err)
        err = forwarded(x, TR_SPAN("x-forwarded-host"), TR_TOKEN_X_FORWARDED_HOST,
                        x->hs->head.authority);
    if (!err)
        err = request_id(x);
    return err;
}

static bool is_response_dropped(const struct tr_header *h)
{
    switch ((enum tr_token)h->token) {
    case TR_TOKEN_CONNECTION:
    case TR_TOKEN_CONTENT_ENCODING:
    case TR_TOKEN_CONTENT_LENGTH:
    case TR_TOKEN_CONTENT_TYPE:
    case TR_TOKEN_DATE:
    case TR_TOKEN_HOST:
    case TR_TOKEN_HTTP2_SETTINGS:
    case TR_TOKEN_KEEP_ALIVE:
    case TR_TOKEN_PROXY_AUTHENTICATE:
    case TR_TOKEN_PROXY_AUTHORIZATION:
    case TR_TOKEN_PROXY_CONNECTION:
    case TR_TOKEN_TE:
    case TR_TOKEN_TRAILER:
    case TR_TOKEN_TRANSFER_ENCODING:
    case TR_TOKEN_UPGRADE:
        return true;
    case TR_TOKEN_NONE:
    case TR_TOKEN_ACCEPT:
    case TR_TOKEN_ACCEPT_ENCODING:
    case TR_TOKEN_AUTHORIZATION:
    case TR_TOKEN_CACHE_CONTROL:
    case TR_TOKEN_COOKIE:
    case TR_TOKEN_EXPECT:
    case TR_TOKEN_GRPC_ACCEPT_ENCODING:
    case TR_TOKEN_GRPC_ENCODING:
    case TR_TOKEN_GRPC_MESSAGE:
    case TR_TOKEN_GRPC_STATUS:
    case TR_TOKEN_GRPC_STATUS_DETAILS:
    case TR_TOKEN_GRPC_TIMEOUT:
    case TR_TOKEN_ORIGIN:
    case TR_TOKEN_SERVER:
    case TR_TOKEN_TRACEPARENT:
    case TR_TOKEN_TRACESTATE:
    case TR_TOKEN_USER_AGENT:
    case TR_TOKEN_X_FORWARDED_FOR:
    case TR_TOKEN_X_FORWARDED_HOST:
    case TR_TOKEN_X_FORWARDED_PROTO:
    case TR_TOKEN_X_REQUEST_ID:
    case TR_TOKEN_X_REQUEST_TIMEOUT:
    case TR_TOKEN__COUNT:
        break;
    }
    return tr_span_starts(h->name, TR_SPAN("grpc-"));
}

/* What a policy takes out of the head, or replaces there, must not come behind it: filters see
 * heads alone. */
static bool is_kept_from_trailers(const struct tr_policy *p, struct tr_span name)
{
    const struct tr_strings *remove = &p->remove_headers.response;
    const struct tr_pairs *set = &p->set_headers.response;
    for (uint32_t i = 0; i < remove->count; i++)
        if (tr_span_eq(remove->items[i], name))
            return true;
    for (uint32_t i = 0; i < set->count; i++)
        if (tr_span_eq(set->names[i], name))
            return true;
    return tr_span_starts(name, TR_SPAN("access-control-"));
}

enum tr_err tr_metadata_response(struct tr_exchange *x, const struct tr_headers *in,
                                 struct tr_headers *out)
{
    for (uint32_t i = 0; i < in->count; i++) {
        const struct tr_header *h = &in->items[i];
        if (is_response_dropped(h) ||
            (out != &x->resp_headers && is_kept_from_trailers(x->policy, h->name)))
            continue;
        if (!tr_span_is_printable(h->value)) {
            tr_count(&x->w->dropped_headers);
            continue;
        }
        enum tr_err err =
            tr_headers_add(out, &x->hs->arena, h->name, h->value, (enum tr_token)h->token);
        if (err)
            return err;
    }
    return TR_OK;
}
