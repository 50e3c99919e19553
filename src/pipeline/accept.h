/* Content negotiation (RFC 9110 §8.3, §12.5.1): what a request carries, and which form of answer
 * its client wants. */
#ifndef TR_PIPELINE_ACCEPT_H
#define TR_PIPELINE_ACCEPT_H

#include "base/status.h"
#include "http/msg.h"

struct tr_plan; /* transcode/plan.h */

enum tr_input {
    TR_INPUT_NONE, /* no body is mapped: any byte is an error */
    TR_INPUT_JSON,
    TR_INPUT_PROTO,     /* the binary message; streams: gRPC's own framing is not accepted,
                           varint-delimited is */
    TR_INPUT_HTTP_BODY, /* bytes as they are */
};

enum tr_format {
    TR_FORMAT_JSON, /* unary; streams: one JSON array */
    TR_FORMAT_NDJSON,
    TR_FORMAT_SSE,
    TR_FORMAT_JSON_SEQ,
    TR_FORMAT_PROTO, /* unary; streams: varint-delimited */
};

/* The best of the formats offered (bit set of 1 << enum tr_format) by the q-values of all Accept
 * fields; the more specific range decides a type's q; ties go to the order of the enum. Absent, or
 * nothing acceptable: JSON. */
enum tr_format tr_accept_choose(const struct tr_headers *headers, unsigned offered);
struct tr_span tr_format_type(enum tr_format format);
/* The name under which the client asked for the format that was chosen: lines have two. */
struct tr_span tr_accept_type(const struct tr_headers *headers, enum tr_format format);

/* How the body of a request is read, by its Content-Type and what the rule maps it to; *ret_type is
 * that header's value. no_body: it is known to be empty. UNSUPPORTED_MEDIA_TYPE, BAD_HEADER. */
enum tr_err tr_input_choose(const struct tr_headers *headers, const struct tr_plan *plan,
                            bool no_body, enum tr_input *ret_input, struct tr_span *ret_type,
                            struct tr_status *st) TR_MUST_USE;

/* "application/json; charset=utf-8" against type/subtype: lower-case compare of the media type
 * alone. */
bool tr_media_type_is(struct tr_span value, struct tr_span type);
/* The media type without parameters. */
struct tr_span tr_media_type(struct tr_span value);
/* A parameter's value ("utf-8"), unquoted; ptr NULL when absent. */
struct tr_span tr_media_param(struct tr_span value, struct tr_span name);

#endif
