/* The string forms of well-known types: pure parsers, shared by the JSON reader and the path and
 * query binder.
 *
 * Syntax: the ProtoJSON specification and the comments of timestamp.proto, duration.proto and
 * field_mask.proto. Each failure is TR_ERR_JSON_WKT with a text in st that says what the value
 * should look like. No allocation but the growth of out. */
#ifndef TR_TRANSCODE_WKTPARSE_H
#define TR_TRANSCODE_WKTPARSE_H

#include "base/buf.h"
#include "base/status.h"

/* RFC 3339 with upper-case T and Z, any offset, at most 9 digits of fraction; 0001-01-01T00:00:00Z
 * to 9999-12-31T23:59:59.999999999Z after the offset is applied. */
enum tr_err tr_wkt_timestamp(struct tr_span s, int64_t *ret_seconds, int32_t *ret_nanos,
                             struct tr_status *st) TR_MUST_USE;
/* "-1.5s": at most 9 digits of fraction, at most 315,576,000,000 seconds either way; both outputs
 * carry the sign. */
enum tr_err tr_wkt_duration(struct tr_span s, int64_t *ret_seconds, int32_t *ret_nanos,
                            struct tr_status *st) TR_MUST_USE;

/* Fields 1 (int64) and 2 (int32), the members of Timestamp and Duration. `zeros`: members that are
 * 0 are written too, so that the value overrides another one when both are merged. Returns the
 * length; out has TR_WKT_TIME_MAX bytes. */
#define TR_WKT_TIME_MAX 24
size_t tr_wkt_time_wire(char *out, int64_t seconds, int32_t nanos, bool zeros);

/* "foo,barBaz" appended to out as the `paths` of a FieldMask: "foo", "bar_baz". `snake`:
 * underscores are allowed in the text and kept (queries are often written so); else they are
 * refused, as ProtoJSON does. An empty text is no path. */
enum tr_err tr_wkt_field_mask(struct tr_span s, bool snake, struct tr_buf *out,
                              struct tr_status *st) TR_MUST_USE;

#endif
