#include "http/h1_parse.h"

#include "http/chars.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { ST_START, ST_METHOD, ST_TARGET, ST_VERSION, ST_LINES };

void tr_h1_scan_init(struct tr_h1_scan *s)
{
    *s = (struct tr_h1_scan){.stage = ST_START};
}

/* A recipient ignores an empty line before a request line (RFC 9112 §2.2); more than one is no
 * client's habit. */
static enum tr_err scan_start(struct tr_h1_scan *s, const char *buf, uint32_t end,
                              struct tr_status *st)
{
    if (end == 0)
        return TR_ERR_AGAIN;
    if (buf[0] == '\r') {
        if (end == 1)
            return TR_ERR_AGAIN;
        if (buf[1] != '\n')
            return tr_fail(st, TR_ERR_BAD_REQUEST_LINE, "the request begins with a lone CR");
        s->start = 2;
    }
    s->pos = s->line = s->start;
    s->stage = ST_METHOD;
    return TR_OK;
}

static enum tr_err scan_method(struct tr_h1_scan *s, const char *buf, uint32_t end,
                               struct tr_status *st)
{
    uint32_t pos = s->pos, start = s->start;
    while (pos < end && (tr_http_class(buf[pos]) & TR_CLASS_TOKEN) &&
           pos - start < TR_H1_METHOD_MAX)
        pos++;
    s->pos = pos;
    if (pos == end)
        return TR_ERR_AGAIN;
    if (buf[pos] != ' ' || pos == start)
        return tr_fail(st, TR_ERR_BAD_REQUEST_LINE,
                       "the request does not begin with a method and a space");
    s->method_len = pos - start;
    s->pos = s->line = pos + 1;
    s->stage = ST_TARGET;
    return TR_OK;
}

/* Only where the target ends is found here; its form and its bytes are judged with the whole head.
 */
static enum tr_err scan_target(struct tr_h1_scan *s, const char *buf, uint32_t end,
                               const struct tr_h1_limits *limits, struct tr_status *st)
{
    uint32_t pos = s->pos;
    for (; pos < end; pos++) {
        unsigned char c = (unsigned char)buf[pos];
        if (c <= ' ' || c == 0x7f)
            break;
        if (c == '?')
            s->past_path = true;
        if (!s->past_path && pos - s->line >= limits->max_path) {
            s->pos = pos;
            return tr_fail(st, TR_ERR_TARGET_TOO_LONG, "the path is longer than %u bytes",
                           (unsigned)limits->max_path);
        }
    }
    s->pos = pos;
    if (pos == end)
        return TR_ERR_AGAIN;
    if (buf[pos] != ' ' || pos == s->line)
        return tr_fail(st, TR_ERR_BAD_REQUEST_LINE,
                       "the request line is not method, target and version with one space between");
    s->target_len = pos - s->line;
    s->pos = s->line = pos + 1;
    s->stage = ST_VERSION;
    return TR_OK;
}

static enum tr_err scan_version(struct tr_h1_scan *s, const char *buf, uint32_t end,
                                struct tr_status *st)
{
    static const char form[] = "HTTP/d.d\r\n";
    for (; s->pos < end && s->pos - s->line < sizeof form - 1; s->pos++) {
        char want = form[s->pos - s->line], c = buf[s->pos];
        if (want == 'd' ? !tr_is_digit(c) : c != want)
            return tr_fail(st, TR_ERR_BAD_REQUEST_LINE,
                           "the request line does not end in HTTP/1.1 and CRLF");
    }
    if (s->pos - s->line < sizeof form - 1)
        return TR_ERR_AGAIN;
    char major = buf[s->line + 5], minor = buf[s->line + 7];
    if (major != '1' || minor > '1')
        return tr_fail(st, TR_ERR_HTTP_VERSION, "HTTP/%c.%c is not served here", major, minor);
    s->version = minor == '1' ? 11 : 10;
    s->line = s->pos;
    s->stage = ST_LINES;
    return TR_OK;
}

static enum tr_err scan_lines(struct tr_h1_scan *s, const char *buf, uint32_t end,
                              const struct tr_h1_limits *limits, size_t *ret_len,
                              struct tr_status *st)
{
    for (;;) {
        const char *lf = s->pos < end ? memchr(buf + s->pos, '\n', end - s->pos) : NULL;
        if (!lf) {
            s->pos = end;
            return TR_ERR_AGAIN;
        }
        uint32_t line = s->line, len = (uint32_t)(lf - buf) - line;
        s->pos = s->line = line + len + 1;
        if (len == 0 || lf[-1] != '\r')
            return tr_fail(st, TR_ERR_BAD_HEADER, "a line ends in LF without CR");
        if (len == 1) {
            *ret_len = s->pos;
            return TR_OK;
        }
        if (buf[line] == ' ' || buf[line] == '\t')
            return tr_fail(st, TR_ERR_BAD_HEADER, "a header line begins with white space");
        if (s->headers == limits->max_headers)
            return tr_fail(st, TR_ERR_TOO_MANY_HEADERS, "there are more than %u header fields",
                           (unsigned)limits->max_headers);
        s->headers++;
    }
}

