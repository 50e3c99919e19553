#include "http/coding.h"

#include "base/assert.h"
#include "http/coding_int.h"

#define STEP_BYTES ((size_t)16 * 1024)

static const struct tr_decoder_ops *const all_ops[TR_CODING__COUNT] = {
    [TR_CODING_GZIP] = &tr_gzip_ops,
    [TR_CODING_DEFLATE] = &tr_deflate_ops,
    [TR_CODING_BR] = &tr_br_ops,
    [TR_CODING_ZSTD] = &tr_zstd_ops,
};

enum tr_coding tr_coding_from(struct tr_span name)
{
    if (tr_span_ieq(name, TR_SPAN("gzip")) || tr_span_ieq(name, TR_SPAN("x-gzip")))
        return TR_CODING_GZIP;
    if (tr_span_ieq(name, TR_SPAN("deflate")))
        return TR_CODING_DEFLATE;
    if (tr_span_ieq(name, TR_SPAN("br")))
        return TR_CODING_BR;
    if (tr_span_ieq(name, TR_SPAN("zstd")))
        return TR_CODING_ZSTD;
    return tr_span_ieq(name, TR_SPAN("identity")) ? TR_CODING_IDENTITY : TR_CODING_UNKNOWN;
}

void tr_coding_pool_fini(struct tr_coding_pool *pool)
{
    for (int i = 0; i < TR_CODING__COUNT; i++) {
        while (pool->idle[i]) {
            struct tr_decoder *d = pool->idle[i];
            pool->idle[i] = d->next;
            d->ops->close(d);
        }
        pool->count[i] = 0;
    }
}

enum tr_err tr_decoder_new(struct tr_coding_pool *pool, enum tr_coding coding,
                           const struct tr_decoder_limits *limits, struct tr_decoder **ret_decoder)
{
    TR_ASSERT((unsigned)coding < TR_CODING__COUNT);
    struct tr_decoder *d = pool->idle[coding];
    if (d) {
        pool->idle[coding] = d->next;
        pool->count[coding]--;
    } else {
        enum tr_err err = all_ops[coding]->open(&d);
        if (err)
            return err;
        d->ops = all_ops[coding];
        d->coding = (uint8_t)coding;
    }
    d->limits = *limits;
    d->in_bytes = d->out_bytes = 0;
    d->done = false;
    *ret_decoder = d;
    return TR_OK;
}

void tr_decoder_free(struct tr_coding_pool *pool, struct tr_decoder *d)
{
    if (!d)
        return;
    if (pool->count[d->coding] >= TR_CODING_POOL_KEEP ||
        d->ops->held_bytes(d) > TR_CODING_KEEP_BYTES || d->ops->reset(d) != TR_OK) {
        d->ops->close(d);
        return;
    }
    d->next = pool->idle[d->coding];
    pool->idle[d->coding] = d;
    pool->count[d->coding]++;
}

static enum tr_err check_limits(const struct tr_decoder *d)
{
    const struct tr_decoder_limits *l = &d->limits;
    if (l->max_out && d->out_bytes > l->max_out)
        return TR_ERR_BODY_TOO_LARGE;
    if (l->max_ratio && d->out_bytes > l->ratio_free &&
        (d->out_bytes - l->ratio_free) / l->max_ratio > d->in_bytes)
        return TR_ERR_CODING_RATIO;
    return TR_OK;
}

enum tr_err tr_decoder_feed(struct tr_decoder *d, struct tr_span *in, struct tr_buf *out,
                            size_t out_max)
{
    size_t appended = 0;
    for (;;) {
        size_t cap = out_max - appended < STEP_BYTES ? out_max - appended : STEP_BYTES, n = 0,
               had = in->len;
        if (cap == 0)
            return TR_ERR_AGAIN;
        enum tr_err err = tr_buf_reserve(out, cap);
        if (!err)
            err = d->ops->step(d, in, tr_buf_end(out), cap, &n);
        if (err)
            return err;
        out->len += n;
        appended += n;
        d->in_bytes += had - in->len;
        d->out_bytes += n;
        err = check_limits(d);
        if (err)
            return err;
        if (n < cap && in->len == 0)
            return TR_OK;
        if (n == 0 && in->len == had)
            return TR_ERR_BAD_CODING;
    }
}

enum tr_err tr_decoder_end(const struct tr_decoder *d)
{
    return d->done ? TR_OK : TR_ERR_BAD_CODING;
}

enum tr_err tr_decode_all(struct tr_coding_pool *pool, enum tr_coding coding,
                          const struct tr_decoder_limits *limits, struct tr_span in,
                          struct tr_buf *out)
{
    struct tr_decoder *d;
    enum tr_err err = tr_decoder_new(pool, coding, limits, &d);
    if (err)
        return err;
    do {
        err = tr_decoder_feed(d, &in, out, SIZE_MAX);
    } while (err == TR_ERR_AGAIN);
    if (!err)
        err = tr_decoder_end(d);
    tr_decoder_free(pool, d);
    return err;
}
