/* Answers that the gateway makes itself, and the only place where a failure becomes an answer (SPEC
 * §6).
 *
 * REST: status and body by the policy's error_format (binary google.rpc.Status when protobuf won).
 * Native gRPC: a trailers-only answer. */
#ifndef TR_PIPELINE_REPLY_H
#define TR_PIPELINE_REPLY_H

#include "pipeline/exchange.h"

/* x->end to an answer, in REST. as_proto: the client's Accept chose protobuf; pretty: JSON with
 * line breaks. */
enum tr_err tr_reply_rest(struct tr_exchange *x, bool as_proto, bool pretty) TR_MUST_USE;
/* x->end to a trailers-only answer. */
enum tr_err tr_reply_grpc(struct tr_exchange *x) TR_MUST_USE;
/* The binary google.rpc.Status of x->end (built on demand), in the arena. */
enum tr_err tr_reply_status(struct tr_exchange *x, struct tr_span *ret_status) TR_MUST_USE;
/* JSON of x->end in google.rpc.Status form, appended to out: for stream formats. */
enum tr_err tr_reply_status_json(struct tr_exchange *x, struct tr_buf *out) TR_MUST_USE;
/* Fills x->end from the trailers (or trailers-only headers) of a backend. http_status: of its
 * answer. */
enum tr_err tr_reply_take_trailers(struct tr_exchange *x, unsigned http_status,
                                   const struct tr_headers *trailers) TR_MUST_USE;
/* grpc-status, grpc-message (encoded) and, when there are details, grpc-status-details-bin of
 * x->end. */
enum tr_err tr_reply_trailers(struct tr_exchange *x, struct tr_headers *out) TR_MUST_USE;
unsigned tr_reply_http_status(const struct tr_exchange *x);
/* A complete small answer of another kind (health): text/plain. */
void tr_reply_text(struct tr_exchange *x, unsigned status, struct tr_span content_type,
                   struct tr_span body);

#endif
