/* Content codings, decoded as a stream: HTTP bodies (gzip, br, zstd) and gRPC frames (gzip,
 * deflate, zstd).
 *
 * Vocabulary: a *decoder* is one run of a coding; a *pool* keeps idle decoders of one worker with
 * their memory, so that steady traffic allocates nothing. Not thread-safe.
 *
 * Strict: concatenated gzip members and zstd frames are one run (RFC 1952 §2.2, RFC 8878 §3.1), but
 * nothing else may follow the end, a run that stops early is refused, a zstd window is 8 MiB at
 * most, brotli's large windows (not in RFC 7932) are refused, deflate is the zlib format (RFC 9110
 * §8.4.1.2).
 *
 * Errors: BAD_CODING (malformed, truncated, trailing bytes, window too large), CODING_RATIO,
 * BODY_TOO_LARGE, NOMEM. After an error a decoder is only good to be freed. */
#ifndef TR_HTTP_CODING_H
#define TR_HTTP_CODING_H

#include "base/buf.h"

enum tr_coding {
    TR_CODING_GZIP,
    TR_CODING_DEFLATE,
    TR_CODING_BR,
    TR_CODING_ZSTD,
    TR_CODING__COUNT,
    TR_CODING_IDENTITY = TR_CODING__COUNT, /* nothing to decode */
    TR_CODING_UNKNOWN
};

/* From Content-Encoding or grpc-encoding, without regard to case; "x-gzip" is gzip. */
enum tr_coding tr_coding_from(struct tr_span name);

struct tr_decoder_limits {
    uint64_t max_out;   /* bytes of the whole run; 0: none */
    uint32_t max_ratio; /* out may exceed max_ratio * in by ratio_free bytes; 0: none */
    uint64_t ratio_free;
};
#define TR_DECODER_RATIO      100
#define TR_DECODER_RATIO_FREE ((uint64_t)64 * 1024)

#define TR_CODING_POOL_KEEP 4 /* decoders of each coding */
#define TR_CODING_KEEP_BYTES                                                                       \
    ((size_t)1024 * 1024) /* a decoder that holds more is freed instead of kept */

struct tr_decoder;
struct tr_coding_pool {
    struct tr_decoder *idle[TR_CODING__COUNT];
    unsigned count[TR_CODING__COUNT];
};
static inline void tr_coding_pool_init(struct tr_coding_pool *pool)
{
    *pool = (struct tr_coding_pool){0};
}
void tr_coding_pool_fini(struct tr_coding_pool *pool);

/* coding: one of those below TR_CODING__COUNT. NOMEM. */
enum tr_err tr_decoder_new(struct tr_coding_pool *pool, enum tr_coding coding,
                           const struct tr_decoder_limits *limits,
                           struct tr_decoder **ret_decoder) TR_MUST_USE;
/* Back to the pool it came from. NULL is accepted. */
void tr_decoder_free(struct tr_coding_pool *pool, struct tr_decoder *d);

/* Takes bytes off the front of *in and appends what they decode to. TR_OK: *in is empty and all of
 * it stands in out. TR_ERR_AGAIN: out_max bytes were appended and there may be more; call again,
 * also with an empty *in. */
enum tr_err tr_decoder_feed(struct tr_decoder *d, struct tr_span *in, struct tr_buf *out,
                            size_t out_max) TR_MUST_USE;
/* The input has ended: TR_OK when it ended where a run may end. */
enum tr_err tr_decoder_end(const struct tr_decoder *d) TR_MUST_USE;

/* A whole run at once, for gRPC frames. */
enum tr_err tr_decode_all(struct tr_coding_pool *pool, enum tr_coding coding,
                          const struct tr_decoder_limits *limits, struct tr_span in,
                          struct tr_buf *out) TR_MUST_USE;

#endif
