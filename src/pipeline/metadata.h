/* Headers across the gateway (SPEC §7): end-to-end request headers to metadata, metadata to
 * response headers. */
#ifndef TR_PIPELINE_METADATA_H
#define TR_PIPELINE_METADATA_H

#include "pipeline/exchange.h"

/* Fills x->metadata from the request's head: what is end to end, in order, plus te, content-type,
 * x-forwarded-*, x-request-id, grpc-accept-encoding. content_type: what the backend gets. native:
 * grpc-* pass (but grpc-timeout). TR_ERR_BAD_METADATA for a -bin value that is not base64. */
enum tr_err tr_metadata_request(struct tr_exchange *x, struct tr_span content_type,
                                bool native) TR_MUST_USE;
/* Appends what a client may see of the backend's initial or trailing metadata to out. `native`
 * keeps nothing more (grpc-* of a native answer are added by its dialect). */
enum tr_err tr_metadata_response(struct tr_exchange *x, const struct tr_headers *in,
                                 struct tr_headers *out) TR_MUST_USE;

/* Uniform; for ids and jitter, not for secrets. */
uint64_t tr_metadata_random(struct tr_pworker *w);

#endif
