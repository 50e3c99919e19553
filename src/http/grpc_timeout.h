/* The grpc-timeout header (gRPC over HTTP/2: 1-8 digits and a unit H M S m u n) and
 * x-request-timeout (decimal seconds). */
#ifndef TR_HTTP_GRPC_TIMEOUT_H
#define TR_HTTP_GRPC_TIMEOUT_H

#include "base/span.h"
#include "base/status.h"

/* TR_ERR_BAD_TIMEOUT on any other form. Values above about 292 years saturate. */
enum tr_err tr_grpc_timeout_parse(struct tr_span text, uint64_t *ret_ns) TR_MUST_USE;
/* Seconds as a decimal number ("1", "0.25"), at most 9 digits before the point. Behind it there may
 * be any number, as floating point is printed: what is below a nanosecond is dropped. */
enum tr_err tr_request_timeout_parse(struct tr_span text, uint64_t *ret_ns) TR_MUST_USE;
/* The largest value that is not above ns, in the finest unit that fits 8 digits; at least "1n". out
 * holds 10 bytes. */
struct tr_span tr_grpc_timeout_print(char *out, uint64_t ns);

#endif
