/* Content codings of request bodies and compressed gRPC messages of backends, through http/coding.h. */
#include "pipeline/rest.h"

enum tr_err tr_rest_decoder(struct tr_exchange *x, struct tr_rest *r)
{
    const struct tr_header *h = tr_headers_find(&x->hs->head.headers, TR_TOKEN_CONTENT_ENCODING, NULL);
    (void)r;
    if (!h || tr_span_ieq(h->value, TR_SPAN("identity")))
        return TR_OK;
    return TR_ERR_UNSUPPORTED_CODING;
}

enum tr_err tr_rest_up_decoder(struct tr_exchange *x, struct tr_rest *r, struct tr_span encoding)
{
    (void)x;
    (void)r;
    (void)encoding;
    return TR_OK;
}

enum tr_err tr_rest_inflate(struct tr_exchange *x, struct tr_rest *r, struct tr_span *message)
{
    (void)x;
    (void)r;
    (void)message;
    return TR_ERR_UPSTREAM_COMPRESSION;
}

void tr_rest_coding_free(struct tr_exchange *x, struct tr_rest *r)
{
    (void)x;
    (void)r;
}
