/* The protobuf wire format to ProtoJSON.
 *
 * Fields are emitted as they arrive. A field that comes back after others (interleaved lists,
 * repeated singular fields, two members of a oneof) makes that message be done again by an index
 * pass: the output is rewound to the message's start, its fields are sorted by number with the last
 * scalar winning, messages merged by concatenation. The JSON is the same as for grouped input,
 * order of names aside.
 *
 * Unknown fields are dropped. Strings that are not UTF-8 print U+FFFD and count. Malformed wire is
 * TR_ERR_PROTO_MALFORMED, nesting above 100 TR_ERR_PROTO_DEPTH, a value without a JSON form
 * (Timestamp out of range, Any of an unknown type, invalid FieldMask path, Value without a kind)
 * TR_ERR_PROTO_UNPRINTABLE. On error out is truncated to where it was. No recursion; memory: out
 * and the scratch arena. */
#ifndef TR_TRANSCODE_PB2JSON_H
#define TR_TRANSCODE_PB2JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "proto/types.h"

struct tr_typepool;
struct tr_field_tree; /* transcode/fields.h: $fields, compiled for one type */

struct tr_pb2json_opts {
    const struct tr_typepool *pool;
    bool emit_defaults; /* fields without presence print their zero; lists [], maps {}; not unset
                           oneofs, messages, optionals */
    bool proto_names;
    bool enums_as_numbers;
    bool pretty;                /* two spaces, one space after the colon */
    bool unknown_any_as_base64; /* an Any of an unknown type prints {"@type": url, "value": base64}
                                   (error details) */
    const struct tr_field_tree *fields; /* partial response; NULL: all */
    size_t max_bytes;   /* of output added; 0: no limit; above: TR_ERR_UPSTREAM_OVERSIZED */
    uint64_t *bad_utf8; /* counter, may be NULL */
};

/* Appends the JSON of one message. */
enum tr_err tr_pb2json(const struct tr_msgtype *type, struct tr_span wire,
                       const struct tr_pb2json_opts *opts, struct tr_buf *out,
                       struct tr_arena *scratch, struct tr_status *st) TR_MUST_USE;
/* Appends the JSON of one field of it (response_body): the field's value, absent: its zero ([], {},
 * "", 0, null-free empty message {}), as if it were the root. */
enum tr_err tr_pb2json_field(const struct tr_msgtype *type, const struct tr_field *field,
                             struct tr_span wire, const struct tr_pb2json_opts *opts,
                             struct tr_buf *out, struct tr_arena *scratch,
                             struct tr_status *st) TR_MUST_USE;

#endif
