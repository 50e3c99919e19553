#include "json/scan_int.h"

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
    scan->window = (uintptr_t)scan->p - 64; /* none */
    scan->end = scan->p + chunk.len;
    scan->last = last;
    scan->odd = 1; /* the comma or colon that the cut kept from its token may come first */
}

void tr_json_scan_unread(struct tr_json_scan *scan)
{
    scan->unread = scan->odd = 1;
}

/* -- strings, numbers, literals ----------------------------------------------------------- */

#if defined(TR_SIMD)
/* p: after the quote; off: its place in the window, which has a special byte there or behind. */
static inline enum tr_json_tok string_in_window(struct tr_json_scan *s, const char *p,
                                                enum tr_scan_part part, size_t off)
{
    uint64_t special = s->win_special >> off;
    size_t n = (size_t)__builtin_ctzll(special);
    /* special ^ (special - 1): up to and with the lowest bit */
    if (tr_unlikely((s->win_high >> off & (special ^ (special - 1))) || p[n] != '"'))
        return tr_scan_string(s, p, part);
    s->text = tr_span(p, n);
    s->text_is_view = true;
    return tr_scan_string_done(s, p + n + 1, part);
}

__attribute__((noinline)) static enum tr_json_tok string_new_window(struct tr_json_scan *s,
                                                                    const char *p,
                                                                    enum tr_scan_part part)
{
    s->window = (uintptr_t)p;
    tr_strscan_window(p, (size_t)(s->end - p), &s->win_special, &s->win_high);
    if (s->win_special == 0)
        return tr_scan_string(s, p, part);
    return string_in_window(s, p, part, 0);
}
#endif

/* p: after the quote. What is in the bytes ahead was found for 64 of them at once, so that the end
 * of a string is a matter of shifts and not of the time that a load and a comparison take. What is
 * rare leaves by tail calls, so that the common way saves no registers. */
static inline enum tr_json_tok string_token(struct tr_json_scan *s, const char *p,
                                            enum tr_scan_part part)
{
#if defined(TR_SIMD)
    size_t off = (uintptr_t)p - s->window;
    if (tr_likely(off < 64 && s->win_special >> off))
        return string_in_window(s, p, part, off);
    return string_new_window(s, p, part);
#else
    return tr_scan_string(s, p, part);
#endif
}

#if defined(TR_SIMD)
/* Bit i: p[i] is a digit. */
static inline uint64_t digits16(const char *p)
{
    __m128i v = _mm_sub_epi8(tr_simd_load(p), _mm_set1_epi8('0'));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(9)), v));
}
#endif

static inline enum tr_json_tok number_token(struct tr_json_scan *s, const char *p)
{
#if defined(TR_SIMD)
    /* Without exponent and within 32 bytes: the runs of digits are runs of bits. */
    if (tr_likely(s->end - p >= 40)) {
        uint64_t digits = digits16(p) | digits16(p + 16) << 16;
        unsigned neg = *p == '-';
        unsigned n = (unsigned)__builtin_ctzll(~(digits >> neg));
        const char *q = p + neg + n;
        bool ok = n == 1 || (n > 1 && p[neg] != '0');
        if (*q == '.') {
            unsigned frac = (unsigned)__builtin_ctzll(~(digits >> (neg + n + 1)));
            ok = ok && frac;
            q += 1 + frac;
        }
        if (tr_likely(ok && !tr_scan_is_number_char(*q))) {
            s->text = tr_span(p, (size_t)(q - p));
            s->text_is_view = true;
            return tr_scan_value_done(s, q, TR_JSON_NUMBER);
        }
    }
#endif
    return tr_scan_number(s, p);
}

/* Its first character is known: four bytes are compared, for "false" the last four. */
static inline enum tr_json_tok literal_token(struct tr_json_scan *s, const char *p,
                                             enum tr_json_tok tok, const char *text, size_t len)
{
    if (tr_likely((size_t)(s->end - p) >= len && memcmp(p + len - 4, text + len - 4, 4) == 0))
        return tr_scan_value_done(s, p + len, tok);
    return tr_scan_literal(s, p, tok, 0);
}

/* -- structure ---------------------------------------------------------------------------- */

