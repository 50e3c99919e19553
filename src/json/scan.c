#include "json/scan.h"

#include "base/assert.h"
#include "base/utf8.h"
#include "json/strscan.h"

/* What may come next. A comma or colon that follows a token at once is taken together with the
 * token: that is not seen from outside, since any byte but white space after it is judged in the
 * state that it leads to. */
enum scan_state {
    S_VALUE,     /* a value */
    S_KEY,       /* a name */
    S_ARR_FIRST, /* a value or ] */
    S_OBJ_FIRST, /* a name or } */
    S_COLON,
    S_AFTER, /* a comma or the end of the container */
    S_DONE,  /* SINGLE: white space */
    S_MULTI, /* MULTI: a value or the end of input */
    S_FAILED,
};

enum scan_partial { PART_NONE, PART_KEY, PART_STRING, PART_NUMBER, PART_LITERAL };

static const struct {
    char text[6];
    uint8_t len;
} literals[] = {
    [TR_JSON_TRUE] = {"true", 4}, [TR_JSON_FALSE] = {"false", 5}, [TR_JSON_NULL] = {"null", 4}};

#define NO_COMMA 0x100 /* equals no byte */

/* Sets what follows from the container that is now the innermost. */
static inline void enter(struct tr_json_scan *s, bool obj)
{
    s->in_obj = obj;
    s->after_comma = obj ? S_KEY : S_VALUE;
    s->after_value = s->depth ? S_AFTER : s->top_state;
    s->comma = s->depth ? ',' : NO_COMMA;
}

void tr_json_scan_init(struct tr_json_scan *scan, enum tr_json_scan_mode mode, uint32_t max_depth,
                       struct tr_buf *spill, size_t spill_max)
{
    scan->text = tr_span("", 0);
    scan->text_is_view = false;
    scan->tok_line = scan->tok_column = 1;
    scan->tok_offset = 0;
    scan->depth = 0;
    tr_status_clear(&scan->st);
    scan->p = scan->end = "";
    scan->origin = (uintptr_t)scan->end;
    scan->line_offset = 0;
    scan->max_depth = max_depth < TR_JSON_DEPTH_MAX ? max_depth : TR_JSON_DEPTH_MAX;
    scan->spill = spill;
    scan->spill_max = spill_max;
    scan->state = mode == TR_JSON_MULTI ? S_MULTI : S_VALUE;
    scan->top_state = mode == TR_JSON_MULTI ? S_MULTI : S_DONE;
    scan->last = scan->tok = scan->odd = scan->unread = 0;
    scan->partial = scan->partial_arg = scan->carry_len = 0;
    enter(scan, false);
    tr_buf_clear(spill);
}

void tr_json_scan_feed(struct tr_json_scan *scan, struct tr_span chunk, bool last)
{
    TR_DCHECK(scan->p == scan->end || scan->state == S_FAILED);
    size_t before = (uintptr_t)scan->end - scan->origin;
    scan->p = chunk.len ? chunk.ptr : "";
    scan->origin = (uintptr_t)scan->p - before;
    scan->end = scan->p + chunk.len;
    scan->last = last;
}

void tr_json_scan_unread(struct tr_json_scan *scan)
{
    scan->unread = scan->odd = 1;
}

static size_t offset_of(const struct tr_json_scan *s, const char *p)
{
    return (uintptr_t)p - s->origin;
}

