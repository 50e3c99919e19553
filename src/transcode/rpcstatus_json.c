/* A binary status as JSON. The frame around the details is written here; a detail goes through
 * pb2json, and where that refuses it (types the gateway does not know, values that are broken) it
 * is kept as bytes: an error must not be lost because its details cannot be shown. */
#include "base/num.h"
#include "json/emit.h"
#include "proto/typepool.h"
#include "proto/wire.h"
#include "transcode/pb2json_priv.h"
#include "transcode/rpcstatus.h"

/* must be last */
#include "base/banned.h"

struct writer {
    struct tr_buf *out;
    const struct tr_rpcstatus_json_opts *o;
    struct tr_arena *scratch;
    unsigned indent;
    bool first;
    enum tr_err err; /* the first; nothing is written after it */
};

static void put(struct writer *w, struct tr_span s)
{
    if (!w->err)
        w->err = tr_buf_append(w->out, s);
}

static void newline(struct writer *w)
{
    if (!w->o->pretty)
        return;
    put(w, TR_SPAN("\n"));
    for (unsigned i = 0; i < w->indent; i++)
        put(w, TR_SPAN("  "));
}

static void open(struct writer *w, char c)
{
    put(w, tr_span(&c, 1));
    w->indent++;
    w->first = true;
}

static void shut(struct writer *w, char c)
{
    w->indent--;
    if (!w->first)
        newline(w);
    put(w, tr_span(&c, 1));
    w->first = false;
}

static void item(struct writer *w)
{
    if (!w->first)
        put(w, TR_SPAN(","));
    newline(w);
    w->first = false;
}

static void key(struct writer *w, struct tr_span quoted)
{
    item(w);
    put(w, quoted);
    put(w, w->o->pretty ? TR_SPAN(": ") : TR_SPAN(":"));
}

static void put_string(struct writer *w, struct tr_span s)
{
    if (!w->err)
        w->err = tr_emit_string(w->out, s, NULL);
}

static void put_number(struct writer *w, uint64_t v)
{
    if (!w->err)
        w->err = tr_emit_u64(w->out, v);
}

static void put_bytes_detail(struct writer *w, struct tr_span any)
{
    struct tr_span url = {"", 0}, value = {"", 0};
    const char *p = any.ptr, *end = any.ptr + any.len;
    uint32_t number, wire;
    while (p < end && tr_wire_tag(&p, end, &number, &wire)) {
        if (wire == TR_WIRE_LEN && number <= 2) {
            if (!tr_wire_len(&p, end, number == 1 ? &url : &value))
                break;
        } else if (!tr_wire_skip(&p, end, number, wire)) {
            break;
        }
    }
    open(w, '{');
    key(w, TR_SPAN("\"@type\""));
    put_string(w, url);
    key(w, TR_SPAN("\"value\""));
    if (!w->err)
        w->err = tr_emit_base64(w->out, value);
    shut(w, '}');
}

static void put_detail(struct writer *w, struct tr_span any)
{
    item(w);
    const struct tr_msgtype *type =
        w->o->pool ? tr_typepool_find(w->o->pool, TR_SPAN("google.protobuf.Any")) : NULL;
    const struct tr_pb2json_opts opts = {
        .pool = w->o->pool,
        .emit_defaults = w->o->emit_defaults,
        .proto_names = w->o->proto_names,
        .enums_as_numbers = w->o->enums_as_numbers,
        .pretty = w->o->pretty,
        .unknown_any_as_base64 = true,
    };
    enum tr_err err = w->err;
    if (!err)
        err = type ? tr_pb2json_indented(type, any, &opts, w->indent, w->out, w->scratch)
                   : TR_ERR_PROTO_UNPRINTABLE;
    if (err == TR_ERR_NOMEM)
        w->err = err;
    else if (err)
        put_bytes_detail(w, any);
    w->first = false;
}

static void put_details(struct writer *w, struct tr_span status)
{
    const char *p = status.ptr, *end = status.ptr + status.len;
    uint32_t number, wire;
    bool opened = false;
    while (p < end && tr_wire_tag(&p, end, &number, &wire)) {
        struct tr_span any;
        if (number != 3 || wire != TR_WIRE_LEN) {
            if (!tr_wire_skip(&p, end, number, wire))
                break;
            continue;
        }
        if (!tr_wire_len(&p, end, &any))
            break;
        if (!opened) {
            key(w, TR_SPAN("\"details\""));
            open(w, '[');
            opened = true;
        }
        put_detail(w, any);
    }
    if (opened)
        shut(w, ']');
}

enum tr_err tr_rpcstatus_json(struct tr_buf *out, struct tr_span status,
                              const struct tr_rpcstatus_json_opts *opts, struct tr_arena *scratch)
{
    const size_t start = out->len;
    if (!status.ptr)
        status = tr_span("", 0);
    struct tr_buf kept;
    tr_buf_init(&kept);
    enum tr_err err = TR_OK;
    if (!opts->allow_debug_info) {
        /* in scratch: it is never longer than what it is made from, but for the tags of varints */
        kept.cap = status.len + (size_t)4 * TR_VARINT_MAX;
        kept.ptr = tr_arena_alloc(scratch, kept.cap);
        err = kept.ptr ? tr_rpcstatus_filter(&kept, status, false) : TR_ERR_NOMEM;
        if (err)
            return err;
        status = tr_buf_span(&kept);
    }
    struct writer w = {.out = out, .o = opts, .scratch = scratch, .first = true};
    struct tr_rpcstatus_view v = tr_rpcstatus_view(status);
    open(&w, '{');
    switch (opts->format) {
    case TR_ERROR_FORMAT_PROBLEM:
        key(&w, TR_SPAN("\"type\""));
        put_string(&w, TR_SPAN("about:blank"));
        key(&w, TR_SPAN("\"title\""));
        put_string(&w, opts->http_title);
        key(&w, TR_SPAN("\"status\""));
        put_number(&w, opts->http_status);
        key(&w, TR_SPAN("\"detail\""));
        put_string(&w, v.message);
        key(&w, TR_SPAN("\"code\""));
        put_number(&w, v.code);
        break;
    case TR_ERROR_FORMAT_AIP193:
        key(&w, TR_SPAN("\"error\""));
        open(&w, '{');
        key(&w, TR_SPAN("\"code\""));
        put_number(&w, opts->http_status);
        key(&w, TR_SPAN("\"message\""));
        put_string(&w, v.message);
        key(&w, TR_SPAN("\"status\""));
        put_string(&w, tr_grpc_code_name(v.code));
        break;
    case TR_ERROR_FORMAT_STATUS:
        key(&w, TR_SPAN("\"code\""));
        put_number(&w, v.code);
        key(&w, TR_SPAN("\"message\""));
        put_string(&w, v.message);
        break;
    }
    put_details(&w, status);
    if (opts->format == TR_ERROR_FORMAT_AIP193)
        shut(&w, '}');
    shut(&w, '}');
    if (w.err)
        out->len = start;
    return w.err;
}
