#include "io/kv_redis.h"
#include "io/listener.h"

#include <arpa/inet.h>
#include <stdio.h>

#define DB_MAX 1000000

/* Percent-encoding away; false when it is wrong or the result does not fit. */
static bool decode(struct tr_span in, char *out, size_t cap, uint16_t *ret_len)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '%') {
            int high = i + 2 < in.len ? tr_hex_value(in.ptr[i + 1]) : -1;
            int low = high >= 0 ? tr_hex_value(in.ptr[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (n == cap)
            return false;
        out[n++] = c;
    }
    *ret_len = (uint16_t)n;
    return true;
}

/* "user:password", ":password"; a name alone is nothing that Redis takes. */
static enum tr_err parse_user(struct tr_span text, struct tr_kv_redis_url *url,
                              struct tr_status *st)
{
    size_t colon = tr_span_find(text, ':');
    if (colon == text.len)
        return tr_fail(st, TR_ERR_CONFIG,
                       "what stands before \"@\" must be \":password\" or \"user:password\"");
    if (!decode(tr_span_sub(text, 0, colon), url->user, sizeof url->user, &url->user_len) ||
        !decode(tr_span_from(text, colon + 1), url->password, sizeof url->password,
                &url->password_len))
        return tr_fail(st, TR_ERR_CONFIG,
                       "the user (at most %zu bytes) or the password (%zu) is too long, or its "
                       "percent-encoding is wrong",
                       sizeof url->user, sizeof url->password);
    if (url->password_len == 0)
        return tr_fail(st, TR_ERR_CONFIG, "the password before \"@\" is empty");
    return TR_OK;
}

static enum tr_err parse_db(struct tr_span text, struct tr_kv_redis_url *url, struct tr_status *st)
{
    uint64_t db;
    if (!tr_span_u64(text, &db) || db > DB_MAX)
        return tr_fail(st, TR_ERR_CONFIG, "the database must be a number, 0 to %d", DB_MAX);
    url->db = (uint32_t)db;
    return TR_OK;
}

static enum tr_err parse_unix(struct tr_span rest, struct tr_kv_redis_url *url,
                              struct tr_status *st)
{
    char text[160];
    enum tr_err err;
    if (tr_span_starts(rest, TR_SPAN("//"))) {
        rest = tr_span_from(rest, 2);
        size_t at = tr_span_rfind(rest, '@');
        if (at < rest.len) {
            if ((err = parse_user(tr_span_sub(rest, 0, at), url, st)) != TR_OK)
                return err;
            rest = tr_span_from(rest, at + 1);
        }
        size_t mark = tr_span_find(rest, '?');
        if (mark < rest.len) {
            struct tr_span query = tr_span_from(rest, mark + 1);
            if (!tr_span_starts(query, TR_SPAN("db=")))
                return tr_fail(st, TR_ERR_CONFIG, "only \"?db=NUMBER\" may follow the path");
            if ((err = parse_db(tr_span_from(query, 3), url, st)) != TR_OK)
                return err;
            rest = tr_span_sub(rest, 0, mark);
        }
    }
    if (rest.len > 120) /* beyond what sockaddr_un has room for */
        return tr_fail(st, TR_ERR_CONFIG, "the path of the unix socket is too long");
    memcpy(text, "unix:", 5);
    memcpy(text + 5, rest.ptr, rest.len);
    if ((err = tr_addr_parse(tr_span(text, 5 + rest.len), &url->addr, st)) != TR_OK)
        return err;
    memcpy(url->host, text, 5 + rest.len);
    return TR_OK;
}

static bool is_address(const char *host, bool bracketed)
{
    struct in6_addr v6;
    struct in_addr v4;
    return bracketed ? inet_pton(AF_INET6, host, &v6) == 1 : inet_pton(AF_INET, host, &v4) == 1;
}

/* "host[:port]", "[v6][:port]" into url->host, url->port. */
static enum tr_err split_host(struct tr_span text, bool bracketed, struct tr_kv_redis_url *url,
                              struct tr_status *st)
{
    size_t end = bracketed ? tr_span_find(text, ']') : tr_span_find(text, ':');
    uint64_t port = TR_KV_REDIS_PORT;
    if (bracketed && end == text.len)
        return tr_fail(st, TR_ERR_CONFIG, "the bracket of the address is not closed");
    struct tr_span host = bracketed ? tr_span_sub(text, 1, end - 1) : tr_span_sub(text, 0, end);
    if (bracketed)
        end++;
    if (end < text.len) {
        if (text.ptr[end] != ':')
            return tr_fail(st, TR_ERR_CONFIG, "after the bracket comes \":port\"");
        if (!tr_span_u64(tr_span_from(text, end + 1), &port) || port == 0 || port > 65535)
            return tr_fail(st, TR_ERR_CONFIG, "the port must be 1 to 65535");
    }
    if (host.len == 0 || host.len >= sizeof url->host)
        return tr_fail(st, TR_ERR_CONFIG, "the host is missing or too long");
    for (size_t i = 0; i < host.len; i++)
        if (!tr_is_alpha(host.ptr[i]) && !tr_is_digit(host.ptr[i]) &&
            !memchr(bracketed ? ":.%" : "-._", host.ptr[i], 3))
            return tr_fail(st, TR_ERR_CONFIG, "the host has a byte that no name has");
    memcpy(url->host, host.ptr, host.len);
    url->host[host.len] = 0;
    url->port = (uint16_t)port;
    return TR_OK;
}

static enum tr_err parse_host(struct tr_span text, struct tr_kv_redis_url *url,
                              struct tr_status *st)
{
    char full[300];
    bool bracketed = text.len && text.ptr[0] == '[';
    enum tr_err err = split_host(text, bracketed, url, st);
    if (err)
        return err;
    if (!is_address(url->host, bracketed)) {
        if (bracketed)
            return tr_fail(st, TR_ERR_CONFIG, "what stands in brackets is no IPv6 address");
        return TR_OK; /* a name: looked up whenever the link connects */
    }
    int n = snprintf(full, sizeof full, "%s%s%s:%u", bracketed ? "[" : "", url->host,
                     bracketed ? "]" : "", url->port);
    return tr_addr_parse(tr_span(full, (size_t)n), &url->addr, st);
}

static enum tr_err parse_tcp(struct tr_span rest, struct tr_kv_redis_url *url, struct tr_status *st)
{
    size_t slash = tr_span_find(rest, '/');
    struct tr_span authority = tr_span_sub(rest, 0, slash), db = tr_span_from(rest, slash + 1);
    enum tr_err err;
    size_t at = tr_span_rfind(authority, '@');
    if (at < authority.len) {
        if ((err = parse_user(tr_span_sub(authority, 0, at), url, st)) != TR_OK)
            return err;
        authority = tr_span_from(authority, at + 1);
    }
    if (db.len && (err = parse_db(db, url, st)) != TR_OK)
        return err;
    return parse_host(authority, url, st);
}

enum tr_err tr_kv_redis_parse(struct tr_span url, struct tr_kv_redis_url *ret_url,
                              struct tr_status *st)
{
    struct tr_kv_redis_url parsed;
    enum tr_err err;
    memset(&parsed, 0, sizeof parsed);
    if (tr_span_starts(url, TR_SPAN("rediss:")))
        return tr_fail(st, TR_ERR_CONFIG,
                       "rediss:// is not spoken here: hiredis 0.14 of Debian 12 has no TLS; put "
                       "stunnel beside the gateway and name its address, or use a unix socket");
    if (tr_span_starts(url, TR_SPAN("redis://")))
        err = parse_tcp(tr_span_from(url, 8), &parsed, st);
    else if (tr_span_starts(url, TR_SPAN("redis+unix:")))
        err = parse_unix(tr_span_from(url, 11), &parsed, st);
    else if (tr_span_starts(url, TR_SPAN("unix:")))
        err = parse_unix(tr_span_from(url, 5), &parsed, st);
    else /* the text is not shown: it may be a secret in the wrong place */
        err = tr_fail(st, TR_ERR_CONFIG,
                      "must be redis://[user:password@]host:port/database or unix:path");
    if (err == TR_OK)
        *ret_url = parsed;
    return err;
}
