/* Length-prefixed messages of gRPC over HTTP/2 ("Length-Prefixed-Message": one byte of flag, four
 * of length, the message).
 *
 * Contract: the unframer is fed the chunks of a stream as they come. A message that lies whole in
 * one chunk is returned as a view of it; one that does not is gathered in the caller's buffer.
 * Nothing is decompressed here. */
#ifndef TR_TRANSCODE_FRAME_H
#define TR_TRANSCODE_FRAME_H

#include "base/bufpool.h"
#include "base/span.h"
#include "base/status.h"

#define TR_FRAME_HEADER_BYTES 5

struct tr_unframer {
    struct tr_buf *gather; /* the caller's; holds part of a message between chunks */
    struct tr_bufpool
        *pool;        /* where gather grows, NULL: on the heap; the caller may set it after init */
    size_t max_bytes; /* of one message; 0: no limit */
    enum tr_err
        oversized; /* what a longer one is: TR_ERR_UPSTREAM_OVERSIZED or TR_ERR_BODY_TOO_LARGE */
    uint32_t need; /* bytes of the message whose header is complete */
    uint8_t header_len; /* bytes of header that are there */
    bool done;          /* gather holds a message that was returned */
    uint8_t header[TR_FRAME_HEADER_BYTES];
};

struct tr_frame {
    struct tr_span message; /* valid until the next call or until the chunk is gone */
    bool compressed;
};

/* gather is cleared, not freed; it must be the unframer's alone until the stream ends. */
void tr_unframer_init(struct tr_unframer *u, struct tr_buf *gather, size_t max_bytes,
                      enum tr_err oversized);
/* Takes bytes from the front of *chunk. TR_OK: *ret_frame is the next message. TR_ERR_AGAIN: the
 * chunk is used up. TR_ERR_BAD_GRPC_FRAME: a flag that is neither 0 nor 1. `oversized`: judged by
 * the header, before any byte of the message is kept. Errors are final. */
enum tr_err tr_unframer_next(struct tr_unframer *u, struct tr_span *chunk,
                             struct tr_frame *ret_frame, struct tr_status *st) TR_MUST_USE;
/* Whether the stream may end here: not inside a message. */
bool tr_unframer_at_boundary(const struct tr_unframer *u);

static inline void tr_frame_put_header(char out[TR_FRAME_HEADER_BYTES], bool compressed,
                                       uint32_t len)
{
    out[0] = (char)(compressed ? 1 : 0);
    out[1] = (char)(len >> 24);
    out[2] = (char)(len >> 16);
    out[3] = (char)(len >> 8);
    out[4] = (char)len;
}

#endif
