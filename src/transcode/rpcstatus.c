#include "transcode/rpcstatus.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "proto/wire.h"

#include <stdio.h>

/* must be last */
#include "base/banned.h"

#define TAG_ROOM    ((size_t)2 * TR_VARINT_MAX) /* of a tag and a number */
#define TYPE_PREFIX "type.googleapis.com/google.rpc."

/* -- writing wire -- */

static enum tr_err put_varint_field(struct tr_buf *out, uint32_t number, uint64_t v)
{
    if (!v)
        return TR_OK;
    enum tr_err err = tr_buf_reserve(out, TAG_ROOM);
    if (err)
        return err;
    out->len += tr_wire_put_varint(tr_buf_end(out), number << 3 | TR_WIRE_VARINT);
    out->len += tr_wire_put_varint(tr_buf_end(out), v);
    return TR_OK;
}

static enum tr_err put_len_field(struct tr_buf *out, uint32_t number, struct tr_span s)
{
    enum tr_err err = tr_buf_reserve(out, TAG_ROOM + s.len);
    if (err)
        return err;
    out->len += tr_wire_put_varint(tr_buf_end(out), number << 3 | TR_WIRE_LEN);
    out->len += tr_wire_put_varint(tr_buf_end(out), s.len);
    return tr_buf_append(out, s);
}

static size_t len_field_size(size_t len)
{
    return 1 + tr_wire_varint_len(len) + len;
}

/* The head of details[]: an Any {1 type_url, 2 value} whose value of value_len bytes is written
 * next. */
static enum tr_err put_detail_head(struct tr_buf *out, struct tr_span url, size_t value_len)
{
    enum tr_err err = tr_buf_reserve(out, 2 * TAG_ROOM + url.len + value_len);
    if (err)
        return err;
    out->len += tr_wire_put_varint(tr_buf_end(out), 3 << 3 | TR_WIRE_LEN);
    out->len +=
        tr_wire_put_varint(tr_buf_end(out), len_field_size(url.len) + len_field_size(value_len));
    err = put_len_field(out, 1, url);
    if (err)
        return err;
    out->len += tr_wire_put_varint(tr_buf_end(out), 2 << 3 | TR_WIRE_LEN);
    out->len += tr_wire_put_varint(tr_buf_end(out), value_len);
    return TR_OK;
}

/* -- the gateway's own errors -- */

static enum tr_err put_error_info(struct tr_buf *out, struct tr_span reason)
{
    const struct tr_span domain = TR_SPAN(TR_RPCSTATUS_DOMAIN);
    enum tr_err err = put_detail_head(out, TR_SPAN(TYPE_PREFIX "ErrorInfo"),
                                      len_field_size(reason.len) + len_field_size(domain.len));
    if (!err)
        err = put_len_field(out, 1, reason);
    return err ? err : put_len_field(out, 2, domain);
}

static enum tr_err put_bad_request(struct tr_buf *out, struct tr_span field,
                                   struct tr_span description, struct tr_span reason)
{
    size_t violation = (field.len ? len_field_size(field.len) : 0) +
                       len_field_size(description.len) + len_field_size(reason.len);
    enum tr_err err =
        put_detail_head(out, TR_SPAN(TYPE_PREFIX "BadRequest"), len_field_size(violation));
    if (err)
        return err;
    out->len += tr_wire_put_varint(tr_buf_end(out), 1 << 3 | TR_WIRE_LEN);
    out->len += tr_wire_put_varint(tr_buf_end(out), violation);
    if (field.len)
        err = put_len_field(out, 1, field);
    if (!err)
        err = put_len_field(out, 2, description);
    return err ? err : put_len_field(out, 3, reason);
}

static enum tr_err put_retry_info(struct tr_buf *out, uint64_t delay_ms)
{
    char duration[2 * TAG_ROOM];
    size_t n = 0;
    uint64_t seconds = delay_ms / 1000, nanos = delay_ms % 1000 * 1000000;
    if (seconds) {
        duration[n++] = 1 << 3 | TR_WIRE_VARINT;
        n += tr_wire_put_varint(duration + n, seconds);
    }
    if (nanos) {
        duration[n++] = 2 << 3 | TR_WIRE_VARINT;
        n += tr_wire_put_varint(duration + n, nanos);
    }
    enum tr_err err = put_detail_head(out, TR_SPAN(TYPE_PREFIX "RetryInfo"), len_field_size(n));
    return err ? err : put_len_field(out, 1, tr_span(duration, n));
}

