/* Errors as values.
 *
 * enum tr_err names what went wrong; errors.def is its only list and gives each name its gRPC code,
 * HTTP status, retry class and text. Functions that can fail return enum tr_err (0 is success) and
 * may take an optional caller-owned struct tr_status for detail. An assertion is our bug; a status
 * is anything that a peer, a file or a full machine can cause. */
#ifndef TR_BASE_STATUS_H
#define TR_BASE_STATUS_H

#include "base/span.h"

#include <stddef.h>
#include <stdint.h>

enum tr_err {
    TR_OK = 0,
#define TR_ERR(name, grpc, http, retry, text) TR_ERR_##name,
#include "base/errors.def"
#undef TR_ERR
    TR_ERR__COUNT
};

/* When an attempt that failed so may be repeated. */
enum tr_retry_class {
    TR_RETRY_NEVER,      /* the answer is final */
    TR_RETRY_SAFE,       /* the backend has not acted: any method */
    TR_RETRY_IDEMPOTENT, /* it may have acted: idempotent methods only */
};

struct tr_err_info {
    const char *name;     /* "JSON_SYNTAX" */
    uint8_t grpc_code;    /* 0-16 */
    uint16_t http_status; /* 100-599 */
    enum tr_retry_class retry;
    struct tr_span text;
};

/* Never NULL; unknown values give INTERNAL. */
const struct tr_err_info *tr_err_info(enum tr_err err);

#define TR_STATUS_FIELD_MAX 192
#define TR_STATUS_TEXT_MAX  256

/* Detail of one error. `field` is a dotted field path in proto names, or a JSON pointer in
 * configuration. */
struct tr_status {
    enum tr_err err;
    uint32_t line, column; /* 1-based place in a text input; 0 when there is none */
    size_t offset;         /* bytes from the start of the input */
    uint16_t field_len, text_len;
    char field[TR_STATUS_FIELD_MAX];
    char text[TR_STATUS_TEXT_MAX]; /* UTF-8, never secrets */
};

#define TR_MUST_USE __attribute__((warn_unused_result))

static inline void tr_status_clear(struct tr_status *st)
{
    st->err = TR_OK;
    st->line = st->column = 0;
    st->offset = 0;
    st->field_len = st->text_len = 0;
}

/* Sets err and the formatted text (cut at TR_STATUS_TEXT_MAX on a UTF-8 boundary); st may be NULL.
 * Returns err, so that a failure reads: return tr_fail(st, TR_ERR_JSON_TYPE, "expected a string").
 */
enum tr_err tr_fail(struct tr_status *st, enum tr_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the field path (cut like the text); st may be NULL. */
void tr_status_set_field(struct tr_status *st, struct tr_span field);

static inline struct tr_span tr_status_text(const struct tr_status *st)
{
    return st->text_len ? tr_span(st->text, st->text_len) : tr_err_info(st->err)->text;
}

/* HTTP status of a gRPC code (SPEC §6); other codes give 500. */
unsigned tr_http_from_grpc(unsigned grpc_code);

/* gRPC code of an HTTP status without grpc-status (gRPC's http-grpc-status-mapping.md). */
unsigned tr_grpc_from_http(unsigned http_status);

/* "INVALID_ARGUMENT" for 3; "UNKNOWN" beyond 16. */
struct tr_span tr_grpc_code_name(unsigned grpc_code);

#endif
