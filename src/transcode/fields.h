/* Partial responses: the `$fields` system parameter, compiled for one type.
 *
 * Grammar (that of Google's APIs):   mask = item *("," item)   item = path [ "(" mask ")" ]
 *                                    path = name *(("/" | ".") name)   name = field | "[pkg.ext]" |
 * "*" A field is named by its JSON name or its proto name. `a` keeps the field whole, `a/b` and
 * `a(b,c)` keep parts of it, of each element when it is a list. `*` stands for every field; `*`
 * followed by more goes into each message field that has one of the names. Below a map or a Struct
 * a name is a key. What is named twice is kept once, whole when one naming is whole. Spaces around
 * names are ignored.
 *
 * A name that the type does not have, or more below a scalar or a well-known type, is an error: a
 * typing mistake that silently gives an empty answer helps nobody.
 *
 * The tree lives in the arena and is immutable after compilation. */
#ifndef TR_TRANSCODE_FIELDS_H
#define TR_TRANSCODE_FIELDS_H

#include "base/arena.h"
#include "base/status.h"
#include "proto/types.h"

#define TR_FIELDS_BYTES_MAX (1u << 20) /* of one tree: `*` below `*` multiplies */
#define TR_FIELDS_NAMES_MAX 1024       /* names in one text */
#define TR_FIELDS_DEPTH_MAX 32         /* names below one another */

struct tr_field_tree;

struct tr_field_key {
    struct tr_span key;
    const struct tr_field_tree *sub; /* NULL: the value whole */
};

/* What is kept of one message, or of one map. NULL in place of a tree keeps everything. */
struct tr_field_tree {
    const struct tr_msgtype *type; /* for maps the entry type */
    bool is_map;                   /* also Struct, Value and ListValue */
    /* messages: by slot (tr_field_slot) */
    uint32_t slot_count;
    uint64_t *bits;
    const struct tr_field_tree **sub; /* NULL: no field is kept in part */
    /* maps */
    struct tr_field_key *keys;
    uint32_t key_count;
    bool every_key;
    const struct tr_field_tree *every_sub; /* of keys that every_key keeps */
};

/* Position of a field among all of its type: fields by index, then extensions in order of number.
 */
uint32_t tr_field_slot(const struct tr_msgtype *type, const struct tr_field *field);

static inline bool tr_field_tree_has(const struct tr_field_tree *tree, uint32_t slot)
{
    return tree->bits[slot >> 6] >> (slot & 63) & 1;
}
/* Whether a map keeps the key (its JSON text); *ret_sub is what is kept of the value. */
bool tr_field_tree_key(const struct tr_field_tree *tree, struct tr_span key,
                       const struct tr_field_tree **ret_sub);

/* Compiles text against `type`, or, where field is not NULL, against the value of that field of
 * `type` (response_body: a message, the elements of a list, a map). *ret_tree is NULL for "*".
 * Errors: TR_ERR_SYSTEM_PARAMETER with field "$fields" and the place in the text, TR_ERR_NOMEM. */
enum tr_err tr_field_tree_compile(struct tr_arena *arena, const struct tr_msgtype *type,
                                  const struct tr_field *field, struct tr_span text,
                                  const struct tr_field_tree **ret_tree,
                                  struct tr_status *st) TR_MUST_USE;

#endif