enum tr_err tr_rpcstatus_build(struct tr_buf *out, const struct tr_status *st, unsigned grpc_code,
                               int64_t retry_delay_ms)
{
    const size_t start = out->len;
    struct tr_span text = tr_status_text(st), reason = tr_span_cstr(tr_err_info(st->err)->name);
    char placed[TR_STATUS_TEXT_MAX + 48];
    if (st->line) {
        int n = snprintf(placed, sizeof placed, "%.*s (line %u, column %u)", (int)text.len,
                         text.ptr, st->line, st->column);
        if (n > 0)
            text = tr_span(placed, (size_t)n < sizeof placed ? (size_t)n : sizeof placed - 1);
    }
    enum tr_err err = put_varint_field(out, 1, grpc_code);
    if (!err)
        err = put_len_field(out, 2, text);
    if (!err)
        err = put_error_info(out, reason);
    if (!err && grpc_code == 3)
        err = put_bad_request(out, tr_span(st->field, st->field_len), text, reason);
    if (!err && retry_delay_ms >= 0)
        err = put_retry_info(out, (uint64_t)retry_delay_ms);
    if (err)
        out->len = start;
    return err;
}

/* -- Status-Message -- */

/* The byte at *at of a percent-encoded text; advances. */
static uint8_t decoded_byte(struct tr_span s, size_t *at)
{
    size_t i = *at;
    if (s.ptr[i] == '%' && s.len - i >= 3) {
        int hi = tr_hex_value(s.ptr[i + 1]), lo = tr_hex_value(s.ptr[i + 2]);
        if (hi >= 0 && lo >= 0) {
            *at = i + 3;
            return (uint8_t)(hi << 4 | lo);
        }
    }
    *at = i + 1;
    return (uint8_t)s.ptr[i];
}

enum tr_err tr_rpcstatus_decode_message(struct tr_buf *out, struct tr_span grpc_message)
{
    /* an ill-formed byte grows to three, and no further */
    enum tr_err err = tr_buf_reserve(out, 3 * grpc_message.len + 4);
    if (err)
        return err;
    char window[4]; /* bytes of a sequence that is not complete */
    size_t have = 0, at = 0;
    char *w = tr_buf_end(out);
    while (at < grpc_message.len || have) {
        while (have < sizeof window && at < grpc_message.len)
            window[have++] = (char)decoded_byte(grpc_message, &at);
        int n = tr_utf8_seq(tr_span(window, have));
        size_t used = n > 0 ? (size_t)n : n < 0 ? (size_t)-n : have;
        if (n > 0) {
            memcpy(w, window, used);
            w += used;
        } else {
            w += tr_utf8_put(w, 0xFFFD);
        }
        have -= used;
        memmove(window, window + used, have);
    }
    out->len = (size_t)(w - out->ptr);
    return TR_OK;
}

enum tr_err tr_rpcstatus_encode_message(struct tr_buf *out, struct tr_span message)
{
    static const char hex[] = "0123456789ABCDEF";
    enum tr_err err = tr_buf_reserve(out, 3 * message.len);
    if (err)
        return err;
    char *w = tr_buf_end(out);
    for (size_t i = 0; i < message.len; i++) {
        uint8_t c = (uint8_t)message.ptr[i];
        if (c >= 0x20 && c <= 0x7E && c != '%') {
            *w++ = (char)c;
        } else {
            *w++ = '%';
            *w++ = hex[c >> 4];
            *w++ = hex[c & 15];
        }
    }
    out->len = (size_t)(w - out->ptr);
    return TR_OK;
}

/* -- reading wire -- */

/* One record of a message of varints and length-delimited fields: false at the end or where it is
 * malformed. */
struct record {
    uint32_t number, wire;
    uint64_t value;
    struct tr_span bytes;
};

static bool next_record(struct tr_span *wire, struct record *ret)
{
    if (!wire->len)
        return false;
    const char *p = wire->ptr, *end = wire->ptr + wire->len;
    if (!tr_wire_tag(&p, end, &ret->number, &ret->wire))
        return false;
    bool ok;
    if (ret->wire == TR_WIRE_VARINT)
        ok = tr_wire_varint(&p, end, &ret->value);
    else if (ret->wire == TR_WIRE_LEN)
        ok = tr_wire_len(&p, end, &ret->bytes);
    else
        ok = tr_wire_skip(&p, end, ret->number, ret->wire);
    *wire = tr_span(p, (size_t)(end - p));
    return ok;
}

struct tr_rpcstatus_view tr_rpcstatus_view(struct tr_span status)
{
    struct tr_rpcstatus_view v = {0, {"", 0}};
    struct record r;
    while (next_record(&status, &r)) {
        if (r.number == 1 && r.wire == TR_WIRE_VARINT)
            v.code = (unsigned)r.value;
        else if (r.number == 2 && r.wire == TR_WIRE_LEN)
            v.message = r.bytes;
    }
    return v;
}

