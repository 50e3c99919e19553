/* The update_mask that a PATCH implies: the paths of the fields that its JSON body has (json2pb's
 * on_path), as the wire of a google.protobuf.FieldMask field.
 *
 * Use: init; give tr_mask_on_path and the mask to struct tr_json2pb_opts; when the body is read,
 * append tr_mask_put to the message. Allocates from the arena it was given; a failure is kept and
 * told by tr_mask_put. */
#ifndef TR_TRANSCODE_MASK_H
#define TR_TRANSCODE_MASK_H

#include "base/arena.h"
#include "base/buf.h"
#include "proto/types.h"

#define TR_MASK_BYTES_MAX ((size_t)256 * 1024)

struct tr_mask {
    struct tr_arena *arena;
    char *wire; /* paths as field 1 of a FieldMask */
    size_t len, cap;
    enum tr_err err; /* of on_path */
};

void tr_mask_init(struct tr_mask *mask, struct tr_arena *arena);
/* ctx: the mask. */
void tr_mask_on_path(void *ctx, struct tr_span path);
/* Appends the field (a FieldMask of the request) with all paths; nothing when there are none.
 * TR_ERR_NOMEM. */
enum tr_err tr_mask_put(const struct tr_mask *mask, const struct tr_field *field,
                        struct tr_buf *out) TR_MUST_USE;

#endif
