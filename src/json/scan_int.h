/* Private to json: what the scanner's common path (scan.c) and its rare one (scan_slow.c) share. */
#ifndef TR_JSON_SCAN_INT_H
#define TR_JSON_SCAN_INT_H

#include "base/assert.h"
#include "json/scan.h"
#include "json/strscan.h"

/* What may come next. A comma or colon that follows a token at once is taken together with the
 * token: that is not seen from outside, since any byte but white space after it is judged in the
 * state that it leads to. */
enum tr_scan_state {
    S_VALUE,     /* a value */
    S_KEY,       /* a name */
    S_ARR_FIRST, /* a value or ] */
    S_OBJ_FIRST, /* a name or } */
    S_MULTI,     /* MULTI: a value or the end of input */
    S_DONE,      /* SINGLE: white space */
    S_COLON,     /* this and the next: what is awaited may be a comma or colon */
    S_AFTER,     /* a comma or the end of the container */
    S_FAILED,
};

enum tr_scan_part { PART_NONE, PART_KEY, PART_STRING, PART_NUMBER, PART_LITERAL };

static inline size_t tr_scan_offset(const struct tr_json_scan *s, const char *p)
{
    return (uintptr_t)p - s->origin;
}

/* Sets the error, which stays; text says what is wrong at that offset of the input, or at p. */
enum tr_json_tok tr_scan_fail_at(struct tr_json_scan *s, size_t offset, enum tr_err err,
                                 const char *text);
enum tr_json_tok tr_scan_fail(struct tr_json_scan *s, const char *p, enum tr_err err,
                              const char *text);

/* The chunk is used up, inside of a token (partial is set) or between two. */
enum tr_json_tok tr_scan_chunk_end(struct tr_json_scan *s);

/* A string whose first byte behind the quote is at p, of any length and kind. */
enum tr_json_tok tr_scan_string(struct tr_json_scan *s, const char *p, enum tr_scan_part part);

/* A number at p, of any length and kind. */
enum tr_json_tok tr_scan_number(struct tr_json_scan *s, const char *p);

/* The literal of tok, of which `seen` characters were right and the others are compared from p on.
 */
enum tr_json_tok tr_scan_literal(struct tr_json_scan *s, const char *p, enum tr_json_tok tok,
                                 size_t seen);

/* The token that the last chunk left unfinished. */
enum tr_json_tok tr_scan_resume(struct tr_json_scan *s);

/* What may stand in a number at all. */
static const bool tr_scan_number_chars[256] = {
    ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true,
    ['5'] = true, ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true,
    ['.'] = true, ['-'] = true, ['+'] = true, ['e'] = true, ['E'] = true};

static inline bool tr_scan_is_number_char(char c)
{
    return tr_scan_number_chars[(unsigned char)c];
}

/* A token ends before p: takes the comma or colon that follows at once. */
static inline enum tr_json_tok tr_scan_value_done(struct tr_json_scan *s, const char *p,
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

static inline enum tr_json_tok tr_scan_key_done(struct tr_json_scan *s, const char *p)
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

static inline enum tr_json_tok tr_scan_string_done(struct tr_json_scan *s, const char *p,
                                                   enum tr_scan_part part)
{
    return part == PART_KEY ? tr_scan_key_done(s, p) : tr_scan_value_done(s, p, TR_JSON_STRING);
}

#endif