static bool is_type(struct tr_span url, struct tr_span full_name)
{
    size_t slash = tr_span_rfind(url, '/');
    return slash < url.len && tr_span_eq(tr_span_from(url, slash + 1), full_name);
}

static void read_any(struct tr_span any, struct tr_span *ret_url, struct tr_span *ret_value)
{
    *ret_url = *ret_value = tr_span("", 0);
    struct record r;
    while (next_record(&any, &r)) {
        if (r.wire == TR_WIRE_LEN && r.number == 1)
            *ret_url = r.bytes;
        else if (r.wire == TR_WIRE_LEN && r.number == 2)
            *ret_value = r.bytes;
    }
}

static int64_t ceil_seconds(struct tr_span duration)
{
    int64_t seconds = 0;
    int32_t nanos = 0;
    struct record r;
    while (next_record(&duration, &r)) {
        if (r.wire == TR_WIRE_VARINT && r.number == 1)
            seconds = (int64_t)r.value;
        else if (r.wire == TR_WIRE_VARINT && r.number == 2)
            nanos = (int32_t)(uint32_t)r.value;
    }
    if (seconds < 0 || nanos < 0 || seconds > INT64_C(315576000000))
        return -1;
    return seconds + (nanos > 0);
}

int64_t tr_rpcstatus_retry_after(struct tr_span status)
{
    int64_t found = -1;
    struct record r;
    while (next_record(&status, &r)) {
        if (r.number != 3 || r.wire != TR_WIRE_LEN)
            continue;
        struct tr_span url, value;
        read_any(r.bytes, &url, &value);
        if (!is_type(url, TR_SPAN("google.rpc.RetryInfo")))
            continue;
        found = 0; /* an empty RetryInfo: at once */
        while (next_record(&value, &r)) {
            if (r.number == 1 && r.wire == TR_WIRE_LEN)
                found = ceil_seconds(r.bytes);
        }
    }
    return found;
}

/* Copies the details that pass. */
static enum tr_err copy_details(struct tr_buf *out, struct tr_span status, bool allow_debug_info)
{
    struct record r;
    while (next_record(&status, &r)) {
        if (r.number != 3 || r.wire != TR_WIRE_LEN)
            continue;
        struct tr_span url, value;
        read_any(r.bytes, &url, &value);
        if (!allow_debug_info && is_type(url, TR_SPAN("google.rpc.DebugInfo")))
            continue;
        enum tr_err err = put_len_field(out, 3, r.bytes);
        if (err)
            return err;
    }
    return TR_OK;
}

enum tr_err tr_rpcstatus_filter(struct tr_buf *out, struct tr_span status, bool allow_debug_info)
{
    const size_t start = out->len;
    struct tr_rpcstatus_view v = tr_rpcstatus_view(status);
    enum tr_err err = put_varint_field(out, 1, v.code);
    if (!err && v.message.len)
        err = put_len_field(out, 2, v.message);
    if (!err)
        err = copy_details(out, status, allow_debug_info);
    if (err)
        out->len = start;
    return err;
}

enum tr_err tr_rpcstatus_from_trailers(struct tr_buf *out, unsigned grpc_code,
                                       struct tr_span grpc_message, struct tr_span details_bin,
                                       struct tr_arena *scratch)
{
    const size_t start = out->len;
    const struct tr_arena_mark mark = tr_arena_mark(scratch);
    struct tr_span details = {"", 0};
    if (details_bin.len) {
        char *raw = tr_arena_alloc(scratch, tr_base64_decoded_max(details_bin.len));
        size_t len;
        if (!raw)
            return TR_ERR_NOMEM;
        if (!tr_base64_decode(raw, details_bin, &len))
            details = tr_span(raw, len);
    }
    enum tr_err err = put_varint_field(out, 1, grpc_code);
    struct tr_buf text = {NULL, 0, 0};
    if (!err && grpc_message.len) {
        /* decoded in scratch first: its length stands before it */
        text.cap = 3 * grpc_message.len + 4;
        text.ptr = tr_arena_alloc(scratch, text.cap);
        err = text.ptr ? tr_rpcstatus_decode_message(&text, grpc_message) : TR_ERR_NOMEM;
    }
    struct tr_span message = tr_buf_span(&text);
    if (!message.len)
        message = tr_rpcstatus_view(details).message;
    if (!err && message.len)
        err = put_len_field(out, 2, message);
    if (!err)
        err = copy_details(out, details, true);
    if (err)
        out->len = start;
    tr_arena_rewind(scratch, mark);
    return err;
}
