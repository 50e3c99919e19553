#include "route/path.h"

#include "base/utf8.h"

/* One look at a table for each byte; what needs more than a look has a class of its own. */
enum { BAD = 0, DATA = 1, UNRESERVED = 2, DOT = 3, SLASH = 4, PERCENT = 5, HIGH = 6 };

#define ALPHA(c) (((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define UNRES(c) (ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '_' || (c) == '~')
#define SUB1(c)  ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')')
#define SUB2(c)  ((c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define OTHER(c) (SUB1(c) || SUB2(c) || (c) == ':' || (c) == '@')
#define POINT(c) ((c) == '.' ? DOT : (c) == '/' ? SLASH : (c) == '%' ? PERCENT : BAD)
#define CLASS(c) (UNRES(c) ? UNRESERVED : OTHER(c) ? DATA : POINT(c))
#define C4(c)    CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define C16(c)   C4(c), C4((c) + 4), C4((c) + 8), C4((c) + 12)
static const uint8_t classes[256] = {C16(0),  C16(16), C16(32), C16(48),
                                     C16(64), C16(80), C16(96), C16(112)};

static unsigned class_of(char c)
{
    return classes[(unsigned char)c];
}

static bool is_unreserved(char c)
{
    return class_of(c) == UNRESERVED || class_of(c) == DOT;
}

/* RFC 6570 §1.5: gen-delims and sub-delims. */
static bool is_reserved(char c)
{
    return class_of(c) == DATA || c == '/' || c == '?' || c == '#' || c == '[' || c == ']';
}

bool tr_path_is_pchar(char c)
{
    return class_of(c) >= DATA && class_of(c) <= DOT;
}

bool tr_path_is_escape(struct tr_span s)
{
    return s.len >= 3 && s.ptr[0] == '%' && tr_hex_value(s.ptr[1]) >= 0 &&
           tr_hex_value(s.ptr[2]) >= 0;
}

static char escape_value(const char *p)
{
    return (char)((unsigned)tr_hex_value(p[1]) << 4 | (unsigned)tr_hex_value(p[2]));
}

/* Length of a "." at p, encoded or not; 0 when there is none. */
static size_t dot_len(struct tr_span s)
{
    if (s.len && s.ptr[0] == '.')
        return 1;
    return s.len >= 3 && s.ptr[0] == '%' && s.ptr[1] == '2' && (s.ptr[2] | 0x20) == 'e' ? 3 : 0;
}

/* The bytes after one or two dots at the start of s; s itself when it begins with none. */
static struct tr_span skip_dots(struct tr_span s)
{
    for (int i = 0; i < 2; i++)
        s = tr_span_from(s, dot_len(s));
    return s;
}

bool tr_path_is_dots(struct tr_span segment)
{
    return segment.len > 0 && skip_dots(segment).len == 0;
}

/* `at` is the start of a segment of path that begins with a dot. "..:verb" counts: the verb is cut
 * off before a variable takes the rest. */
static bool is_dot_segment(struct tr_span path, size_t at)
{
    struct tr_span rest = skip_dots(tr_span_from(path, at));
    if (rest.len == 0 || rest.ptr[0] == '/')
        return true;
    return rest.ptr[0] == ':' && tr_span_find(rest, '/') == rest.len;
}

/* Checks the run of escapes of non-ASCII bytes at `at`; on success *ret_end is behind the last
 * whole sequence. */
static bool check_utf8(struct tr_span path, size_t at, size_t *ret_end)
{
    char seq[4];
    size_t n = 0;
    while (n < sizeof seq && tr_path_is_escape(tr_span_from(path, at + 3 * n)))
        n++; /* counted first, so that a sequence cut by the end of the run is seen as such */
    for (size_t i = 0; i < n; i++)
        seq[i] = escape_value(path.ptr + at + 3 * i);
    int len = n ? tr_utf8_seq(tr_span(seq, n)) : 0;
    if (len <= 0)
        return false;
    *ret_end = at + 3 * (size_t)len;
    return true;
}

static enum tr_err refuse(struct tr_status *st, size_t offset, const char *why)
{
    enum tr_err err = tr_fail(st, TR_ERR_BAD_TARGET, "%s", why);
    if (st)
        st->offset = offset;
    return err;
}