__attribute__((cold, noinline)) static enum tr_json_tok fail_at(struct tr_json_scan *s,
                                                                size_t offset, enum tr_err err,
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

static enum tr_json_tok fail(struct tr_json_scan *s, const char *p, enum tr_err err,
                             const char *text)
{
    return fail_at(s, offset_of(s, p), err, text);
}

/* The chunk is used up. Inside of a token (partial is set) or between two. */
__attribute__((noinline)) static enum tr_json_tok chunk_end(struct tr_json_scan *s)
{
    s->p = s->end;
    if (!s->last)
        return TR_JSON_MORE;
    if (s->partial == PART_NONE && (s->state == S_DONE || s->state == S_MULTI))
        return TR_JSON_END;
    return fail(s, s->end, TR_ERR_JSON_TRUNCATED, "the JSON ends too early");
}

static inline enum tr_json_tok value_done(struct tr_json_scan *s, const char *p,
                                          enum tr_json_tok tok)
{
    uint8_t state = s->after_value;
    if (tr_likely(p < s->end) && (unsigned char)*p == s->comma) {
        p++;
        state = s->after_comma;
    }
    s->state = state;
    s->p = p;
    s->tok = (uint8_t)tok;
    return tok;
}

static inline enum tr_json_tok key_done(struct tr_json_scan *s, const char *p)
{
    if (tr_likely(p < s->end && *p == ':')) {
        p++;
        s->state = S_VALUE;
    } else {
        s->state = S_COLON;
    }
    s->p = p;
    s->tok = TR_JSON_KEY;
    return TR_JSON_KEY;
}

static inline enum tr_json_tok string_done(struct tr_json_scan *s, const char *p,
                                           enum scan_partial part)
{
    return part == PART_KEY ? key_done(s, p) : value_done(s, p, TR_JSON_STRING);
}

static bool spill_append(struct tr_json_scan *s, const char *p, size_t n)
{
    enum tr_err err = TR_ERR_BODY_TOO_LARGE;
    if (n <= s->spill_max && s->spill->len <= s->spill_max - n)
        err = tr_buf_append(s->spill, tr_span(p, n));
    if (!err)
        return true;
    (void)fail_at(s, s->tok_offset, err,
                  err == TR_ERR_NOMEM ? "out of memory" : "a string or number is too long");
    return false;
}

/* -- strings
 * ------------------------------------------------------------------------------------------- */

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
    unsigned char c = (unsigned char)p[1];
    if (c == 'u') {
        unit_u_escape(u, p, n);
        return;
    }
    if (c >= sizeof unescape || !unescape[c]) {
        unit_fail(u, 1, TR_ERR_JSON_SYNTAX, "no such escape in a string");
        return;
    }
    u->out[0] = unescape[c];
    u->len = 1;
    u->used = 2;
}

/* Ends the chunk inside of a string whose bytes from p on are no whole unit. */
static enum tr_json_tok string_cut(struct tr_json_scan *s, const char *p, enum scan_partial part)
{
    s->carry_len = (uint8_t)(s->end - p);
    memcpy(s->carry, p, s->carry_len);
    s->partial = (uint8_t)part;
    s->odd = 1;
    return chunk_end(s);
}

/* The string goes on at p; its text so far is in the spill buffer, or (view) there is none yet. */
__attribute__((noinline)) static enum tr_json_tok string_slow(struct tr_json_scan *s, const char *p,
                                                              enum scan_partial part, bool view)
{
    if (view)
        tr_buf_clear(s->spill);
    for (;;) {
        uint32_t non_ascii;
        const char *q = tr_strscan_find(p, s->end, &non_ascii), *valid = q;
        if (non_ascii)
            valid = p + tr_utf8_valid_prefix(tr_span(p, (size_t)(q - p)));
        if (view && valid == q && q < s->end && *q == '"') {
            s->text = tr_span(p, (size_t)(q - p));
            s->text_is_view = true;
            return string_done(s, q + 1, part);
        }
        view = false;
        if (!spill_append(s, p, (size_t)(valid - p)))
            return TR_JSON_ERROR;
        if (valid == s->end)
            return string_cut(s, valid, part);
        if (valid == q && *q == '"') {
            s->text = tr_buf_span(s->spill);
            s->text_is_view = false;
            return string_done(s, q + 1, part);
        }
        if (valid == q && *q != '\\')
            return fail(s, q, TR_ERR_JSON_SYNTAX,
                        "a control character in a string must be escaped");
        struct unit u;
        unit_read(&u, valid, (size_t)(s->end - valid));
        if (u.err)
            return fail(s, valid + u.err_at, u.err, u.text);
        if (u.used == 0)
            return string_cut(s, valid, part);
        if (!spill_append(s, u.out, u.len))
            return TR_JSON_ERROR;
        p = valid + u.used;
    }
}

/* A string that is long, or near the end of the chunk, or has more than ASCII in it. */
__attribute__((noinline)) static enum tr_json_tok string_long(struct tr_json_scan *s, const char *p,
                                                              enum scan_partial part)
{
    uint32_t non_ascii;
    const char *q = tr_strscan_find(p, s->end, &non_ascii);
    struct tr_span text = tr_span(p, (size_t)(q - p));
    if (tr_likely(q < s->end && *q == '"' && (!non_ascii || tr_utf8_valid(text)))) {
        s->text = text;
        s->text_is_view = true;
        return string_done(s, q + 1, part);
    }
    return string_slow(s, p, part, true);
}

