/* gRPC frames: the messages must not depend on where the stream is cut. The first byte chooses the
 * cuts, the second the limit. */
#include "fuzz.h"
#include "transcode/frame.h"

#include <stdlib.h>

static void put(struct tr_buf *out, const void *p, size_t n)
{
    FUZZ_CHECK(!tr_buf_append(out, tr_span(p, n)));
}

static enum tr_err unframe(struct tr_buf *log, struct tr_span stream, bool cut, uint32_t cuts,
                           size_t max)
{
    struct tr_buf gather;
    struct tr_unframer u;
    enum tr_err err = TR_ERR_AGAIN;
    tr_buf_init(&gather);
    tr_unframer_init(&u, &gather, max, TR_ERR_BODY_TOO_LARGE);
    while (stream.len && err == TR_ERR_AGAIN) {
        cuts = cuts * 1664525 + 1013904223;
        size_t n = cut ? (cuts >> 24) % 13 + 1 : stream.len;
        n = n < stream.len ? n : stream.len;
        char *part = malloc(n);
        FUZZ_CHECK(part);
        memcpy(part, stream.ptr, n);
        struct tr_span chunk = tr_span(part, n);
        struct tr_frame f;
        while ((err = tr_unframer_next(&u, &chunk, &f, NULL)) == TR_OK) {
            FUZZ_CHECK(!max || f.message.len <= max);
            put(log, &f.compressed, sizeof f.compressed);
            put(log, &f.message.len, sizeof f.message.len);
            put(log, f.message.ptr, f.message.len);
        }
        free(part);
        stream = tr_span_from(stream, n);
    }
    FUZZ_CHECK(err != TR_ERR_NOMEM);
    bool boundary = tr_unframer_at_boundary(&u);
    put(log, &boundary, sizeof boundary);
    tr_buf_fini(&gather);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct tr_span stream = tr_span((const char *)data + 2, size - 2);
    struct tr_buf whole, cut;
    tr_buf_init(&whole);
    tr_buf_init(&cut);
    enum tr_err a = unframe(&whole, stream, false, data[0], data[1]);
    enum tr_err b = unframe(&cut, stream, true, data[0], data[1]);
    FUZZ_CHECK(a == b);
    FUZZ_CHECK(a != TR_ERR_AGAIN || tr_span_eq(tr_buf_span(&whole), tr_buf_span(&cut)));
    tr_buf_fini(&whole);
    tr_buf_fini(&cut);
    return 0;
}
