/* What is rare: errors, escapes, text beyond ASCII that is wrong, long numbers, and tokens that lie
 * across chunks. */
#include "base/utf8.h"
#include "json/scan_int.h"

enum tr_json_tok tr_scan_fail_at(struct tr_json_scan *s, size_t offset, enum tr_err err,
                                 const char *text)
{
    s->state = S_FAILED;
    s->odd = 1;
    s->partial = PART_NONE;
    s->text = tr_span("", 0);
    s->p = s->end;
    (void)tr_fail(&s->st, err, "%s", text);
    s->st.line = s->tok_line;
    s->st.column = (uint32_t)(offset - s->line_offset + 1);
    s->st.offset = offset;
    return TR_JSON_ERROR;
}

enum tr_json_tok tr_scan_fail(struct tr_json_scan *s, const char *p, enum tr_err err,
                              const char *text)
{
    return tr_scan_fail_at(s, tr_scan_offset(s, p), err, text);
}

enum tr_json_tok tr_scan_chunk_end(struct tr_json_scan *s)
{
    s->p = s->end;
    if (!s->last)
        return TR_JSON_MORE;
    if (s->partial == PART_NONE && (s->state == S_DONE || s->state == S_MULTI))
        return TR_JSON_END;
    return tr_scan_fail(s, s->end, TR_ERR_JSON_TRUNCATED, "the JSON ends too early");
}

__attribute__((cold, noinline)) static bool spill_failed(struct tr_json_scan *s, size_t n)
{
    bool large = n > s->spill_max - s->spill->len;
    (void)tr_scan_fail_at(s, s->tok_offset, large ? TR_ERR_BODY_TOO_LARGE : TR_ERR_NOMEM,
                          large ? "a string or number is too long" : "out of memory");
    return false;
}

static bool spill_append(struct tr_json_scan *s, const char *p, size_t n)
{
    if (tr_unlikely(n > s->spill_max - s->spill->len || tr_buf_reserve(s->spill, n)))
        return spill_failed(s, n);
    if (n)
        memcpy(tr_buf_end(s->spill), p, n);
    s->spill->len += n;
    return true;
}

static inline bool spill_char(struct tr_json_scan *s, char c)
{
    if (tr_unlikely(s->spill->len >= s->spill_max || tr_buf_push(s->spill, c)))
        return spill_failed(s, 1);
    return true;
}

/* The same from the chunk: short runs by a copy of fixed size, where both sides have room for it.
 */
static inline bool spill_run(struct tr_json_scan *s, const char *p, size_t n)
{
    struct tr_buf *b = s->spill;
    if (n <= 32 && s->end - p >= 32 && b->cap - b->len >= 32 && n <= s->spill_max - b->len) {
        memcpy(tr_buf_end(b), p, 32);
        b->len += n;
        return true;
    }
    return spill_append(s, p, n);
}

/* -- strings ------------------------------------------------------------------------------ */

/* A *unit* is an escape (a surrogate pair of escapes is one) or a UTF-8 sequence. */
struct unit {
    size_t used; /* bytes of input; 0: more are needed */
    size_t len;  /* bytes of out */
    char out[4];
    enum tr_err err;
    size_t err_at; /* from the start of the unit */
    const char *text;
};

static void unit_fail(struct unit *u, size_t at, enum tr_err err, const char *text)
{
    u->err = err;
    u->err_at = at;
    u->text = text;
}

/* Four hex digits from p[at] on; false when they are wrong (u->err is set) or not all there. Never
 * looks at a byte before those in front of it are judged: the verdict on a unit does not depend on
 * where the input was cut. */
static bool hex4(struct unit *u, const char *p, size_t n, size_t at, uint32_t *ret)
{
    uint32_t v = 0;
    for (size_t i = at; i < at + 4; i++) {
        if (i >= n)
            return false;
        int d = tr_hex_value(p[i]);
        if (d < 0) {
            unit_fail(u, i, TR_ERR_JSON_SYNTAX, "a \\u escape needs four hexadecimal digits");
            return false;
        }
        v = v << 4 | (uint32_t)d;
    }
    *ret = v;
    return true;
}

static void unit_u_escape(struct unit *u, const char *p, size_t n)
{
    static const char lone[] = "a \\u escape is an unpaired surrogate";
    uint32_t cp, low;
    if (!hex4(u, p, n, 2, &cp))
        return;
    size_t used = 6;
    if (cp >= 0xDC00 && cp <= 0xDFFF) {
        unit_fail(u, 0, TR_ERR_JSON_UTF8, lone);
        return;
    }
    if (cp >= 0xD800 && cp <= 0xDBFF) {
        if ((n > 6 && p[6] != '\\') || (n > 7 && p[7] != 'u')) {
            unit_fail(u, 0, TR_ERR_JSON_UTF8, lone);
            return;
        }
        if (n < 8 || !hex4(u, p, n, 8, &low))
            return;
        if (low < 0xDC00 || low > 0xDFFF) {
            unit_fail(u, 0, TR_ERR_JSON_UTF8, lone);
            return;
        }
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        used = 12;
    }
    u->len = tr_utf8_put(u->out, cp);
    u->used = used;
}

