#include "proto/typepool_int.h"

#define WKT_FIELDS_MAX 6

/* Types whose meaning the transcoder knows, and the fields it then relies on. */
struct wkt {
    struct tr_span name;
    uint8_t wkt;
    uint8_t count;
    uint8_t repeated;              /* bit i: field i is */
    uint8_t types[WKT_FIELDS_MAX]; /* of numbers 1, 2, ... */
};

#define W(n, w, c, r, ...)                                                                         \
    {                                                                                              \
        TR_SPAN_INIT(n), TR_WKT_##w, c, r,                                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const struct wkt wkts[] = {
    W("google.protobuf.Any", ANY, 2, 0, TR_FT_STRING, TR_FT_BYTES),
    W("google.protobuf.Timestamp", TIMESTAMP, 2, 0, TR_FT_INT64, TR_FT_INT32),
    W("google.protobuf.Duration", DURATION, 2, 0, TR_FT_INT64, TR_FT_INT32),
    W("google.protobuf.FieldMask", FIELD_MASK, 1, 1, TR_FT_STRING),
    W("google.protobuf.Struct", STRUCT, 1, 1, TR_FT_MESSAGE),
    W("google.protobuf.Value", VALUE, 6, 0, TR_FT_ENUM, TR_FT_DOUBLE, TR_FT_STRING, TR_FT_BOOL,
      TR_FT_MESSAGE, TR_FT_MESSAGE),
    W("google.protobuf.ListValue", LIST_VALUE, 1, 1, TR_FT_MESSAGE),
    W("google.protobuf.Empty", EMPTY, 0, 0, 0),
    W("google.protobuf.DoubleValue", DOUBLE_VALUE, 1, 0, TR_FT_DOUBLE),
    W("google.protobuf.FloatValue", FLOAT_VALUE, 1, 0, TR_FT_FLOAT),
    W("google.protobuf.Int64Value", INT64_VALUE, 1, 0, TR_FT_INT64),
    W("google.protobuf.UInt64Value", UINT64_VALUE, 1, 0, TR_FT_UINT64),
    W("google.protobuf.Int32Value", INT32_VALUE, 1, 0, TR_FT_INT32),
    W("google.protobuf.UInt32Value", UINT32_VALUE, 1, 0, TR_FT_UINT32),
    W("google.protobuf.BoolValue", BOOL_VALUE, 1, 0, TR_FT_BOOL),
    W("google.protobuf.StringValue", STRING_VALUE, 1, 0, TR_FT_STRING),
    W("google.protobuf.BytesValue", BYTES_VALUE, 1, 0, TR_FT_BYTES),
    W("google.api.HttpBody", HTTP_BODY, 3, 4, TR_FT_STRING, TR_FT_BYTES, TR_FT_MESSAGE),
};
#define WKT_COUNT (sizeof wkts / sizeof wkts[0])

const char *const tr_pool_always_compiled[] = {
    "google.protobuf.Any",
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
    "google.protobuf.Struct",
    "google.protobuf.Value",
    "google.protobuf.ListValue",
    "google.protobuf.Empty",
    "google.protobuf.DoubleValue",
    "google.protobuf.FloatValue",
    "google.protobuf.Int64Value",
    "google.protobuf.UInt64Value",
    "google.protobuf.Int32Value",
    "google.protobuf.UInt32Value",
    "google.protobuf.BoolValue",
    "google.protobuf.StringValue",
    "google.protobuf.BytesValue",
    "google.api.HttpBody",
    "google.api.HttpRule",
    "google.rpc.Status",
    "google.rpc.ErrorInfo",
    "google.rpc.RetryInfo",
    "google.rpc.DebugInfo",
    "google.rpc.QuotaFailure",
    "google.rpc.PreconditionFailure",
    "google.rpc.BadRequest",
    "google.rpc.RequestInfo",
    "google.rpc.ResourceInfo",
    "google.rpc.Help",
    "google.rpc.LocalizedMessage",
    NULL,
};

uint8_t tr_pool_wkt_by_name(struct tr_span full_name)
{
    if (!tr_span_starts(full_name, TR_SPAN("google.")))
        return TR_WKT_NONE;
    for (size_t i = 0; i < WKT_COUNT; i++)
        if (tr_span_eq(wkts[i].name, full_name))
            return wkts[i].wkt;
    return TR_WKT_NONE;
}

bool tr_pool_wkt_shape_ok(const struct tr_msg_decl *msg)
{
    const struct wkt *w = wkts;
    while (w->wkt != msg->wkt)
        w++;
    if (msg->field_count != w->count)
        return false;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct tr_field_decl *f = &msg->fields[i];
        bool repeated = f->flags & TR_FF_REPEATED;
        if (f->number != i + 1 || f->type != w->types[i] ||
            repeated != (bool)(w->repeated >> i & 1))
            return false;
    }
    return true;
}
