#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct tr_err_info infos[TR_ERR__COUNT] = {
    [TR_OK] = {"OK", 0, 200, TR_RETRY_NEVER, TR_SPAN_INIT("")},
#define TR_ERR(name, grpc, http, retry, text)                                                      \
    [TR_ERR_##name] = {#name, grpc, http, TR_RETRY_##retry, TR_SPAN_INIT(text)},
#include "base/errors.def"
#undef TR_ERR
};

const struct tr_err_info *tr_err_info(enum tr_err err)
{
    if ((unsigned)err >= TR_ERR__COUNT)
        return &infos[TR_ERR_INTERNAL];
    return &infos[err];
}

/* Cuts a UTF-8 text that did not fit so that no sequence is split. */
static size_t utf8_cut(const char *s, size_t len)
{
    size_t back = 0;
    while (back < 4 && back < len && ((unsigned char)s[len - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back < len && ((unsigned char)s[len - 1 - back] & 0xC0) == 0xC0)
        return len - 1 - back;
    return len;
}

enum tr_err tr_fail(struct tr_status *st, enum tr_err err, const char *fmt, ...)
{
    if (!st)
        return err;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(st->text, sizeof st->text, fmt, ap);
    va_end(ap);
    st->err = err;
    if (n < 0)
        n = 0;
    size_t len = (size_t)n;
    if (len >= sizeof st->text)
        len = utf8_cut(st->text, sizeof st->text - 1);
    st->text_len = (uint16_t)len;
    return err;
}

void tr_status_set_field(struct tr_status *st, struct tr_span field)
{
    if (!st)
        return;
    size_t len = field.len;
    if (len > sizeof st->field)
        len = utf8_cut(field.ptr, sizeof st->field);
    if (len)
        memcpy(st->field, field.ptr, len);
    st->field_len = (uint16_t)len;
}

unsigned tr_http_from_grpc(unsigned grpc_code)
{
    static const uint16_t map[17] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                     400, 409, 400, 501, 500, 503, 500, 401};
    return grpc_code <= 16 ? map[grpc_code] : 500;
}

unsigned tr_grpc_from_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
        return 13;
    case 401:
        return 16;
    case 403:
        return 7;
    case 404:
        return 12;
    case 429:
    case 502:
    case 503:
    case 504:
        return 14;
    default:
        return 2;
    }
}

struct tr_span tr_grpc_code_name(unsigned grpc_code)
{
    static const struct tr_span names[17] = {
        TR_SPAN_INIT("OK"),
        TR_SPAN_INIT("CANCELLED"),
        TR_SPAN_INIT("UNKNOWN"),
        TR_SPAN_INIT("INVALID_ARGUMENT"),
        TR_SPAN_INIT("DEADLINE_EXCEEDED"),
        TR_SPAN_INIT("NOT_FOUND"),
        TR_SPAN_INIT("ALREADY_EXISTS"),
        TR_SPAN_INIT("PERMISSION_DENIED"),
        TR_SPAN_INIT("RESOURCE_EXHAUSTED"),
        TR_SPAN_INIT("FAILED_PRECONDITION"),
        TR_SPAN_INIT("ABORTED"),
        TR_SPAN_INIT("OUT_OF_RANGE"),
        TR_SPAN_INIT("UNIMPLEMENTED"),
        TR_SPAN_INIT("INTERNAL"),
        TR_SPAN_INIT("UNAVAILABLE"),
        TR_SPAN_INIT("DATA_LOSS"),
        TR_SPAN_INIT("UNAUTHENTICATED"),
    };
    return grpc_code <= 16 ? names[grpc_code] : names[2];
}
