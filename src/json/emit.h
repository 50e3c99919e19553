/* JSON text into a tr_buf: strings, numbers, base64. Structure (braces, commas) is the caller's.
 *
 * Every function reserves what it needs and fails only with TR_ERR_NOMEM, leaving a buffer that may
 * hold a part of the value. Output is valid UTF-8 whatever the input. */
#ifndef TR_JSON_EMIT_H
#define TR_JSON_EMIT_H

#include "base/buf.h"
#include "base/span.h"
#include "base/status.h"

/* A quoted string. Escaped: quote, backslash, U+0000-001F (short forms where they exist). Each
 * maximal invalid subpart of ill-formed UTF-8 becomes U+FFFD and adds 1 to *bad_utf8 (may be NULL).
 */
enum tr_err tr_emit_string(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8) TR_MUST_USE;
/* The same without the quotes. */
enum tr_err tr_emit_string_content(struct tr_buf *out, struct tr_span s,
                                   uint64_t *bad_utf8) TR_MUST_USE;
/* Bare integers; the caller adds the quotes that ProtoJSON wants for 64-bit types. */
enum tr_err tr_emit_i64(struct tr_buf *out, int64_t v) TR_MUST_USE;
enum tr_err tr_emit_u64(struct tr_buf *out, uint64_t v) TR_MUST_USE;
/* Shortest round-trip; not finite: "NaN", "Infinity", "-Infinity" with quotes, as ProtoJSON prints
 * them. */
enum tr_err tr_emit_double(struct tr_buf *out, double v) TR_MUST_USE;
enum tr_err tr_emit_float(struct tr_buf *out, float v) TR_MUST_USE;
/* Quoted standard base64 with padding. */
enum tr_err tr_emit_base64(struct tr_buf *out, struct tr_span bytes) TR_MUST_USE;

#endif
