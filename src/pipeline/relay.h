/* ROUTE and RELAY of an exchange: the way to the backend and back (attempt.h begins the calls). */
#ifndef TR_PIPELINE_RELAY_H
#define TR_PIPELINE_RELAY_H

#include "pipeline/exchange.h"

/* The dialect of a request that the codec refused: a gRPC client gets trailers (SPEC §8). */
const struct tr_dialect *tr_relay_dialect(const struct tr_exchange *x);
/* Sets route, policy and dialect, or answers (OPTIONS, health). An error is a refusal (404, 405,
 * 415, 505...). */
enum tr_err tr_relay_route(struct tr_exchange *x) TR_MUST_USE;
/* Counts the finished exchange. */
void tr_relay_count(struct tr_exchange *x);

/* What a call tells its exchange. */
extern const struct tr_ucall_events tr_relay_events;

/* gRPC code and HTTP status of a stream that the backend reset with an HTTP/2 error code ("HTTP2
 * Transport Mapping" of gRPC). */
void tr_relay_reset_status(uint32_t h2_code, uint8_t *ret_grpc_code, uint16_t *ret_http_status);
/* "application/grpc", alone or followed by '+' or ';'. */
bool tr_is_grpc_type(struct tr_span content_type);

#endif
