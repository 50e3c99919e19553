/* Content codings of request bodies and compressed gRPC messages of backends, through
 * http/coding.h. */
#include "http/coding.h"
#include "pipeline/rest.h"

#define INFLATE_STEP ((size_t)64 * 1024)

static struct tr_decoder_limits limits_of(uint64_t max_out)
{
    return (struct tr_decoder_limits){
        .max_out = max_out, .max_ratio = TR_DECODER_RATIO, .ratio_free = TR_DECODER_RATIO_FREE};
}

enum tr_err tr_rest_decoder(struct tr_exchange *x, struct tr_rest *r)
{
    const struct tr_header *h =
        tr_headers_find(&x->hs->head.headers, TR_TOKEN_CONTENT_ENCODING, NULL);
    if (!h || h->value.len == 0 || tr_span_ieq(h->value, TR_SPAN("identity")))
        return TR_OK;
    enum tr_coding coding = tr_coding_from(h->value);
    if (tr_headers_find(&x->hs->head.headers, TR_TOKEN_CONTENT_ENCODING, h) ||
        (coding != TR_CODING_GZIP && coding != TR_CODING_BR && coding != TR_CODING_ZSTD)) {
        enum tr_err err = tr_exchange_header(x, TR_SPAN("accept-encoding"),
                                             TR_SPAN("gzip, br, zstd"), TR_TOKEN_ACCEPT_ENCODING);
        return err ? err : TR_ERR_UNSUPPORTED_CODING;
    }
    struct tr_decoder_limits limits =
        limits_of(x->streaming_in ? x->policy->max_stream_bytes : x->policy->max_request_bytes);
    return tr_decoder_new(&x->w->codings, coding, &limits, &r->decoder);
}

enum tr_err tr_rest_decode(struct tr_exchange *x, struct tr_rest *r, struct tr_span data,
                           enum tr_err (*take)(struct tr_exchange *x, struct tr_rest *r,
                                               struct tr_span plain))
{
    for (;;) {
        struct tr_buf *tmp = &x->w->tmp;
        tr_buf_clear(tmp);
        enum tr_err fed = tr_decoder_feed(r->decoder, &data, tmp, INFLATE_STEP);
        if (fed && fed != TR_ERR_AGAIN)
            return fed == TR_ERR_BODY_TOO_LARGE && x->streaming_in ? TR_ERR_STREAM_TOO_LARGE : fed;
        enum tr_err err = take(x, r, tr_buf_span(tmp));
        if (err || !fed || x->ended)
            return err;
    }
}

enum tr_err tr_rest_up_decoder(struct tr_exchange *x, struct tr_rest *r, struct tr_span encoding)
{
    (void)x;
    enum tr_coding coding = tr_coding_from(encoding);
    r->up_coding = (uint8_t)coding;
    /* what was not offered fails when a message is compressed with it */
    return TR_OK;
}

enum tr_err tr_rest_inflate(struct tr_exchange *x, struct tr_rest *r, struct tr_span *message)
{
    enum tr_coding coding = (enum tr_coding)r->up_coding;
    if (coding != TR_CODING_GZIP && coding != TR_CODING_DEFLATE && coding != TR_CODING_ZSTD)
        return TR_ERR_UPSTREAM_COMPRESSION;
    struct tr_decoder_limits limits = limits_of(x->policy->max_response_bytes);
    limits.max_ratio = 0; /* the backend is trusted to compress well; the size is bounded */
    tr_buf_clear(&r->inflated);
    enum tr_err err = tr_decode_all(&x->w->codings, coding, &limits, *message, &r->inflated);
    if (err == TR_ERR_BODY_TOO_LARGE)
        return TR_ERR_UPSTREAM_OVERSIZED;
    if (err == TR_ERR_BAD_CODING || err == TR_ERR_CODING_RATIO)
        return TR_ERR_UPSTREAM_MALFORMED;
    *message = tr_buf_span(&r->inflated);
    return err;
}

void tr_rest_coding_free(struct tr_exchange *x, struct tr_rest *r)
{
    tr_decoder_free(&x->w->codings, r->decoder);
}
