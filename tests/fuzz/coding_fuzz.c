/* Content codings: how the input is cut and how much is asked for at a time change nothing, and the
 * caps hold. Byte 0: the coding in bits 0-1, the rest seeds the cuts. */
#include "fuzz.h"
#include "http/coding.h"

#include <stdlib.h>
#include <string.h>

#define OUT_MAX 200000u

static enum tr_err run(struct tr_coding_pool *pool, enum tr_coding coding, struct tr_span in,
                       uint32_t seed, struct tr_buf *out)
{
    struct tr_decoder_limits limits = {OUT_MAX, TR_DECODER_RATIO, TR_DECODER_RATIO_FREE};
    struct tr_decoder *d;
    enum tr_err err = tr_decoder_new(pool, coding, &limits, &d);
    FUZZ_CHECK(!err);
    while (in.len && !err) {
        seed = seed * 1664525u + 1013904223u;
        size_t n = 1 + (seed >> 20) % 60, out_max = 1 + (seed >> 8) % 5000;
        struct tr_span part = tr_span_sub(in, 0, n);
        size_t len = part.len;
        do {
            size_t before = out->len;
            err = tr_decoder_feed(d, &part, out, out_max);
            FUZZ_CHECK(out->len - before <= out_max);
        } while (err == TR_ERR_AGAIN);
        FUZZ_CHECK(err || part.len == 0);
        in = tr_span_from(in, len);
    }
    if (!err)
        err = tr_decoder_end(d);
    tr_decoder_free(pool, d);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct tr_coding_pool pool;
    struct tr_decoder_limits limits = {OUT_MAX, 0, 0};
    struct tr_buf a, b;
    char *exact = malloc(size - 1);
    FUZZ_CHECK(exact);
    memcpy(exact, data + 1, size - 1);
    struct tr_span in = tr_span(exact, size - 1);
    enum tr_coding coding = (enum tr_coding)(data[0] & 3);
    tr_coding_pool_init(&pool);
    tr_buf_init(&a);
    tr_buf_init(&b);
    enum tr_err whole = tr_decode_all(&pool, coding, &limits, in, &a),
                cut = run(&pool, coding, in, data[0], &b);
    FUZZ_CHECK(a.len <= OUT_MAX + 16384);
    if (!whole)
        FUZZ_CHECK(cut == TR_ERR_CODING_RATIO ||
                   (!cut && tr_span_eq(tr_buf_span(&a), tr_buf_span(&b))));
    else
        FUZZ_CHECK(cut != TR_OK);
    tr_buf_fini(&a);
    tr_buf_fini(&b);
    tr_coding_pool_fini(&pool);
    free(exact);
    return 0;
}