static const char *skip_space(struct tr_json_scan *s, const char *p)
{
    const char *end = s->end;
    while (p < end && (unsigned char)*p <= ' ') {
        if (*p != '\n') {
            if (*p != ' ' && *p != '\t' && *p != '\r')
                break;
            p++;
            continue;
        }
        p++;
        s->tok_line++;
        s->line_offset = tr_scan_offset(s, p);
#if defined(TR_SIMD)
        while (end - p >= 16) { /* the indent */
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

static inline void token_starts(struct tr_json_scan *s, const char *p)
{
    size_t offset = tr_scan_offset(s, p);
    s->tok_offset = offset;
    s->tok_column = (uint32_t)(offset - s->line_offset + 1);
}

static enum tr_json_tok open_container(struct tr_json_scan *s, const char *p, bool obj)
{
    if (tr_unlikely(s->depth >= s->max_depth))
        return tr_scan_fail(s, p, TR_ERR_JSON_DEPTH, "the JSON is nested too deeply");
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
    return tr_scan_value_done(s, p + 1, tok);
}

/* Any value but a string, or the end of an empty array. */
static enum tr_json_tok other_value(struct tr_json_scan *s, const char *p)
{
    switch (*p) {
    case '{':
        return open_container(s, p, true);
    case '[':
        return open_container(s, p, false);
    case ']':
        if (s->state != S_ARR_FIRST)
            return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX, "expected a value");
        return close_container(s, p);
    case 't':
        return literal_token(s, p, TR_JSON_TRUE, "true", 4);
    case 'f':
        return literal_token(s, p, TR_JSON_FALSE, "false", 5);
    case 'n':
        return literal_token(s, p, TR_JSON_NULL, "null", 4);
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
        return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX, "expected a value");
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
    return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX, "expected a name in quotes");
}

/* The byte at p, which is not white space, nor a comma or colon that belongs there. */
static inline enum tr_json_tok dispatch(struct tr_json_scan *s, const char *p)
{
    switch ((enum tr_scan_state)s->state) {
    case S_ARR_FIRST:
    case S_VALUE:
    case S_MULTI:
        token_starts(s, p);
        return value_token(s, p);
    case S_KEY:
    case S_OBJ_FIRST:
        token_starts(s, p);
        return tr_likely(*p == '"') ? string_token(s, p + 1, PART_KEY) : key_or_end(s, p);
    case S_COLON:
        return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX, "expected a colon");
    case S_AFTER:
        token_starts(s, p);
        if (*p != (s->in_obj ? '}' : ']'))
            return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX,
                                s->in_obj ? "expected a comma or }" : "expected a comma or ]");
        return close_container(s, p);
    case S_DONE:
        return tr_scan_fail(s, p, TR_ERR_JSON_SYNTAX, "nothing may follow the value");
    case S_FAILED: /* is odd and never gets here */
    default:
        return TR_JSON_ERROR;
    }
}

/* Where a chunk starts, and where white space or the end of the chunk is at p. */
__attribute__((noinline)) static enum tr_json_tok next_spaced(struct tr_json_scan *s, const char *p)
{
    for (;;) {
        p = skip_space(s, p);
        if (tr_unlikely(p == s->end))
            return tr_scan_chunk_end(s);
        /* a comma or colon behind white space is no token of its own */
        if (s->state == S_AFTER && *p == ',')
            s->state = s->after_comma;
        else if (s->state == S_COLON && *p == ':')
            s->state = S_VALUE;
        else
            return dispatch(s, p);
        p++;
    }
}

__attribute__((noinline)) static enum tr_json_tok next_odd(struct tr_json_scan *s)
{
    if (s->state == S_FAILED)
        return TR_JSON_ERROR;
    if (s->unread) {
        s->unread = 0;
        s->odd = 0;
        return (enum tr_json_tok)s->tok;
    }
    enum tr_json_tok tok = s->partial != PART_NONE ? tr_scan_resume(s) : next_spaced(s, s->p);
    s->odd = s->partial != PART_NONE || s->state == S_FAILED;
    return tok;
}

enum tr_json_tok tr_json_scan_next(struct tr_json_scan *scan)
{
    if (tr_unlikely(scan->odd))
        return next_odd(scan);
    const char *p = scan->p;
    if (tr_likely(scan->end - p >= 2)) {
        if (tr_likely((unsigned char)p[0] > ' '))
            return dispatch(scan, p);
        if (p[0] == ' ' && (unsigned char)p[1] > ' ' && scan->state < S_COLON)
            return dispatch(scan, p + 1);
    }
    return next_spaced(scan, p);
}
