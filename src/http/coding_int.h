/* What a coding brings to coding.c. */
#ifndef TR_HTTP_CODING_INT_H
#define TR_HTTP_CODING_INT_H

#include "http/coding.h"

struct tr_decoder_ops {
    enum tr_err (*open)(struct tr_decoder **ret_d);
    void (*close)(struct tr_decoder *d);
    /* Ready for a new run, memory kept. */
    enum tr_err (*reset)(struct tr_decoder *d);
    /* Moves *in forward and writes at most cap bytes; sets d->done where a run may end. A step that
     * neither takes nor gives a byte ends the feed. */
    enum tr_err (*step)(struct tr_decoder *d, struct tr_span *in, char *out, size_t cap,
                        size_t *ret_len);
    size_t (*held_bytes)(const struct tr_decoder *d);
};

struct tr_decoder {
    const struct tr_decoder_ops *ops;
    struct tr_decoder *next; /* in the pool */
    struct tr_decoder_limits limits;
    uint64_t in_bytes, out_bytes;
    uint8_t coding;
    bool done; /* the input may end here */
};

extern const struct tr_decoder_ops tr_gzip_ops, tr_deflate_ops, tr_br_ops, tr_zstd_ops;

#endif