/* p: after the quote. Names end within 16 bytes as a rule; of values 32 are looked at without a
 * branch between. What is rare leaves by tail calls, so that the common way saves no registers. */
static inline enum tr_json_tok string_token(struct tr_json_scan *s, const char *p,
                                            enum scan_partial part)
{
#if defined(TR_SIMD)
    if (tr_likely(s->end - p >= 32)) {
        __m128i v = tr_simd_load(p);
        uint32_t special = tr_strscan_special16(v);
        uint32_t high = (uint32_t)_mm_movemask_epi8(v);
        if (part == PART_STRING) {
            __m128i w = tr_simd_load(p + 16);
            special |= tr_strscan_special16(w) << 16;
            high |= (uint32_t)_mm_movemask_epi8(w) << 16;
        }
        /* special ^ (special - 1): up to and with the lowest bit */
        if (tr_likely(special && !(high & (special ^ (special - 1))))) {
            size_t n = (size_t)__builtin_ctz(special);
            if (tr_likely(p[n] == '"')) {
                s->text = tr_span(p, n);
                s->text_is_view = true;
                return string_done(s, p + n + 1, part);
            }
        }
    }
#endif
    return string_long(s, p, part);
}

/* -- numbers and literals
 * -------------------------------------------------------------------------------- */

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

/* What may stand in a number at all. */
static const bool number_char[256] = {
    ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true,
    ['5'] = true, ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true,
    ['.'] = true, ['-'] = true, ['+'] = true, ['e'] = true, ['E'] = true};

static inline bool is_number_char(char c)
{
    return number_char[(unsigned char)c];
}

static const char bad_number[] = "the number is malformed";

__attribute__((noinline)) static enum tr_json_tok number_slow(struct tr_json_scan *s, const char *p)
{
    const char *q = p;
    enum number_verdict v = number_check(&q, s->end);
    if (tr_unlikely(v == NUM_BAD || (q < s->end && is_number_char(*q))))
        return fail(s, q, TR_ERR_JSON_SYNTAX, bad_number);
    if (tr_unlikely(q == s->end && (!s->last || v == NUM_SHORT))) {
        tr_buf_clear(s->spill);
        if (!spill_append(s, p, (size_t)(s->end - p)))
            return TR_JSON_ERROR;
        s->partial = PART_NUMBER;
        s->odd = 1;
        return chunk_end(s);
    }
    s->text = tr_span(p, (size_t)(q - p));
    s->text_is_view = true;
    return value_done(s, q, TR_JSON_NUMBER);
}

static inline enum tr_json_tok number_token(struct tr_json_scan *s, const char *p)
{
#if defined(TR_SIMD)
    /* Without exponent and within 32 bytes: the runs of digits are runs of bits. */
    if (tr_likely(s->end - p >= 40)) {
        const __m128i zero = _mm_set1_epi8('0'), nine = _mm_set1_epi8(9);
        __m128i lo = _mm_sub_epi8(tr_simd_load(p), zero),
                hi = _mm_sub_epi8(tr_simd_load(p + 16), zero);
        uint64_t digits = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(lo, nine), lo)) |
                          (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(hi, nine), hi))
                              << 16;
        unsigned neg = *p == '-';
        unsigned n = (unsigned)__builtin_ctzll(~(digits >> neg));
        const char *q = p + neg + n;
        bool ok = n == 1 || (n > 1 && p[neg] != '0');
        if (*q == '.') {
            unsigned frac = (unsigned)__builtin_ctzll(~(digits >> (neg + n + 1)));
            ok = ok && frac;
            q += 1 + frac;
        }
        if (tr_likely(ok && !is_number_char(*q))) {
            s->text = tr_span(p, (size_t)(q - p));
            s->text_is_view = true;
            return value_done(s, q, TR_JSON_NUMBER);
        }
    }
#endif
    return number_slow(s, p);
}

