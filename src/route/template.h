/* Path templates of google.api.http (grammar: the comments of google/api/http.proto), and what
 * real APIs use beyond it: literals, '*' and variables after '**'.
 *
 *   Template = "/" | Segments [ Verb ] ;   Segments = "/" Segment { "/" Segment } ;
 *   Segment  = "*" | "**" | LITERAL | Variable ;
 *   Variable = "{" FieldPath [ "=" Segment { "/" Segment } ] "}" ;
 *   Verb     = ":" LITERAL ;
 *   LITERAL  = 1*( unreserved | sub-delims without "*" | "@" | "%" HEXDIG HEXDIG ) ;
 *
 * Refused, each with its reason: two "**", nested variables, one field twice, empty segments
 * (a trailing slash, "/:verb"), characters outside LITERAL (a ':' only ever begins the verb),
 * malformed escapes, %00 and what is not UTF-8 after decoding, dot segments (also encoded): what
 * no checked path can match. Literals are kept in the normal form of route/path.h. */
#ifndef TR_ROUTE_TEMPLATE_H
#define TR_ROUTE_TEMPLATE_H

#include "base/arena.h"
#include "base/status.h"

enum tr_segment_kind {
    TR_SEGMENT_LITERAL,
    TR_SEGMENT_STAR,
    TR_SEGMENT_DEEP /* "**" */
};

struct tr_segment {
    enum tr_segment_kind kind;
    struct tr_span literal; /* normalised */
};

struct tr_template_var {
    struct tr_span field_path; /* "book.name" */
    uint16_t first, count;     /* segments it covers */
    bool multi;                /* more than one segment or a "**": decoded in the path_unescape
                                  mode, else fully */
};

#define TR_TEMPLATE_SEGMENTS_MAX 64
#define TR_TEMPLATE_VARS_MAX     16
#define TR_TEMPLATE_LITERAL_MAX  255 /* bytes, normalised */

struct tr_template {
    struct tr_span text; /* as written */
    const struct tr_segment *segments;
    const struct tr_template_var *vars; /* in order of appearance */
    uint16_t segment_count, var_count;
    uint16_t deep;       /* index of the "**"; segment_count when there is none */
    struct tr_span verb; /* without ':', normalised; empty: none */
};

/* In the arena; text is copied. TR_ERR_CONFIG with the byte offset and the reason; TR_ERR_NOMEM. */
enum tr_err tr_template_parse(struct tr_span text, struct tr_arena *arena,
                              struct tr_template *ret_template, struct tr_status *st) TR_MUST_USE;

#endif
