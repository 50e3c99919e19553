/* Path templates of google.api.http (grammar: the comments of google/api/http.proto), and what real APIs use beyond it:
 * literals, '*' and variables after '**'.
 *
 *   Template = "/" [ Segments ] [ Verb ] ;  "/" alone is a template
 *   Segment  = "*" | "**" | LITERAL | Variable ;  Variable = "{" FieldPath [ "=" Segments ] "}" ;  Verb = ":" LITERAL
 *
 * Refused: two "**", nested variables, one field twice, empty segments, characters outside pchar, malformed %zz,
 * dot segments. Literals are kept with unreserved escapes decoded and other escapes in upper case. */
#ifndef TR_ROUTE_TEMPLATE_H
#define TR_ROUTE_TEMPLATE_H

#include "base/arena.h"
#include "base/status.h"

enum tr_segment_kind { TR_SEGMENT_LITERAL, TR_SEGMENT_STAR, TR_SEGMENT_DEEP /* "**" */ };

struct tr_segment {
    enum tr_segment_kind kind;
    struct tr_span literal; /* normalised */
};

struct tr_template_var {
    struct tr_span field_path; /* "book.name" */
    uint16_t first, count;     /* segments it covers */
    bool multi;                /* more than one segment or a "**": decoded in the path_unescape mode, else fully */
};

#define TR_TEMPLATE_SEGMENTS_MAX 64
#define TR_TEMPLATE_VARS_MAX     16

struct tr_template {
    struct tr_span text; /* as written */
    const struct tr_segment *segments;
    const struct tr_template_var *vars; /* in order of appearance */
    uint16_t segment_count, var_count;
    struct tr_span verb; /* without ':', normalised; empty: none */
};

/* In the arena; text is copied. TR_ERR_CONFIG with the byte offset and the reason. */
enum tr_err tr_template_parse(struct tr_span text, struct tr_arena *arena, struct tr_template *ret_template,
                              struct tr_status *st) TR_MUST_USE;

#endif