/* The number goes on at s->p: what belongs to it is collected first, then judged as a whole. */
static enum tr_json_tok number_resume(struct tr_json_scan *s)
{
    const char *p = s->p;
    while (p < s->end && is_number_char(*p))
        p++;
    if (!spill_append(s, s->p, (size_t)(p - s->p)))
        return TR_JSON_ERROR;
    if (p == s->end && !s->last)
        return chunk_end(s);
    struct tr_span text = tr_buf_span(s->spill);
    const char *q = text.ptr, *end = text.ptr + text.len;
    enum number_verdict v = number_check(&q, end);
    if (v == NUM_SHORT && p == s->end)
        return chunk_end(s);
    if (v != NUM_OK || q < end)
        return fail_at(s, s->tok_offset + (size_t)(q - text.ptr), TR_ERR_JSON_SYNTAX, bad_number);
    s->partial = PART_NONE;
    s->text = text;
    s->text_is_view = false;
    return value_done(s, p, TR_JSON_NUMBER);
}

/* Compares from character `seen` on. */
static enum tr_json_tok literal_slow(struct tr_json_scan *s, const char *p, enum tr_json_tok tok,
                                     size_t seen)
{
    for (; seen < literals[tok].len; seen++, p++) {
        if (p == s->end) {
            s->partial = PART_LITERAL;
            s->odd = 1;
            s->partial_arg = (uint8_t)seen;
            s->tok = (uint8_t)tok;
            return chunk_end(s);
        }
        if (*p != literals[tok].text[seen])
            return fail(s, p, TR_ERR_JSON_SYNTAX, "expected true, false or null");
    }
    s->partial = PART_NONE;
    return value_done(s, p, tok);
}

static inline enum tr_json_tok literal_token(struct tr_json_scan *s, const char *p,
                                             enum tr_json_tok tok)
{
    size_t len = literals[tok].len;
    /* all but the first character, which is known, in one comparison of four bytes at most */
    if (tr_likely((size_t)(s->end - p) >= len) &&
        memcmp(p + len - 4, literals[tok].text + len - 4, 4) == 0)
        return value_done(s, p + len, tok);
    return literal_slow(s, p, tok, 0);
}

/* The token that the last chunk left unfinished. */
__attribute__((noinline)) static enum tr_json_tok resume(struct tr_json_scan *s)
{
    enum scan_partial part = (enum scan_partial)s->partial;
    if (part == PART_NUMBER)
        return number_resume(s);
    if (part == PART_LITERAL)
        return literal_slow(s, s->p, (enum tr_json_tok)s->tok, s->partial_arg);
    while (s->carry_len) {
        if (s->p == s->end)
            return chunk_end(s);
        size_t start = offset_of(s, s->p) - s->carry_len;
        s->carry[s->carry_len++] = *s->p++;
        struct unit u;
        unit_read(&u, s->carry, s->carry_len);
        if (u.err)
            return fail_at(s, start + u.err_at, u.err, u.text);
        if (u.used == 0)
            continue;
        s->carry_len = 0;
        if (!spill_append(s, u.out, u.len))
            return TR_JSON_ERROR;
    }
    s->partial = PART_NONE;
    return string_slow(s, s->p, part, false);
}

/* -- structure
 * ------------------------------------------------------------------------------------------- */

__attribute__((noinline)) static const char *skip_space_slow(struct tr_json_scan *s, const char *p)
{
    const char *end = s->end;
    while (p < end) {
        if (*p == '\n') {
            s->tok_line++;
            s->line_offset = offset_of(s, p) + 1;
        } else if (*p != ' ' && *p != '\t' && *p != '\r') {
            break;
        }
        p++;
#if defined(TR_SIMD)
        while (end - p >= 16) { /* the indent of a line */
            __m128i spaces = _mm_cmpeq_epi8(tr_simd_load(p), _mm_set1_epi8(' '));
            unsigned n = (unsigned)__builtin_ctz(~(unsigned)_mm_movemask_epi8(spaces));
            p += n;
            if (n < 16)
                break;
        }
#endif
    }
    return p;
}

/* Nothing, and one space, are the common cases. */
static inline const char *skip_space(struct tr_json_scan *s, const char *p)
{
    if (tr_likely(s->end - p >= 2)) {
        p += *p == ' ';
        if (tr_likely((unsigned char)*p > ' '))
            return p;
    }
    return skip_space_slow(s, p);
}

static inline void token_starts(struct tr_json_scan *s, const char *p)
{
    size_t offset = offset_of(s, p);
    s->tok_offset = offset;
    s->tok_column = (uint32_t)(offset - s->line_offset + 1);
}

