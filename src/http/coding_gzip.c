/* gzip (RFC 1952) and deflate in the zlib format (RFC 1950), by zlib. */
#include "base/alloc.h"
#include "http/coding_int.h"

#define ZLIB_CONST /* zlib does not write to its input, and says so */
#include <limits.h>
#include <zlib.h>

struct gzip {
    struct tr_decoder base;
    z_stream z;
    bool gzip;
    bool between; /* a member has ended and the next has not begun */
};

static struct gzip *gzip_of(struct tr_decoder *d)
{
    return (struct gzip *)d;
}

static voidpf z_alloc(voidpf opaque, uInt items, uInt size)
{
    (void)opaque;
    return tr_calloc(items, size);
}

static void z_free(voidpf opaque, voidpf ptr)
{
    (void)opaque;
    tr_free(ptr);
}

static enum tr_err z_open(struct tr_decoder **ret_d, bool gzip)
{
    struct gzip *g = tr_calloc(1, sizeof *g);
    if (!g)
        return TR_ERR_NOMEM;
    g->gzip = gzip;
    g->z.zalloc = z_alloc;
    g->z.zfree = z_free;
    if (inflateInit2(&g->z, gzip ? 16 + MAX_WBITS : MAX_WBITS) != Z_OK) {
        tr_free(g);
        return TR_ERR_NOMEM;
    }
    *ret_d = &g->base;
    return TR_OK;
}

static enum tr_err gzip_open(struct tr_decoder **ret_d)
{
    return z_open(ret_d, true);
}

static enum tr_err deflate_open(struct tr_decoder **ret_d)
{
    return z_open(ret_d, false);
}

static void gzip_close(struct tr_decoder *d)
{
    (void)inflateEnd(&gzip_of(d)->z);
    tr_free(d);
}

static enum tr_err gzip_reset(struct tr_decoder *d)
{
    struct gzip *g = gzip_of(d);
    g->between = false;
    return inflateReset(&g->z) == Z_OK ? TR_OK : TR_ERR_INTERNAL;
}

static enum tr_err gzip_step(struct tr_decoder *d, struct tr_span *in, char *out, size_t cap,
                             size_t *ret_len)
{
    struct gzip *g = gzip_of(d);
    *ret_len = 0;
    if (g->between) {
        if (in->len == 0)
            return TR_OK;
        if (!g->gzip || gzip_reset(d) != TR_OK)
            return TR_ERR_BAD_CODING;
        d->done = false;
    }
    uInt avail_in = in->len < UINT_MAX ? (uInt)in->len : UINT_MAX,
         avail_out = cap < UINT_MAX ? (uInt)cap : UINT_MAX;
    g->z.next_in = (const Bytef *)in->ptr;
    g->z.avail_in = avail_in;
    g->z.next_out = (Bytef *)out;
    g->z.avail_out = avail_out;
    int r = inflate(&g->z, Z_NO_FLUSH);
    if (avail_in)
        *in = tr_span_from(*in, avail_in - g->z.avail_in);
    *ret_len = avail_out - g->z.avail_out;
    if (r == Z_STREAM_END) {
        d->done = g->between = true;
        return TR_OK;
    }
    if (r == Z_MEM_ERROR)
        return TR_ERR_NOMEM;
    return r == Z_OK || r == Z_BUF_ERROR ? TR_OK : TR_ERR_BAD_CODING;
}

static size_t gzip_held(const struct tr_decoder *d)
{
    (void)d;
    return (size_t)48 * 1024; /* the window and zlib's state */
}

const struct tr_decoder_ops tr_gzip_ops = {gzip_open, gzip_close, gzip_reset, gzip_step, gzip_held};
const struct tr_decoder_ops tr_deflate_ops = {deflate_open, gzip_close, gzip_reset, gzip_step,
                                              gzip_held};