enum tr_err tr_path_check(struct tr_span path, struct tr_status *st)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return refuse(st, 0, "the path does not begin with '/'");
    size_t i = 0;
    while (i < path.len) {
        switch (class_of(path.ptr[i])) {
        case DATA:
        case UNRESERVED:
        case DOT:
            i++;
            break;
        case SLASH:
            i++;
            if (dot_len(tr_span_from(path, i)) && is_dot_segment(path, i))
                return refuse(st, i, "the path has a dot segment");
            break;
        case PERCENT: {
            if (!tr_path_is_escape(tr_span_from(path, i)))
                return refuse(st, i, "'%' is not followed by two hexadecimal digits");
            char c = escape_value(path.ptr + i);
            if (c == 0)
                return refuse(st, i, "the path has %00");
            size_t end = i + 3;
            if ((unsigned char)c >= 0x80 && !check_utf8(path, i, &end))
                return refuse(st, i, "the path is not UTF-8 after decoding");
            i = end;
            break;
        }
        default:
            return refuse(st, i, "the path has a character that must be percent-encoded");
        }
    }
    return TR_OK;
}

enum tr_err tr_path_canonical(struct tr_span path, struct tr_arena *arena, struct tr_span *ret_path)
{
    size_t from = tr_span_find(path, '%');
    while (from < path.len && !is_unreserved(escape_value(path.ptr + from)))
        from += 3 + tr_span_find(tr_span_from(path, from + 3), '%');
    if (from >= path.len) {
        *ret_path = path;
        return TR_OK;
    }
    char *out = tr_arena_alloc(arena, path.len);
    if (!out)
        return TR_ERR_NOMEM;
    memcpy(out, path.ptr, from);
    size_t n = from;
    for (size_t i = from; i < path.len;) {
        char c = path.ptr[i];
        if (c == '%' && is_unreserved(escape_value(path.ptr + i))) {
            c = escape_value(path.ptr + i);
            i += 2;
        }
        out[n++] = c;
        i++;
    }
    *ret_path = tr_span(out, n);
    return TR_OK;
}

static bool stays_encoded(char c, enum tr_path_unescape mode)
{
    switch (mode) {
    case TR_UNESCAPE_ALL_EXCEPT_SLASH:
        return c == '/';
    case TR_UNESCAPE_ALL_EXCEPT_RESERVED:
        return is_reserved(c);
    case TR_UNESCAPE_ALL:
    default:
        return false;
    }
}

enum tr_err tr_path_decode(struct tr_span raw, enum tr_path_unescape mode, struct tr_arena *arena,
                           struct tr_span *ret_value)
{
    size_t from = tr_span_find(raw, '%');
    if (from == raw.len) {
        *ret_value = raw;
        return TR_OK;
    }
    char *out = tr_arena_alloc(arena, raw.len);
    if (!out)
        return TR_ERR_NOMEM;
    memcpy(out, raw.ptr, from);
    size_t n = from;
    for (size_t i = from; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%' && tr_path_is_escape(tr_span_from(raw, i))) {
            char value = escape_value(raw.ptr + i);
            if (!stays_encoded(value, mode)) {
                c = value;
                i += 2;
            }
        }
        out[n++] = c;
    }
    *ret_value = n == raw.len ? raw : tr_span(out, n);
    return TR_OK;
}

static char upper_hex(char c)
{
    if (c >= 'a')
        return (char)(c - 0x20);
    return c;
}

size_t tr_path_normalise(struct tr_span segment, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < segment.len; i++) {
        char c = segment.ptr[i];
        if (c != '%' || segment.len - i < 3) {
            out[n++] = c;
            continue;
        }
        char value = escape_value(segment.ptr + i);
        if (is_unreserved(value)) {
            out[n++] = value;
        } else {
            out[n++] = '%';
            out[n++] = upper_hex(segment.ptr[i + 1]);
            out[n++] = upper_hex(segment.ptr[i + 2]);
        }
        i += 2;
    }
    return n;
}

bool tr_path_normal_eq(struct tr_span segment, struct tr_span normal)
{
    char bytes[3];
    while (segment.len) {
        size_t step = segment.ptr[0] == '%' && segment.len >= 3 ? 3 : 1;
        size_t n = tr_path_normalise(tr_span(segment.ptr, step), bytes);
        if (normal.len < n || memcmp(normal.ptr, bytes, n) != 0)
            return false;
        segment = tr_span_from(segment, step);
        normal = tr_span_from(normal, n);
    }
    return normal.len == 0;
}