/* What the byte after a backslash stands for; 0: not an escape of one letter. */
static const char unescape[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                   ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};

static char short_escape(char c)
{
    if ((unsigned char)c >= sizeof unescape)
        return 0;
    return unescape[(unsigned char)c];
}

/* The unit at p[0..n), n > 0. */
static void unit_read(struct unit *u, const char *p, size_t n)
{
    u->used = u->len = 0;
    u->err = TR_OK;
    if (p[0] != '\\') {
        int seq = tr_utf8_seq(tr_span(p, n));
        if (seq < 0)
            unit_fail(u, 0, TR_ERR_JSON_UTF8, "a string is not valid UTF-8");
        if (seq <= 0)
            return;
        u->used = u->len = (size_t)seq;
        memcpy(u->out, p, u->len);
        return;
    }
    if (n < 2)
        return;
    if (p[1] == 'u') {
        unit_u_escape(u, p, n);
        return;
    }
    u->out[0] = short_escape(p[1]);
    if (!u->out[0]) {
        unit_fail(u, 1, TR_ERR_JSON_SYNTAX, "no such escape in a string");
        return;
    }
    u->len = 1;
    u->used = 2;
}

/* Ends the chunk inside of a string whose bytes from p on are no whole unit. */
static enum tr_json_tok string_cut(struct tr_json_scan *s, const char *p, enum tr_scan_part part)
{
    s->carry_len = (uint8_t)(s->end - p);
    memcpy(s->carry, p, s->carry_len);
    s->partial = (uint8_t)part;
    s->odd = 1;
    return tr_scan_chunk_end(s);
}

/* Decodes what stands at *p, which is no plain text: an escape, a sequence that is cut off, or an
 * error. False: *ret is the scanner's answer. */
static bool string_unit(struct tr_json_scan *s, const char **p, enum tr_scan_part part,
                        enum tr_json_tok *ret)
{
    struct unit u;
    unit_read(&u, *p, (size_t)(s->end - *p));
    if (u.err) {
        *ret = tr_scan_fail(s, *p + u.err_at, u.err, u.text);
        return false;
    }
    if (u.used == 0) {
        *ret = string_cut(s, *p, part);
        return false;
    }
    *p += u.used;
    *ret = TR_JSON_ERROR;
    return spill_append(s, u.out, u.len);
}

/* The string goes on at p; its text so far is in the spill buffer. */
__attribute__((noinline)) static enum tr_json_tok string_slow(struct tr_json_scan *s, const char *p,
                                                              enum tr_scan_part part)
{
    enum tr_json_tok ret;
    for (;;) {
        uint32_t non_ascii;
        const char *q = tr_strscan_find(p, s->end, &non_ascii), *valid = q;
        if (non_ascii)
            valid = p + tr_utf8_valid_prefix(tr_span(p, (size_t)(q - p)));
        if (!spill_run(s, p, (size_t)(valid - p)))
            return TR_JSON_ERROR;
        p = valid;
        if (p == s->end)
            return string_cut(s, p, part);
        if (p == q && *p == '"') {
            s->text = tr_buf_span(s->spill);
            s->text_is_view = false;
            return tr_scan_string_done(s, p + 1, part);
        }
        if (p == q && *p != '\\')
            return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX,
                                "a control character in a string must be escaped");
        char c = 0;
        if (p == q && s->end - p >= 2)
            c = short_escape(p[1]);
        if (tr_likely(c)) {
            if (!spill_char(s, c))
                return TR_JSON_ERROR;
            p += 2;
        } else if (!string_unit(s, &p, part, &ret)) {
            return ret;
        }
    }
}

enum tr_json_tok tr_scan_string(struct tr_json_scan *s, const char *p, enum tr_scan_part part)
{
    uint32_t non_ascii;
    const char *q = tr_strscan_find(p, s->end, &non_ascii);
    struct tr_span text = tr_span(p, (size_t)(q - p));
    if (tr_likely(q < s->end && *q == '"' && (!non_ascii || tr_utf8_valid(text)))) {
        s->text = text;
        s->text_is_view = true;
        return tr_scan_string_done(s, q + 1, part);
    }
    tr_buf_clear(s->spill);
    return string_slow(s, p, part);
}

/* -- numbers and literals ----------------------------------------------------------------- */

enum number_verdict { NUM_OK, NUM_BAD, NUM_SHORT };

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && tr_is_digit(*p))
        p++;
    return p;
}

/* RFC 8259 §6 from *p on. Moves *p to the end of the number, to the offending byte, or (SHORT: a
 * digit is missing) to end. */
