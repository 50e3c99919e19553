/* google.rpc.Status: made from the gateway's own errors and from what a backend sent, printed for
 * REST clients.
 *
 * Vocabulary: a *binary status* is a serialized google.rpc.Status {1 code, 2 message, 3 repeated
 * Any details}, the form in which a failure travels inside the gateway; it may have come off the
 * wire of a backend, so nothing here trusts it. Follows "gRPC over HTTP/2" (Responses:
 * Status-Message), AIP-193, RFC 9457.
 *
 * All functions append to `out`; after an error out is as long as before. They fail only with
 * TR_ERR_NOMEM. */
#ifndef TR_TRANSCODE_RPCSTATUS_H
#define TR_TRANSCODE_RPCSTATUS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"
#include "base/status.h"

struct tr_typepool;

#define TR_RPCSTATUS_DOMAIN "transom" /* ErrorInfo.domain of the gateway's own errors */

/* A binary status of an error of the gateway: the code given (which may differ from that of the
 * error's table: SPEC §6 on HTTP-level refusals), the text with line and column, and details:
 * ErrorInfo {reason: name of the error}; BadRequest with one field violation when the code is
 * INVALID_ARGUMENT; RetryInfo when retry_delay_ms >= 0. */
enum tr_err tr_rpcstatus_build(struct tr_buf *out, const struct tr_status *st, unsigned grpc_code,
                               int64_t retry_delay_ms) TR_MUST_USE;

/* A binary status from the trailers of a backend: grpc_message as sent (percent-encoded; ptr NULL
 * when absent), details_bin as sent (base64, padded or not; ptr NULL when absent). Code and message
 * of the trailers win over those inside details_bin, whose message stands in when there is none.
 * What cannot be read is left out. */
enum tr_err tr_rpcstatus_from_trailers(struct tr_buf *out, unsigned grpc_code,
                                       struct tr_span grpc_message, struct tr_span details_bin,
                                       struct tr_arena *scratch) TR_MUST_USE;

/* Status-Message: percent-decoded (a bad escape stays as it is), ill-formed UTF-8 becomes U+FFFD.
 */
enum tr_err tr_rpcstatus_decode_message(struct tr_buf *out,
                                        struct tr_span grpc_message) TR_MUST_USE;
/* Everything but %x20-24 and %x26-7E as %XX. */
enum tr_err tr_rpcstatus_encode_message(struct tr_buf *out, struct tr_span message) TR_MUST_USE;

/* Views into a binary status; what is malformed is as if absent. */
struct tr_rpcstatus_view {
    unsigned code;
    struct tr_span message;
};
struct tr_rpcstatus_view tr_rpcstatus_view(struct tr_span status);
/* Seconds of RetryInfo, rounded up, for Retry-After; -1 when there is none (or it is negative). */
int64_t tr_rpcstatus_retry_after(struct tr_span status);

enum tr_error_format {
    TR_ERROR_FORMAT_STATUS, /* {"code":5,"message":"...","details":[...]} */
    TR_ERROR_FORMAT_AIP193, /* {"error":{"code":404,"message":"...","status":"NOT_FOUND","details":[...]}}
                             */
    TR_ERROR_FORMAT_PROBLEM, /* RFC 9457: type, title, status, detail, and code (gRPC), details */
};

struct tr_rpcstatus_json_opts {
    const struct tr_typepool *pool; /* resolves details; NULL: all in base64 */
    enum tr_error_format format;
    unsigned http_status;                                      /* of the answer */
    struct tr_span http_title;                                 /* its reason phrase, for PROBLEM */
    bool allow_debug_info;                                     /* keep google.rpc.DebugInfo */
    bool pretty, proto_names, enums_as_numbers, emit_defaults; /* as tr_pb2json_opts, for details */
};

/* JSON of a binary status. A detail whose type is not known, or that has no JSON form, becomes
 * {"@type": url, "value": base64}. */
enum tr_err tr_rpcstatus_json(struct tr_buf *out, struct tr_span status,
                              const struct tr_rpcstatus_json_opts *opts,
                              struct tr_arena *scratch) TR_MUST_USE;
/* The binary status as a client may see it: without google.rpc.DebugInfo unless allowed. */
enum tr_err tr_rpcstatus_filter(struct tr_buf *out, struct tr_span status,
                                bool allow_debug_info) TR_MUST_USE;

#endif
