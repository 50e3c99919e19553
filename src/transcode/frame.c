#include "transcode/frame.h"

#include "base/assert.h"

/* must be last */
#include "base/banned.h"

void tr_unframer_init(struct tr_unframer *u, struct tr_buf *gather, size_t max_bytes,
                      enum tr_err oversized)
{
    *u = (struct tr_unframer){.gather = gather, .max_bytes = max_bytes, .oversized = oversized};
    tr_buf_clear(gather);
}

/* Completes the header from the chunk; TR_ERR_AGAIN when it is used up before. */
static enum tr_err take_header(struct tr_unframer *u, struct tr_span *chunk, struct tr_status *st)
{
    while (u->header_len < TR_FRAME_HEADER_BYTES) {
        if (!chunk->len)
            return TR_ERR_AGAIN;
        u->header[u->header_len++] = (uint8_t)*chunk->ptr;
        *chunk = tr_span_from(*chunk, 1);
        if (u->header[0] > 1)
            return tr_fail(st, TR_ERR_BAD_GRPC_FRAME, "the flag of a gRPC frame is %u",
                           u->header[0]);
    }
    u->need = (uint32_t)u->header[1] << 24 | (uint32_t)u->header[2] << 16 |
              (uint32_t)u->header[3] << 8 | u->header[4];
    if (u->max_bytes && u->need > u->max_bytes)
        return tr_fail(st, u->oversized, "a message of %lu bytes is above the limit of %lu",
                       (unsigned long)u->need, (unsigned long)u->max_bytes);
    return TR_OK;
}

/* A pooled buffer for all of the message where there is one that large, so that it is not copied
 * while it comes; else for what has come. */
static enum tr_err make_room(struct tr_unframer *u, size_t part)
{
    size_t all = u->need - u->gather->len;
    return tr_bufpool_reserve(u->pool, u->gather, u->need <= TR_BUFPOOL_MAX / 4 ? all : part);
}

enum tr_err tr_unframer_next(struct tr_unframer *u, struct tr_span *chunk,
                             struct tr_frame *ret_frame, struct tr_status *st)
{
    if (!chunk->ptr)
        *chunk = tr_span("", 0);
    if (u->done) {
        tr_buf_clear(u->gather);
        u->done = false;
    }
    enum tr_err err = take_header(u, chunk, st);
    if (err)
        return err;
    struct tr_span message;
    if (!u->gather->len && chunk->len >= u->need) {
        message = tr_span(chunk->ptr, u->need);
        *chunk = tr_span_from(*chunk, u->need);
    } else {
        /* grows with what arrives, not with what the header promises */
        size_t part = u->need - u->gather->len;
        if (part > chunk->len)
            part = chunk->len;
        err = u->pool ? make_room(u, part) : TR_OK;
        if (!err)
            err = tr_buf_append(u->gather, tr_span_sub(*chunk, 0, part));
        if (err)
            return err;
        *chunk = tr_span_from(*chunk, part);
        if (u->gather->len < u->need)
            return TR_ERR_AGAIN;
        message = tr_buf_span(u->gather);
        u->done = true;
    }
    *ret_frame = (struct tr_frame){.message = message, .compressed = u->header[0] == 1};
    u->header_len = 0;
    return TR_OK;
}

bool tr_unframer_at_boundary(const struct tr_unframer *u)
{
    return u->header_len == 0;
}