static inline enum number_verdict number_check(const char **p, const char *end)
{
    const char *q = *p;
    if (*q == '-')
        q++;
    const char *digits = q;
    q = skip_digits(q, end);
    if (q > digits + 1 && *digits == '0') {
        *p = digits + 1;
        return NUM_BAD;
    }
    if (q == digits)
        goto no_digit;
    if (q < end && *q == '.') {
        digits = ++q;
        q = skip_digits(q, end);
        if (q == digits)
            goto no_digit;
    }
    if (q < end && (*q | 0x20) == 'e') {
        q++;
        if (q < end && (*q == '+' || *q == '-'))
            q++;
        digits = q;
        q = skip_digits(q, end);
        if (q == digits)
            goto no_digit;
    }
    *p = q;
    return NUM_OK;
no_digit:
    *p = q;
    return q == end ? NUM_SHORT : NUM_BAD;
}

static const char bad_number[] = "the number is malformed";

enum tr_json_tok tr_scan_number(struct tr_json_scan *s, const char *p)
{
    const char *q = p;
    enum number_verdict v = number_check(&q, s->end);
    if (tr_unlikely(v == NUM_BAD || (q < s->end && tr_scan_is_number_char(*q))))
        return tr_scan_fail(s, q, TR_ERR_JSON_SYNTAX, bad_number);
    if (tr_unlikely(q == s->end && (!s->last || v == NUM_SHORT))) {
        tr_buf_clear(s->spill);
        if (!spill_append(s, p, (size_t)(s->end - p)))
            return TR_JSON_ERROR;
        s->partial = PART_NUMBER;
        s->odd = 1;
        return tr_scan_chunk_end(s);
    }
    s->text = tr_span(p, (size_t)(q - p));
    s->text_is_view = true;
    return tr_scan_value_done(s, q, TR_JSON_NUMBER);
}

/* The number goes on at s->p: what belongs to it is collected first, then judged as a whole. */
static enum tr_json_tok number_resume(struct tr_json_scan *s)
{
    const char *p = s->p;
    while (p < s->end && tr_scan_is_number_char(*p))
        p++;
    if (!spill_append(s, s->p, (size_t)(p - s->p)))
        return TR_JSON_ERROR;
    if (p == s->end && !s->last)
        return tr_scan_chunk_end(s);
    struct tr_span text = tr_buf_span(s->spill);
    const char *q = text.ptr, *end = text.ptr + text.len;
    enum number_verdict v = number_check(&q, end);
    if (v == NUM_SHORT && p == s->end)
        return tr_scan_chunk_end(s);
    if (v != NUM_OK || q < end)
        return tr_scan_fail_at(s, s->tok_offset + (size_t)(q - text.ptr), TR_ERR_JSON_SYNTAX,
                               bad_number);
    s->partial = PART_NONE;
    s->text = text;
    s->text_is_view = false;
    return tr_scan_value_done(s, p, TR_JSON_NUMBER);
}

static const struct {
    char text[6];
    uint8_t len;
} literals[] = {
    [TR_JSON_TRUE] = {"true", 4}, [TR_JSON_FALSE] = {"false", 5}, [TR_JSON_NULL] = {"null", 4}};

enum tr_json_tok tr_scan_literal(struct tr_json_scan *s, const char *p, enum tr_json_tok tok,
                                 size_t seen)
{
    for (; seen < literals[tok].len; seen++, p++) {
        if (p == s->end) {
            s->partial = PART_LITERAL;
            s->odd = 1;
            s->partial_arg = (uint8_t)seen;
            s->tok = (uint8_t)tok;
            return tr_scan_chunk_end(s);
        }
        if (*p != literals[tok].text[seen])
            return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX, "expected true, false or null");
    }
    s->partial = PART_NONE;
    return tr_scan_value_done(s, p, tok);
}

enum tr_json_tok tr_scan_resume(struct tr_json_scan *s)
{
    enum tr_scan_part part = (enum tr_scan_part)s->partial;
    if (part == PART_NUMBER)
        return number_resume(s);
    if (part == PART_LITERAL)
        return tr_scan_literal(s, s->p, (enum tr_json_tok)s->tok, s->partial_arg);
    while (s->carry_len) {
        if (s->p == s->end)
            return tr_scan_chunk_end(s);
        size_t start = tr_scan_offset(s, s->p) - s->carry_len;
        s->carry[s->carry_len++] = *s->p++;
        struct unit u;
        unit_read(&u, s->carry, s->carry_len);
        if (u.err)
            return tr_scan_fail_at(s, start + u.err_at, u.err, u.text);
        if (u.used == 0)
            continue;
        s->carry_len = 0;
        if (!spill_append(s, u.out, u.len))
            return TR_JSON_ERROR;
    }
    s->partial = PART_NONE;
    return string_slow(s, s->p, part);
}
