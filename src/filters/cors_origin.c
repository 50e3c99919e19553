#include "filters/cors_origin.h"

#include "http/msg.h"

static bool is_scheme(struct tr_span s)
{
    if (s.len == 0 || !tr_is_alpha(s.ptr[0]))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!tr_is_alpha(c) && !tr_is_digit(c) && c != '+' && c != '-' && c != '.')
            return false;
    }
    return true;
}

static bool is_host_char(char c)
{
    return tr_is_alpha(c) || tr_is_digit(c) || c == '-' || c == '_' || c == '.';
}

/* "host", "[v6]", each with an optional port. */
static bool is_host_port(struct tr_span s)
{
    size_t end = 0;
    if (s.len && s.ptr[0] == '[') {
        end = tr_span_find(s, ']');
        if (end == s.len || end < 3)
            return false;
        for (size_t i = 1; i < end; i++)
            if (tr_hex_value(s.ptr[i]) < 0 && s.ptr[i] != ':' && s.ptr[i] != '.')
                return false;
        end++;
    } else {
        while (end < s.len && is_host_char(s.ptr[end]))
            end++;
    }
    if (end == 0 || end == s.len)
        return end > 0;
    uint64_t port;
    struct tr_span digits = tr_span_from(s, end + 1);
    return s.ptr[end] == ':' && digits.len <= 5 && tr_span_u64(digits, &port) && port <= 65535;
}

static struct tr_span without_default_port(struct tr_span host, struct tr_span scheme)
{
    struct tr_span port = tr_span_ieq(scheme, TR_SPAN("https"))  ? TR_SPAN(":443")
                          : tr_span_ieq(scheme, TR_SPAN("http")) ? TR_SPAN(":80")
                                                                 : TR_SPAN("");
    if (port.len && tr_span_ends(host, port))
        host.len -= port.len;
    return host;
}

bool tr_cors_pattern_parse(struct tr_span text, struct tr_arena *arena,
                           struct tr_cors_pattern *ret_pattern, bool *ret_nomem)
{
    *ret_nomem = false;
    if (tr_span_eq(text, TR_SPAN("null"))) { /* what browsers send for opaque origins */
        *ret_pattern = (struct tr_cors_pattern){.rest = TR_SPAN_INIT("null")};
        return true;
    }
    size_t colon = tr_span_find(text, ':');
    struct tr_span scheme = tr_span_sub(text, 0, colon), host = tr_span_from(text, colon + 3);
    if (!is_scheme(scheme) || !tr_span_eq(tr_span_sub(text, colon, 3), TR_SPAN("://")))
        return false;
    bool wildcard = tr_span_starts(host, TR_SPAN("*."));
    struct tr_span rest = tr_span_from(host, wildcard ? 2 : 0);
    if (!is_host_port(rest) || rest.ptr[0] == '.' || (wildcard && rest.ptr[0] == '['))
        return false;
    rest = without_default_port(tr_span_from(host, wildcard ? 1 : 0), scheme);
    size_t head = wildcard ? scheme.len + 3 : 0;
    struct tr_span whole = wildcard ? rest : tr_span(text.ptr, scheme.len + 3 + rest.len);
    char *p = tr_arena_alloc(arena, head + whole.len);
    if (!p) {
        *ret_nomem = true;
        return false;
    }
    for (size_t i = 0; i < head; i++)
        p[i] = tr_lower(text.ptr[i]);
    for (size_t i = 0; i < whole.len; i++)
        p[head + i] = tr_lower(whole.ptr[i]);
    *ret_pattern =
        (struct tr_cors_pattern){tr_span(p, head), tr_span(p + head, whole.len), wildcard};
    return true;
}

/* What the star stands for: labels as browsers write them, none of them empty. */
static bool are_labels(struct tr_span s)
{
    if (s.len == 0 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_host_char(s.ptr[i]) || (s.ptr[i] == '.' && s.ptr[i + 1] == '.'))
            return false;
    return true;
}

bool tr_cors_pattern_matches(const struct tr_cors_pattern *pattern, struct tr_span origin)
{
    if (!pattern->wildcard)
        return tr_span_eq(pattern->rest, origin);
    if (origin.len <= pattern->scheme.len + pattern->rest.len ||
        !tr_span_starts(origin, pattern->scheme) || !tr_span_ends(origin, pattern->rest))
        return false;
    return are_labels(tr_span_sub(origin, pattern->scheme.len,
                                  origin.len - pattern->scheme.len - pattern->rest.len));
}

bool tr_cors_is_name_list(struct tr_span list)
{
    if (list.len > TR_CORS_HEADERS_MAX_BYTES)
        return false;
    while (list.ptr) {
        struct tr_span name = tr_span_trim(tr_span_cut(&list, ','));
        if (name.len && !tr_http_is_token(name))
            return false;
    }
    return true;
}

bool tr_cors_list_has(struct tr_span list, struct tr_span word)
{
    while (list.ptr)
        if (tr_span_ieq(tr_span_trim(tr_span_cut(&list, ',')), word))
            return true;
    return false;
}