static enum tr_json_tok open_container(struct tr_json_scan *s, const char *p, bool obj)
{
    if (tr_unlikely(s->depth >= s->max_depth))
        return fail(s, p, TR_ERR_JSON_DEPTH, "the JSON is nested too deeply");
    uint64_t bit = (uint64_t)1 << (s->depth % 64);
    uint64_t *word = &s->kinds[s->depth / 64];
    *word = obj ? *word | bit : *word & ~bit;
    s->depth++;
    enter(s, obj);
    s->state = obj ? S_OBJ_FIRST : S_ARR_FIRST;
    s->p = p + 1;
    s->tok = obj ? TR_JSON_OBJ_BEGIN : TR_JSON_ARR_BEGIN;
    return (enum tr_json_tok)s->tok;
}

static enum tr_json_tok close_container(struct tr_json_scan *s, const char *p)
{
    enum tr_json_tok tok = s->in_obj ? TR_JSON_OBJ_END : TR_JSON_ARR_END;
    uint32_t d = --s->depth;
    enter(s, d && (s->kinds[(d - 1) / 64] >> ((d - 1) % 64) & 1));
    return value_done(s, p + 1, tok);
}

/* Any value but a string. */
static enum tr_json_tok other_value(struct tr_json_scan *s, const char *p)
{
    switch (*p) {
    case '{':
        return open_container(s, p, true);
    case '[':
        return open_container(s, p, false);
    case 't':
        return literal_token(s, p, TR_JSON_TRUE);
    case 'f':
        return literal_token(s, p, TR_JSON_FALSE);
    case 'n':
        return literal_token(s, p, TR_JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return number_token(s, p);
    default:
        return fail(s, p, TR_ERR_JSON_SYNTAX, "expected a value");
    }
}

static inline enum tr_json_tok value_token(struct tr_json_scan *s, const char *p)
{
    if (tr_likely(*p == '"'))
        return string_token(s, p + 1, PART_STRING);
    return other_value(s, p);
}

static enum tr_json_tok key_or_end(struct tr_json_scan *s, const char *p)
{
    if (*p == '}' && s->state == S_OBJ_FIRST)
        return close_container(s, p);
    return fail(s, p, TR_ERR_JSON_SYNTAX, "expected a name in quotes");
}

__attribute__((noinline)) static enum tr_json_tok next_odd(struct tr_json_scan *s)
{
    if (s->state == S_FAILED)
        return TR_JSON_ERROR;
    if (s->unread) {
        s->unread = 0;
        s->odd = s->partial != PART_NONE;
        return (enum tr_json_tok)s->tok;
    }
    enum tr_json_tok tok = resume(s);
    s->odd = s->partial != PART_NONE || s->state == S_FAILED;
    return tok;
}

enum tr_json_tok tr_json_scan_next(struct tr_json_scan *s)
{
    if (tr_unlikely(s->odd))
        return next_odd(s);
    const char *p = s->p;
    for (;;) {
        p = skip_space(s, p);
        if (tr_unlikely(p == s->end))
            return chunk_end(s);
        switch ((enum scan_state)s->state) {
        case S_COLON:
            if (*p != ':')
                return fail(s, p, TR_ERR_JSON_SYNTAX, "expected a colon");
            s->state = S_VALUE;
            p++;
            continue;
        case S_AFTER:
            if (*p == ',') {
                s->state = s->after_comma;
                p++;
                continue;
            }
            token_starts(s, p);
            if (*p != (s->in_obj ? '}' : ']'))
                return fail(s, p, TR_ERR_JSON_SYNTAX,
                            s->in_obj ? "expected a comma or }" : "expected a comma or ]");
            return close_container(s, p);
        case S_KEY:
        case S_OBJ_FIRST:
            token_starts(s, p);
            return tr_likely(*p == '"') ? string_token(s, p + 1, PART_KEY) : key_or_end(s, p);
        case S_ARR_FIRST:
        case S_VALUE:
        case S_MULTI:
            token_starts(s, p);
            if (tr_unlikely(*p == ']') && s->state == S_ARR_FIRST)
                return close_container(s, p);
            return value_token(s, p);
        case S_DONE:
            return fail(s, p, TR_ERR_JSON_SYNTAX, "nothing may follow the value");
        case S_FAILED:
            return TR_JSON_ERROR;
        }
    }
}
