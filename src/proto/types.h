/* Compiled protobuf types: what the transcoder's hot loops read, and the names that humans and JSON
 * use.
 *
 * Vocabulary: a *message type* is a table of *fields*; a field record is 32 bytes and holds all
 * that reading and writing the wire and JSON needs; its names are behind one pointer. Everything is
 * immutable after load, owned by one pool (proto/typepool.h), shared by all threads.
 *
 * Features of editions (presence, packed, enum openness, UTF-8 validation, delimited groups) are
 * resolved at load into flags: nothing later asks for syntax or edition. */
#ifndef TR_PROTO_TYPES_H
#define TR_PROTO_TYPES_H

#include "base/span.h"
#include "base/status.h"

/* Numbers of FieldDescriptorProto.Type. */
enum tr_ftype {
    TR_FT_DOUBLE = 1,
    TR_FT_FLOAT = 2,
    TR_FT_INT64 = 3,
    TR_FT_UINT64 = 4,
    TR_FT_INT32 = 5,
    TR_FT_FIXED64 = 6,
    TR_FT_FIXED32 = 7,
    TR_FT_BOOL = 8,
    TR_FT_STRING = 9,
    TR_FT_GROUP = 10,   /* delimited encoding, by proto2 groups or editions */
    TR_FT_MESSAGE = 11, /* length-prefixed */
    TR_FT_BYTES = 12,
    TR_FT_UINT32 = 13,
    TR_FT_ENUM = 14,
    TR_FT_SFIXED32 = 15,
    TR_FT_SFIXED64 = 16,
    TR_FT_SINT32 = 17,
    TR_FT_SINT64 = 18,
};

enum tr_field_flags {
    TR_FF_REPEATED = 1 << 0, /* list or map */
    TR_FF_MAP =
        1 << 1, /* sub.msg is the entry type: fields[0] is key (1), fields[1] is value (2) */
    TR_FF_PACKED = 1 << 2,   /* write packed; readers take both forms */
    TR_FF_PRESENCE = 1 << 3, /* explicit presence: message, oneof member, optional, proto2 */
    TR_FF_REQUIRED = 1 << 4, /* proto2 required / LEGACY_REQUIRED */
    TR_FF_UTF8 = 1 << 5,     /* validate strings (proto3, editions VERIFY) */
    TR_FF_EXTENSION = 1 << 6,
    TR_FF_CLOSED_ENUM = 1 << 7,
};

/* Well-known types with a JSON form of their own, and types the gateway treats specially. */
enum tr_wkt {
    TR_WKT_NONE = 0,
    TR_WKT_ANY,
    TR_WKT_TIMESTAMP,
    TR_WKT_DURATION,
    TR_WKT_FIELD_MASK,
    TR_WKT_STRUCT,
    TR_WKT_VALUE,
    TR_WKT_LIST_VALUE,
    TR_WKT_EMPTY,
    TR_WKT_DOUBLE_VALUE, /* wrappers: the one field is number 1 */
    TR_WKT_FLOAT_VALUE,
    TR_WKT_INT64_VALUE,
    TR_WKT_UINT64_VALUE,
    TR_WKT_INT32_VALUE,
    TR_WKT_UINT32_VALUE,
    TR_WKT_BOOL_VALUE,
    TR_WKT_STRING_VALUE,
    TR_WKT_BYTES_VALUE,
    TR_WKT_HTTP_BODY, /* google.api.HttpBody: plain JSON form, but special as a body */
};
static inline bool tr_wkt_is_wrapper(enum tr_wkt w)
{
    return w >= TR_WKT_DOUBLE_VALUE && w <= TR_WKT_BYTES_VALUE;
}

struct tr_msgtype;
struct tr_enumtype;

/* The cold half of a field. */
struct tr_field_names {
    struct tr_span json;         /* json_name, or "[pkg.ext]" for an extension */
    struct tr_span proto;        /* the declared name (full name in brackets for an extension) */
    struct tr_span json_key;     /* ready to emit: "\"jsonName\":" with escapes applied */
    struct tr_span proto_key;    /* ready to emit: "\"proto_name\":" */
    struct tr_span default_json; /* JSON text of the proto2/editions explicit default for
                                    emit_defaults; empty: the type's zero */
};

struct tr_field {
    uint32_t number;
    uint16_t index;  /* position in msg->fields: bit of the seen set */
    uint16_t oneof;  /* 1-based among the real oneofs of the message; 0: none (synthetic ones count
                        as none) */
    uint8_t type;    /* enum tr_ftype */
    uint8_t flags;   /* enum tr_field_flags */
    uint8_t tag_len; /* bytes of tag[] */
    uint8_t tag[5]; /* ready-made tag for writing: wire type 2 when PACKED, REPEATED string/message,
                       MAP; START_GROUP for GROUP */
    union {
        const struct tr_msgtype *msg; /* GROUP, MESSAGE (maps: the entry type) */
        const struct tr_enumtype *en; /* ENUM */
    } sub;
    const struct tr_field_names *names;
};
_Static_assert(sizeof(struct tr_field) == 32, "two field records fill a cache line");

