#include "http/uri.h"

#include "http/chars.h"

static bool is_all(struct tr_span s, unsigned class)
{
    unsigned ok = class;
    for (size_t i = 0; i < s.len; i++)
        ok &= tr_http_class(s.ptr[i]);
    return ok == class;
}

/* Of the "%" in s, each followed by two hexadecimal digits? */
static bool escapes_are_whole(struct tr_span s)
{
    for (size_t i = tr_span_find(s, '%'); i < s.len;
         i += 3 + tr_span_find(tr_span_from(s, i + 3), '%')) {
        if (s.len - i < 3 || tr_hex_value(s.ptr[i + 1]) < 0 || tr_hex_value(s.ptr[i + 2]) < 0)
            return false;
    }
    return true;
}

bool tr_uri_is_path(struct tr_span s)
{
    return s.len > 0 && s.ptr[0] == '/' && is_all(s, TR_CLASS_PATH) && escapes_are_whole(s);
}

bool tr_uri_is_query(struct tr_span s)
{
    return is_all(s, TR_CLASS_QUERY);
}

static bool is_dotted_quad(struct tr_span s)
{
    unsigned parts = 0;
    while (s.ptr) {
        struct tr_span part = tr_span_cut(&s, '.');
        uint64_t v;
        if (part.len > 3 || !tr_span_u64(part, &v) || v > 255)
            return false;
        parts++;
    }
    return parts == 4;
}

/* How many 16-bit groups a piece between colons stands for; 0 when it is malformed. */
static unsigned ipv6_piece(struct tr_span piece, bool last)
{
    if (tr_span_find(piece, '.') < piece.len)
        return last && is_dotted_quad(piece) ? 2 : 0;
    for (size_t i = 0; i < piece.len; i++) {
        if (tr_hex_value(piece.ptr[i]) < 0)
            return 0;
    }
    return piece.len >= 1 && piece.len <= 4;
}

/* The groups of a part without "::"; 99 when it is malformed. */
static unsigned ipv6_groups(struct tr_span s, bool last)
{
    unsigned groups = 0;
    if (s.len == 0)
        return 0;
    while (s.ptr) {
        struct tr_span piece = tr_span_cut(&s, ':');
        unsigned n = ipv6_piece(piece, last && !s.ptr);
        if (n == 0)
            return 99;
        groups += n;
    }
    return groups;
}

/* At most eight groups of at most four hexadecimal digits, one "::", and perhaps a dotted quad at
 * the end (RFC 3986 §3.2.2). Zone identifiers have no place in a Host. */
static bool is_ipv6(struct tr_span s)
{
    size_t gap = 0;
    while (gap + 1 < s.len && !(s.ptr[gap] == ':' && s.ptr[gap + 1] == ':'))
        gap++;
    if (gap + 1 >= s.len)
        return s.len > 0 && ipv6_groups(s, true) == 8;
    struct tr_span tail = tr_span_from(s, gap + 2);
    return ipv6_groups(tr_span_sub(s, 0, gap), false) + ipv6_groups(tail, true) <= 7;
}

void tr_uri_split_authority(struct tr_span s, struct tr_span *ret_host, struct tr_span *ret_port)
{
    size_t colon;
    if (s.len > 0 && s.ptr[0] == '[') {
        colon = tr_span_find(s, ']');
        if (colon < s.len)
            colon++;
    } else {
        colon = tr_span_find(s, ':');
    }
    *ret_host = tr_span_sub(s, 0, colon);
    *ret_port = tr_span_from(s, colon < s.len && s.ptr[colon] == ':' ? colon + 1 : colon);
}

bool tr_uri_is_authority(struct tr_span s)
{
    struct tr_span host, port;
    tr_uri_split_authority(s, &host, &port);
    if (host.len == 0)
        return false;
    if (host.ptr[0] == '[') {
        if (host.ptr[host.len - 1] != ']' || !is_ipv6(tr_span_sub(host, 1, host.len - 2)))
            return false;
        if (host.len < s.len && s.ptr[host.len] != ':')
            return false;
    } else if (!is_all(host, TR_CLASS_HOST) || !escapes_are_whole(host)) {
        return false;
    }
    if (port.len == 0)
        return true;
    uint64_t v;
    return port.len <= 5 && tr_span_u64(port, &v) && v <= 65535;
}

enum tr_err tr_uri_parse(struct tr_span s, struct tr_uri *ret_uri)
{
    struct tr_uri uri = {.query = {NULL, 0}};
    size_t scheme_len = 0;
    if (s.len > 7 && tr_span_ieq(tr_span_sub(s, 0, 7), TR_SPAN("http://")))
        scheme_len = 4;
    else if (s.len > 8 && tr_span_ieq(tr_span_sub(s, 0, 8), TR_SPAN("https://")))
        scheme_len = 5;
    else
        return TR_ERR_BAD_TARGET;
    uri.scheme = scheme_len == 4 ? TR_SPAN("http") : TR_SPAN("https");
    struct tr_span rest = tr_span_from(s, scheme_len + 3);
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?')
        end++;
    uri.authority = tr_span_sub(rest, 0, end);
    rest = tr_span_from(rest, end);
    size_t mark = tr_span_find(rest, '?');
    uri.path = tr_span_sub(rest, 0, mark);
    if (mark < rest.len)
        uri.query = tr_span_from(rest, mark + 1);
    if (!tr_uri_is_authority(uri.authority) || (uri.path.len > 0 && !tr_uri_is_path(uri.path)) ||
        !tr_uri_is_query(uri.query))
        return TR_ERR_BAD_TARGET;
    *ret_uri = uri;
    return TR_OK;
}
