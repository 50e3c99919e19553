/* Scalars of protobuf from their JSON text: what the JSON reader and the path and query binder
 * share.
 *
 * Vocabulary: the *raw* value of a number is what goes on the wire: the varint after zigzag or sign
 * extension, or the bits of a fixed-width type. No allocation; any thread. Text rules: the
 * ProtoJSON specification ("Representation of each type"). */
#ifndef TR_TRANSCODE_SCALAR_H
#define TR_TRANSCODE_SCALAR_H

#include "base/buf.h"
#include "proto/types.h"
#include "proto/wire.h"

/* "int32" and so on, for messages to people. */
const char *tr_scalar_name(uint8_t type);

/* An integer or floating-point type (enum tr_ftype) from the text of a JSON number, quoted or not;
 * quoted floats may be "NaN", "Infinity", "-Infinity". TR_ERR_JSON_TYPE (not a number, or a
 * fraction for an integer) or TR_ERR_JSON_RANGE, with text in st. */
enum tr_err tr_scalar_number(uint8_t type, struct tr_span text, bool quoted, uint64_t *ret_raw,
                             struct tr_status *st) TR_MUST_USE;
/* An enum value's number from the text of a JSON number. TR_ERR_JSON_ENUM for a number that a
 * closed enum lacks. */
enum tr_err tr_scalar_enum_number(const struct tr_field *field, struct tr_span text, int32_t *ret,
                                  struct tr_status *st) TR_MUST_USE;
/* TR_ERR_JSON_ENUM when the enum has no such name. */
enum tr_err tr_scalar_enum_name(const struct tr_enumtype *en, struct tr_span name, int32_t *ret,
                                struct tr_status *st) TR_MUST_USE;

/* Writes a raw value (numbers, bool, enum as int32 sign-extended) to p, which has TR_VARINT_MAX
 * bytes of room; returns the length. */
static inline size_t tr_scalar_write(char *p, uint8_t type, uint64_t raw)
{
    switch (type) {
    case TR_FT_DOUBLE:
    case TR_FT_FIXED64:
    case TR_FT_SFIXED64:
        memcpy(p, &raw,
               8); /* the wire is little-endian, and so is every machine that this runs on */
        return 8;
    case TR_FT_FLOAT:
    case TR_FT_FIXED32:
    case TR_FT_SFIXED32: {
        uint32_t v = (uint32_t)raw;
        memcpy(p, &v, 4);
        return 4;
    }
    default:
        return tr_wire_put_varint(p, raw);
    }
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "fixed-width values are copied as they lie");

/* Writes the tag; p has 5 bytes of room, whatever the length. */
static inline char *tr_scalar_tag(char *p, const struct tr_field *field)
{
    memcpy(p, field->tag, 5);
    return p + field->tag_len;
}

/* Appends base64 text (either alphabet) as a length-prefixed value, no tag. TR_ERR_JSON_BASE64,
 * TR_ERR_NOMEM. */
enum tr_err tr_scalar_put_bytes(struct tr_buf *out, struct tr_span base64,
                                struct tr_status *st) TR_MUST_USE;
/* Appends bytes as a length-prefixed value, no tag. TR_ERR_NOMEM. */
enum tr_err tr_scalar_put_string(struct tr_buf *out, struct tr_span s) TR_MUST_USE;

#endif
