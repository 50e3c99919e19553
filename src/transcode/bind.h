/* Path captures as extra wire fields of the request.
 *
 * Vocabulary: a *binding* is a chain of singular fields from the request's type down to a leaf that
 * has a string form. Its value is encoded as single-field nested messages and appended behind the
 * body's wire: by protobuf's merge rule the last scalar wins and messages merge, so that the path
 * overrides the body and leaves its neighbours alone.
 *
 * Contract: every leaf is such that appending overrides. Scalars, enums, bytes do; Timestamp,
 * Duration and wrappers are written with all their members, zeros too; lists, maps, FieldMask,
 * Struct, Value, ListValue, Any and plain messages do not (they would append or merge) or have no
 * string form, and are refused at load. Forms: SPEC §4 "Query" (numbers, enums by name or number,
 * booleans in any case, base64, the JSON string of a well-known type).
 *
 * Ownership: a compiled binding lives in the arena it was made in; immutable, shared by threads. No
 * allocation at run time but the growth of out. */
#ifndef TR_TRANSCODE_BIND_H
#define TR_TRANSCODE_BIND_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "proto/types.h"

#define TR_BIND_DEPTH_MAX 32 /* fields of a dotted path */

struct tr_bind_field {
    struct tr_span path;         /* dotted, proto names */
    const struct tr_field *leaf; /* chain[depth - 1] */
    uint32_t depth;
    const struct tr_field *chain[]; /* from the request's type down */
};

/* path: as the template has it, names of proto or JSON. TR_ERR_CONFIG with the field path and the
 * reason; TR_ERR_NOMEM. */
enum tr_err tr_bind_path_compile(const struct tr_msgtype *type, struct tr_span path,
                                 struct tr_arena *arena, const struct tr_bind_field **ret_bind,
                                 struct tr_status *st) TR_MUST_USE;

/* Appends the field with the decoded text of its capture. TR_ERR_PATH_VALUE with field path and
 * reason, TR_ERR_NOMEM; out is then as it was. */
enum tr_err tr_bind_value(const struct tr_bind_field *bind, struct tr_span value,
                          struct tr_buf *out, struct tr_status *st) TR_MUST_USE;

/* -- shared with the query
 * ------------------------------------------------------------------------------ */

/* Whether a message type has a string form that a path or query value can have. */
bool tr_bind_has_string_form(const struct tr_msgtype *msg);
/* Appends the value of chain[depth - 1] inside of its parents. map_key: when the leaf is a map;
 * else ignored. Any failure but NOMEM is given as `err_as` (TR_ERR_PATH_VALUE or
 * TR_ERR_QUERY_VALUE) with a text; out is then as it was. */
enum tr_err tr_bind_encode(const struct tr_field *const *chain, uint32_t depth,
                           struct tr_span map_key, struct tr_span value, enum tr_err err_as,
                           struct tr_buf *out, struct tr_status *st) TR_MUST_USE;
/* The dotted path in proto names, cut at the room of st. */
void tr_bind_set_field(const struct tr_field *const *chain, uint32_t depth, struct tr_status *st);

#endif
