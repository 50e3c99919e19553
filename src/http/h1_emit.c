#include "http/h1_emit.h"

#include "base/num.h"

struct tr_span tr_h1_reason(unsigned status)
{
    static const struct tr_span reasons[][35] = {
        {TR_SPAN_INIT("Continue")},
        {TR_SPAN_INIT("OK"), TR_SPAN_INIT("Created"), TR_SPAN_INIT("Accepted"),
         TR_SPAN_INIT("Non-Authoritative Information"), TR_SPAN_INIT("No Content"),
         TR_SPAN_INIT("Reset Content"), TR_SPAN_INIT("Partial Content")},
        {TR_SPAN_INIT("Multiple Choices"), TR_SPAN_INIT("Moved Permanently"), TR_SPAN_INIT("Found"),
         TR_SPAN_INIT("See Other"), TR_SPAN_INIT("Not Modified"), TR_SPAN_INIT("Use Proxy"),
         TR_SPAN_INIT(""), TR_SPAN_INIT("Temporary Redirect"), TR_SPAN_INIT("Permanent Redirect")},
        {[0] = TR_SPAN_INIT("Bad Request"),
         [1] = TR_SPAN_INIT("Unauthorized"),
         [3] = TR_SPAN_INIT("Forbidden"),
         [4] = TR_SPAN_INIT("Not Found"),
         [5] = TR_SPAN_INIT("Method Not Allowed"),
         [6] = TR_SPAN_INIT("Not Acceptable"),
         [8] = TR_SPAN_INIT("Request Timeout"),
         [9] = TR_SPAN_INIT("Conflict"),
         [10] = TR_SPAN_INIT("Gone"),
         [11] = TR_SPAN_INIT("Length Required"),
         [12] = TR_SPAN_INIT("Precondition Failed"),
         [13] = TR_SPAN_INIT("Content Too Large"),
         [14] = TR_SPAN_INIT("URI Too Long"),
         [15] = TR_SPAN_INIT("Unsupported Media Type"),
         [16] = TR_SPAN_INIT("Range Not Satisfiable"),
         [17] = TR_SPAN_INIT("Expectation Failed"),
         [21] = TR_SPAN_INIT("Misdirected Request"),
         [22] = TR_SPAN_INIT("Unprocessable Content"),
         [26] = TR_SPAN_INIT("Upgrade Required"),
         [28] = TR_SPAN_INIT("Precondition Required"),
         [29] = TR_SPAN_INIT("Too Many Requests"),
         [31] = TR_SPAN_INIT("Request Header Fields Too Large")},
        {TR_SPAN_INIT("Internal Server Error"), TR_SPAN_INIT("Not Implemented"),
         TR_SPAN_INIT("Bad Gateway"), TR_SPAN_INIT("Service Unavailable"),
         TR_SPAN_INIT("Gateway Timeout"), TR_SPAN_INIT("HTTP Version Not Supported")},
    };
    unsigned hundred = status / 100, rest = status % 100;
    if (status == 499) /* not registered; what nginx called it has become the custom */
        return TR_SPAN("Client Closed Request");
    if (hundred < 1 || hundred > 5 || rest >= 35 || !reasons[hundred - 1][rest].ptr)
        return TR_SPAN("");
    return reasons[hundred - 1][rest];
}

/* Room must have been reserved. */
static void put(struct tr_buf *out, struct tr_span s)
{
    if (s.len)
        memcpy(out->ptr + out->len, s.ptr, s.len);
    out->len += s.len;
}

/* The codec writes these itself, or they have no place in an answer to this connection. */
static bool is_own(uint16_t token)
{
    return token == TR_TOKEN_CONTENT_LENGTH || token == TR_TOKEN_TRANSFER_ENCODING ||
           token == TR_TOKEN_CONNECTION || token == TR_TOKEN_DATE || token == TR_TOKEN_KEEP_ALIVE ||
           token == TR_TOKEN_UPGRADE || token == TR_TOKEN_PROXY_CONNECTION;
}

static size_t fields_room(const struct tr_headers *h)
{
    size_t room = 0;
    for (uint32_t i = 0; i < h->count; i++)
        room += h->items[i].name.len + h->items[i].value.len + 4;
    return room;
}

/* A CR or LF that got into a value here would let a backend write a second answer; such a field is
 * dropped. */
static void put_fields(struct tr_buf *out, const struct tr_headers *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        const struct tr_header *f = &h->items[i];
        if (is_own(f->token) || !tr_http_is_token(f->name) || !tr_http_is_field_value(f->value))
            continue;
        put(out, f->name);
        put(out, TR_SPAN(": "));
        put(out, f->value);
        put(out, TR_SPAN("\r\n"));
    }
}

enum tr_err tr_h1_emit_head(struct tr_buf *out, const struct tr_resp_head *head)
{
    struct tr_span reason = tr_h1_reason(head->status);
    enum tr_err err = tr_buf_reserve(out, 32 + reason.len + fields_room(&head->headers));
    if (err)
        return err;
    unsigned status = head->status >= 100 && head->status <= 999 ? head->status : 500;
    put(out, TR_SPAN("HTTP/1.1 "));
    out->len += tr_num_u64(tr_buf_end(out), status);
    put(out, TR_SPAN(" "));
    put(out, reason);
    put(out, TR_SPAN("\r\n"));
    put_fields(out, &head->headers);
    return TR_OK;
}

enum tr_err tr_h1_emit_framing(struct tr_buf *out, const struct tr_h1_framing *framing)
{
    enum tr_err err = tr_buf_reserve(out, 128 + framing->date.len);
    if (err)
        return err;
    if (framing->date.len) {
        put(out, TR_SPAN("date: "));
        put(out, framing->date);
        put(out, TR_SPAN("\r\n"));
    }
    if (framing->content_length >= 0) {
        put(out, TR_SPAN("content-length: "));
        out->len += tr_num_u64(tr_buf_end(out), (uint64_t)framing->content_length);
        put(out, TR_SPAN("\r\n"));
    }
    if (framing->chunked)
        put(out, TR_SPAN("transfer-encoding: chunked\r\n"));
    if (framing->close)
        put(out, TR_SPAN("connection: close\r\n"));
    put(out, TR_SPAN("\r\n"));
    return TR_OK;
}

enum tr_err tr_h1_emit_chunk_size(struct tr_buf *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    enum tr_err err = tr_buf_reserve(out, 2 * sizeof n + 2);
    if (err)
        return err;
    unsigned count = 1;
    while (count < 2 * sizeof n && n >> (4 * count))
        count++;
    for (unsigned i = count; i-- > 0;)
        out->ptr[out->len++] = digits[(n >> (4 * i)) & 15];
    put(out, TR_SPAN("\r\n"));
    return TR_OK;
}

enum tr_err tr_h1_emit_trailers(struct tr_buf *out, const struct tr_headers *trailers)
{
    enum tr_err err = tr_buf_reserve(out, fields_room(trailers) + 2);
    if (err)
        return err;
    put_fields(out, trailers);
    put(out, TR_SPAN("\r\n"));
    return TR_OK;
}