struct tr_msgtype {
    const struct tr_field *fields; /* ascending by number; extensions are not among them */
    uint16_t field_count;
    uint16_t oneof_count; /* real oneofs */
    uint16_t required_count;
    uint8_t wkt; /* enum tr_wkt */
    bool is_map_entry;
    bool message_set;        /* message_set_wire_format: not supported in JSON */
    bool has_required_below; /* this type or one it reaches has required fields */
    uint16_t dense_count;    /* by_number[n] is 1 + index for n < dense_count; 0: no such field */
    const uint16_t *by_number;
    uint32_t name_mask; /* size of name_slots - 1 (a power of two) */
    const uint16_t
        *name_slots; /* open addressing over the hash of JSON and proto names: 1 + index, 0 empty */
    struct tr_span full_name;                 /* "pkg.Message" without leading dot */
    const struct tr_field *const *extensions; /* all known ones of this type, ascending by number */
    uint32_t extension_count;
    const struct tr_span *oneof_names; /* oneof_count; for messages */
    uint64_t
        *required_bits; /* bitmap over field index, ceil(field_count / 64) words; NULL when none */
};

struct tr_enum_value {
    int32_t number;
    struct tr_span name;
    struct tr_span quoted; /* "\"NAME\"" */
};

struct tr_enumtype {
    struct tr_span full_name;
    const struct tr_enum_value
        *values; /* as declared (aliases included; the first name of a number is printed) */
    uint32_t value_count;
    bool closed;
    bool is_null_value; /* google.protobuf.NullValue */
    int32_t dense_min;  /* by_number[n - dense_min] is 1 + index for a dense range; 0: none */
    uint32_t dense_count;
    const uint32_t *by_number;
    const uint32_t *sorted; /* when the dense range misses some: 1 + index, ascending by number,
                               first names only */
    uint32_t sorted_count;
    uint32_t name_mask; /* as in tr_msgtype */
    const uint32_t *name_slots;
};

/* NULL when there is none. Extensions are found by number too. */
const struct tr_field *tr_msgtype_field_slow(const struct tr_msgtype *msg, uint32_t number);
static inline const struct tr_field *tr_msgtype_field(const struct tr_msgtype *msg, uint32_t number)
{
    if (number < msg->dense_count) {
        uint16_t i = msg->by_number[number];
        if (i)
            return &msg->fields[i - 1];
    }
    return tr_msgtype_field_slow(msg, number);
}
/* By JSON name or proto name; extensions by "[full.name]". */
const struct tr_field *tr_msgtype_field_by_name(const struct tr_msgtype *msg, struct tr_span name);
/* The fields of a dotted path of proto or JSON names, through singular messages to a singular field
 * that is no message; their count, 0 when it is no such path. */
#define TR_FIELD_PATH_MAX 16
int tr_msgtype_path(const struct tr_msgtype *msg, struct tr_span path,
                    const struct tr_field *ret_fields[TR_FIELD_PATH_MAX]);
/* NULL when there is none: unknown numbers of open enums are printed as numbers. */
const struct tr_enum_value *tr_enumtype_by_number(const struct tr_enumtype *en, int32_t number);
const struct tr_enum_value *tr_enumtype_by_name(const struct tr_enumtype *en, struct tr_span name);

enum tr_idempotency { TR_IDEMPOTENCY_UNKNOWN = 0, TR_NO_SIDE_EFFECTS = 1, TR_IDEMPOTENT = 2 };

/* google.api.HttpRule as written; verb kinds in the order of the oneof. */
struct tr_http_rule {
    struct tr_span verb; /* "GET", ... or custom.kind ("*": every verb) */
    struct tr_span template_text;
    struct tr_span body;                   /* "", "*", or a field name */
    struct tr_span response_body;          /* "" or a field name */
    const struct tr_http_rule *additional; /* one level deep; theirs is empty */
    uint32_t additional_count;
    bool nested_additional; /* additional_bindings inside additional_bindings: an error when routes
                               are built */
};

struct tr_service;

struct tr_rpc {               /* one method of a service */
    struct tr_span name;      /* "GetBook" */
    struct tr_span full_name; /* "pkg.Service.GetBook" */
    struct tr_span path;      /* "/pkg.Service/GetBook" */
    const struct tr_service *service;
    const struct tr_msgtype *input, *output;
    bool client_streaming, server_streaming;
    uint8_t idempotency; /* enum tr_idempotency */
    bool deprecated;
    const struct tr_http_rule *rule; /* google.api.http, or NULL */
};

struct tr_service {
    struct tr_span full_name; /* "pkg.Service" */
    const struct tr_rpc *rpcs;
    uint32_t rpc_count;
};

#endif
