/* A pull tokenizer of JSON (RFC 8259) that takes its input in chunks cut anywhere.
 *
 * Vocabulary: a *chunk* is a run of input given by tr_json_scan_feed; a *token* is what
 * tr_json_scan_next returns. The text of a token is a view into the chunk where possible, else into
 * the scanner's spill buffer (escapes decoded, or the token lay across chunks); it is valid until
 * the next call on the scanner.
 *
 * Contract
 *  1. Strict: UTF-8 validated, no lone surrogates in \u escapes, no control characters in strings,
 * no leading zeros, no trailing commas, no comments, no BOM, nothing but white space after the
 * value.
 *  2. The order of tokens is grammatical: KEY only in objects and always followed by a value; the
 * caller keeps no grammar of its own. Commas and colons are not tokens.
 *  3. Chunk invariance: the tokens, their texts, positions and the error do not depend on the cuts.
 *  4. No recursion; depth above max_depth (at most TR_JSON_DEPTH_MAX) is TR_ERR_JSON_DEPTH.
 *  5. After an error every call returns the error again.
 *  6. No allocation but the growth of the spill buffer, bounded by spill_max (a longer single token
 * that lies across chunks or has escapes is TR_ERR_BODY_TOO_LARGE). Duplicate names are not its
 * business. Thread: any one. */
#ifndef TR_JSON_SCAN_H
#define TR_JSON_SCAN_H

#include "base/buf.h"
#include "base/span.h"
#include "base/status.h"

#define TR_JSON_DEPTH_MAX 256

enum tr_json_tok {
    TR_JSON_MORE,  /* the chunk is used up, feed another */
    TR_JSON_ERROR, /* scan->st says what */
    TR_JSON_END,   /* the last chunk is used up and the value (MULTI: every value) was complete */
    TR_JSON_OBJ_BEGIN,
    TR_JSON_OBJ_END,
    TR_JSON_ARR_BEGIN,
    TR_JSON_ARR_END,
    TR_JSON_KEY,    /* text: the name, decoded */
    TR_JSON_STRING, /* text: the value, decoded */
    TR_JSON_NUMBER, /* text: as written, checked against the grammar */
    TR_JSON_TRUE,
    TR_JSON_FALSE,
    TR_JSON_NULL,
};

enum tr_json_scan_mode {
    TR_JSON_SINGLE, /* exactly one value; an empty input is TR_ERR_JSON_TRUNCATED */
    TR_JSON_MULTI,  /* zero or more values, concatenated or separated by white space (NDJSON) */
};

struct tr_json_scan {
    /* Read by the caller after tr_json_scan_next: */
    struct tr_span text; /* of KEY, STRING, NUMBER */
    bool text_is_view;   /* text points into the chunk fed last (not into the spill buffer) */
    uint32_t tok_line;   /* 1-based; also the line that the scanner is in */
    size_t tok_offset;   /* bytes from the start of the input to the token's first byte */
    uint32_t tok_column; /* 1-based, in bytes */
    uint32_t depth;      /* containers open after this token */
    /* The scanner's own: */
    const char *p, *end;
    uintptr_t origin; /* address that the input's first byte would have, were the input one block */
    size_t line_offset; /* offset of the first byte of the current line */
    uintptr_t window;   /* address of 64 bytes (those of the chunk) of which it is known: */
    uint64_t win_special,
        win_high; /* which are special in strings, which above 0x7F (bit i: byte i) */
    uint8_t odd;  /* unread, a partial token or an error: the rare cases in one test */
    uint8_t state, tok;
    uint8_t after_comma, after_value; /* states, as the innermost container wants them */
    uint16_t comma;                   /* ',', or at depth 0 what no byte equals */
    uint8_t in_obj;                   /* the innermost container is an object */
    uint8_t top_state;                /* after_value at depth 0 */
    uint8_t last, unread;
    uint8_t partial;     /* kind of the token that lies across chunks; 0: none */
    uint8_t partial_arg; /* literals: characters seen */
    uint8_t carry_len;   /* strings: bytes of an escape or UTF-8 sequence that the cut split */
    char carry[12];
    uint32_t max_depth;
    struct tr_buf *spill;
    size_t spill_max;
    uint64_t kinds[TR_JSON_DEPTH_MAX / 64]; /* bit d: container at depth d + 1 is an object */
    struct tr_status st;                    /* read by the caller: set with TR_JSON_ERROR */
};

/* spill: owned by the caller, cleared and reused by the scanner; must outlive it. */
void tr_json_scan_init(struct tr_json_scan *scan, enum tr_json_scan_mode mode, uint32_t max_depth,
                       struct tr_buf *spill, size_t spill_max);
/* The bytes must stay valid until MORE, END or ERROR is returned (or the caller stops). Only legal
 * at the start and after MORE. `last`: no chunk follows; empty last chunks are legal. */
void tr_json_scan_feed(struct tr_json_scan *scan, struct tr_span chunk, bool last);
enum tr_json_tok tr_json_scan_next(struct tr_json_scan *scan);
/* The next call of tr_json_scan_next gives the token returned last once more (its text still
 * valid). */
void tr_json_scan_unread(struct tr_json_scan *scan);

#endif