enum tr_err tr_h1_scan(struct tr_h1_scan *s, struct tr_span buf, const struct tr_h1_limits *limits,
                       size_t *ret_len, struct tr_status *st)
{
    /* Bytes beyond the limit are never looked at, so that the verdict does not depend on how many
     * there are yet. */
    bool full = buf.len >= limits->max_bytes;
    uint32_t end = full ? limits->max_bytes : (uint32_t)buf.len;
    enum tr_err err = TR_OK;
    while (!err) {
        switch (s->stage) {
        case ST_START:
            err = scan_start(s, buf.ptr, end, st);
            break;
        case ST_METHOD:
            err = scan_method(s, buf.ptr, end, st);
            break;
        case ST_TARGET:
            err = scan_target(s, buf.ptr, end, limits, st);
            break;
        case ST_VERSION:
            err = scan_version(s, buf.ptr, end, st);
            break;
        default:
            err = scan_lines(s, buf.ptr, end, limits, ret_len, st);
            if (!err)
                return TR_OK;
            break;
        }
    }
    if (err == TR_ERR_AGAIN && full) {
        if (s->stage == ST_LINES)
            return tr_fail(st, TR_ERR_HEADERS_TOO_LARGE,
                           "the header section is larger than %u bytes",
                           (unsigned)limits->max_bytes);
        return tr_fail(st, TR_ERR_TARGET_TOO_LONG, "the request line is longer than %u bytes",
                       (unsigned)limits->max_bytes);
    }
    return err;
}

/* The first byte at or after p that a field value may not hold; a CR in a well-formed line. There
 * is one before end. */
static char *value_end(char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i low = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, low), v);
        __m128i bad =
            _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), control), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(bad);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && (tr_http_class(*p) & TR_CLASS_FIELD))
        p++;
    return p;
}

/* One line "name: value CRLF" at p; returns the start of the next line, NULL when it is malformed.
 */
static char *parse_field(char *p, const char *end, struct tr_span *ret_name,
                         struct tr_span *ret_value)
{
    char *name = p;
    while (p < end && (tr_http_class(*p) & TR_CLASS_TOKEN)) {
        *p = tr_lower(*p);
        p++;
    }
    if (p == name || p == end || *p != ':')
        return NULL;
    *ret_name = tr_span(name, (size_t)(p - name));
    p++;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    char *value = p;
    p = value_end(p, end);
    if (end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    const char *last = p;
    while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
        last--;
    *ret_value = tr_span(value, (size_t)(last - value));
    return p + 2;
}

enum tr_err tr_h1_parse_fields(char *lines, size_t len, struct tr_arena *arena,
                               struct tr_headers *ret_headers, struct tr_status *st)
{
    char *p = lines;
    const char *end = lines + len;
    while (p < end && *p != '\r') {
        struct tr_span name, value;
        p = parse_field(p, end, &name, &value);
        if (!p)
            return tr_fail(st, TR_ERR_BAD_HEADER,
                           "header line %u is not a name, a colon and a value",
                           (unsigned)ret_headers->count + 1);
        enum tr_err err = tr_headers_add(ret_headers, arena, name, value, tr_token_from(name));
        if (err)
            return tr_fail(st, err, "out of memory");
    }
    if (end - p != 2 || p[0] != '\r' || p[1] != '\n')
        return tr_fail(st, TR_ERR_BAD_HEADER, "the header section does not end in an empty line");
    return TR_OK;
}

void tr_h1_parse_refused(struct tr_span buf, const struct tr_h1_scan *scan,
                         struct tr_req_head *ret_head)
{
    ret_head->version = scan->version ? scan->version : 11;
    ret_head->content_length = -1;
    ret_head->end = true;
    ret_head->method_text = tr_span_sub(buf, scan->start, scan->method_len);
    ret_head->method = tr_method_from(ret_head->method_text);
    if (scan->target_len == 0)
        return;
    struct tr_span target = tr_span_sub(buf, scan->start + scan->method_len + 1, scan->target_len);
    size_t mark = tr_span_find(target, '?');
    ret_head->path = tr_span_sub(target, 0, mark);
    if (mark < target.len)
        ret_head->query = tr_span_from(target, mark + 1);
}

enum tr_err tr_h1_parse(char *head, size_t len, const struct tr_h1_scan *scan,
                        struct tr_arena *arena, struct tr_req_head *ret_head, struct tr_status *st)
{
    tr_h1_parse_refused(tr_span(head, len), scan, ret_head);
    if (scan->headers) {
        ret_head->headers.items = tr_arena_alloc(arena, scan->headers * sizeof(struct tr_header));
        if (!ret_head->headers.items)
            return tr_fail(st, TR_ERR_NOMEM, "out of memory");
        ret_head->headers.cap = scan->headers;
    }
    size_t target_at = scan->start + scan->method_len + 1,
           lines_at = target_at + scan->target_len + 11;
    enum tr_err err =
        tr_h1_parse_fields(head + lines_at, len - lines_at, arena, &ret_head->headers, st);
    if (err)
        return err;
    return tr_req_head_finish(ret_head, tr_span(head + target_at, scan->target_len), st);
}

bool tr_h1_says_close(const struct tr_headers *headers)
{
    for (const struct tr_header *h = NULL;
         (h = tr_headers_find(headers, TR_TOKEN_CONNECTION, h)) != NULL;) {
        struct tr_span list = h->value;
        while (list.ptr) {
            if (tr_span_ieq(tr_span_trim(tr_span_cut(&list, ',')), TR_SPAN("close")))
                return true;
        }
    }
    return false;
}
