/* zstd (RFC 8878), by libzstd. */
#include "base/alloc.h"
#include "http/coding_int.h"

#include <zstd.h>
#include <zstd_errors.h>

#define WINDOW_LOG_MAX 23 /* 8 MiB, RFC 9659 §3 */

struct zstd {
    struct tr_decoder base;
    ZSTD_DCtx *ctx;
};

static struct zstd *zstd_of(struct tr_decoder *d)
{
    return (struct zstd *)d;
}

static void zstd_close(struct tr_decoder *d)
{
    (void)ZSTD_freeDCtx(zstd_of(d)->ctx);
    tr_free(d);
}

static enum tr_err zstd_open(struct tr_decoder **ret_d)
{
    struct zstd *z = tr_calloc(1, sizeof *z);
    if (!z)
        return TR_ERR_NOMEM;
    z->ctx = ZSTD_createDCtx();
    if (!z->ctx ||
        ZSTD_isError(ZSTD_DCtx_setParameter(z->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
        zstd_close(&z->base);
        return TR_ERR_NOMEM;
    }
    *ret_d = &z->base;
    return TR_OK;
}

static enum tr_err zstd_reset(struct tr_decoder *d)
{
    return ZSTD_isError(ZSTD_DCtx_reset(zstd_of(d)->ctx, ZSTD_reset_session_only)) ? TR_ERR_INTERNAL
                                                                                   : TR_OK;
}

static enum tr_err zstd_step(struct tr_decoder *d, struct tr_span *in, char *out, size_t cap,
                             size_t *ret_len)
{
    *ret_len = 0;
    if (d->done && in->len == 0)
        return TR_OK; /* an empty call would begin a new frame */
    ZSTD_inBuffer src = {in->ptr, in->len, 0};
    ZSTD_outBuffer dst = {NULL, cap, 0};
    dst.dst = out;
    size_t r = ZSTD_decompressStream(zstd_of(d)->ctx, &dst, &src);
    if (ZSTD_isError(r))
        return ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation ? TR_ERR_NOMEM
                                                                    : TR_ERR_BAD_CODING;
    if (in->len)
        *in = tr_span_from(*in, src.pos);
    *ret_len = dst.pos;
    d->done = r == 0;
    return TR_OK;
}

static size_t zstd_held(const struct tr_decoder *d)
{
    return ZSTD_sizeof_DCtx(((const struct zstd *)d)->ctx);
}

const struct tr_decoder_ops tr_zstd_ops = {zstd_open, zstd_close, zstd_reset, zstd_step, zstd_held};
