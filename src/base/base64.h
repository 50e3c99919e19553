/* Base64 (RFC 4648), both alphabets. */
#ifndef TR_BASE_BASE64_H
#define TR_BASE_BASE64_H

#include "base/span.h"
#include "base/status.h"

static inline size_t tr_base64_encoded_len(size_t n)
{
    return (n + 2) / 3 * 4;
}
static inline size_t tr_base64_decoded_max(size_t n)
{
    return n / 4 * 3 + 3;
}
/* Standard alphabet with padding; out holds tr_base64_encoded_len(in.len) bytes; returns that
 * length. */
size_t tr_base64_encode(char *out, struct tr_span in);
/* Without padding, as gRPC sends -bin metadata; returns the length. */
size_t tr_base64_encode_unpadded(char *out, struct tr_span in);
/* Standard and URL-safe characters (also mixed), padding optional but right when present, no white
 * space, no stray characters; unused trailing bits may be anything (as protobuf does). out holds
 * tr_base64_decoded_max(in.len). TR_ERR_JSON_BASE64 leaves *ret_len unset. In place (out == in.ptr)
 * is allowed. */
enum tr_err tr_base64_decode(char *out, struct tr_span in, size_t *ret_len) TR_MUST_USE;

#endif
