#include "http/coding.h"

#include "test.h"

#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

static const struct tr_decoder_limits none = {0};

/* -- encoders
 * -----------------------------------------------------------------------------------------------
 */

static size_t z_encode(int window, const void *in, size_t len, char *out, size_t cap)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = z.total_out;
    assert_int_equal(deflateEnd(&z), Z_OK);
    return n;
}

static size_t zstd_encode(int window_log, const void *in, size_t len, char *out, size_t cap)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log)));
    ZSTD_inBuffer src = {in, len, 0};
    ZSTD_outBuffer dst = {out, cap, 0};
    while (src.pos <
           src.size) /* continue: the size is not known to the header, so that the window is */
        assert_false(ZSTD_isError(ZSTD_compressStream2(c, &dst, &src, ZSTD_e_continue)));
    while (ZSTD_compressStream2(c, &dst, &src, ZSTD_e_end) != 0)
        ;
    (void)ZSTD_freeCCtx(c);
    return dst.pos;
}

/* Uncompressed meta-blocks of at most 64 KiB (RFC 7932 §9.2). */
static size_t br_encode(const char *in, size_t len, char *out)
{
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        size_t part = len - at < 65536 ? len - at : 65536;
        /* WBITS=0 once; ISLAST=0, MNIBBLES=0, MLEN-1, ISUNCOMPRESSED=1 */
        unsigned bits = (unsigned)(part - 1) << 3 | 1u << 19;
        if (at == 0)
            bits <<= 1;
        out[n++] = (char)(bits & 255);
        out[n++] = (char)(bits >> 8 & 255);
        out[n++] = (char)(bits >> 16 & 255);
        memcpy(out + n, in + at, part);
        n += part;
        at += part;
    }
    out[n++] = len ? 3 : 6;
    return n;
}

static char big[300000];    /* text */
static char packed[400000]; /* its coding */

static size_t encode(enum tr_coding coding, const char *in, size_t len)
{
    switch (coding) {
    case TR_CODING_GZIP:
        return z_encode(31, in, len, packed, sizeof packed);
    case TR_CODING_DEFLATE:
        return z_encode(15, in, len, packed, sizeof packed);
    case TR_CODING_BR:
        return br_encode(in, len, packed);
    case TR_CODING_ZSTD:
        return zstd_encode(18, in, len, packed, sizeof packed);
    case TR_CODING_IDENTITY:
    case TR_CODING_UNKNOWN:
        break;
    }
    return 0;
}

/* -- lives
 * ----------------------------------------------------------------------------------------------------
 */

/* step: bytes a feed, 0 random; out_max bytes a call. */
static enum tr_err live(struct tr_coding_pool *pool, enum tr_coding coding,
                        const struct tr_decoder_limits *limits, struct tr_span in, size_t step,
                        size_t out_max, uint64_t *seed, struct tr_buf *out)
{
    struct tr_decoder *d;
    enum tr_err err = tr_decoder_new(pool, coding, limits, &d);
    size_t at = 0;
    while (!err && at < in.len) {
        size_t n = step ? step : 1 + (size_t)(tr_test_rand(seed) % 5000);
        if (n > in.len - at)
            n = in.len - at;
        char *exact = malloc(n);
        memcpy(exact, in.ptr + at, n);
        struct tr_span part = tr_span(exact, n);
        do {
            size_t before = out->len;
            err = tr_decoder_feed(d, &part, out, out_max);
            if (!err || err == TR_ERR_AGAIN)
                assert_true(out->len - before <= out_max);
        } while (err == TR_ERR_AGAIN);
        if (!err)
            assert_int_equal(part.len, 0);
        at += n;
        free(exact);
    }
    if (!err)
        err = tr_decoder_end(d);
    tr_decoder_free(pool, d);
    return err;
}

static enum tr_err decode(enum tr_coding coding, struct tr_span in, struct tr_buf *out)
{
    struct tr_coding_pool pool;
    tr_coding_pool_init(&pool);
    enum tr_err err = live(&pool, coding, &none, in, SIZE_MAX, SIZE_MAX, NULL, out);
    struct tr_buf other;
    tr_buf_init(&other);
    uint64_t seed = tr_test_seed();
    for (int i = in.len > 5000 ? 1 : 0; i < 4; i++) {
        tr_buf_clear(&other);
        assert_int_equal(
            live(&pool, coding, &none, in, i == 0 ? 1 : 0, i == 2 ? 100 : SIZE_MAX, &seed, &other),
            err);
        if (!err)
            assert_true(tr_span_eq(tr_buf_span(out), tr_buf_span(&other)));
    }
    tr_buf_fini(&other);
    tr_coding_pool_fini(&pool);
    return err;
}

static enum tr_err verdict(enum tr_coding coding, struct tr_span in)
{
    struct tr_buf out;
    tr_buf_init(&out);
    enum tr_err err = decode(coding, in, &out);
    tr_buf_fini(&out);
    return err;
}

static void fill(void)
{
    uint64_t seed = 7;
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)("abcdefgh {}\":,01"[tr_test_rand(&seed) % 16]);
}

/* -- tests
 * ----------------------------------------------------------------------------------------------------
 */

static void names_are_known_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(tr_coding_from(TR_SPAN("GZip")), TR_CODING_GZIP);
    assert_int_equal(tr_coding_from(TR_SPAN("x-gzip")), TR_CODING_GZIP);
    assert_int_equal(tr_coding_from(TR_SPAN("deflate")), TR_CODING_DEFLATE);
    assert_int_equal(tr_coding_from(TR_SPAN("br")), TR_CODING_BR);
    assert_int_equal(tr_coding_from(TR_SPAN("zstd")), TR_CODING_ZSTD);
    assert_int_equal(tr_coding_from(TR_SPAN("identity")), TR_CODING_IDENTITY);
    assert_int_equal(tr_coding_from(TR_SPAN("compress")), TR_CODING_UNKNOWN);
    assert_int_equal(tr_coding_from(TR_SPAN("")), TR_CODING_UNKNOWN);
}

static void what_was_encoded_comes_back(void **state)
{
    (void)state;
    fill();
    static const size_t sizes[] = {0, 1, 100, 16384, 70000, sizeof big};
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            size_t n = encode((enum tr_coding)c, big, sizes[i]);
            struct tr_buf out;
            tr_buf_init(&out);
            assert_int_equal(decode((enum tr_coding)c, tr_span(packed, n), &out), TR_OK);
            assert_int_equal(out.len, sizes[i]);
            if (out.len)
                assert_memory_equal(out.ptr, big, out.len);
            tr_buf_fini(&out);
        }
    }
}

static void compressed_brotli_is_read(void **state)
{
    (void)state;
    static const char in[] = "\x13\x89\x00\x00\x04\xc4\x6d\xa9\x2f\x0b\x47\xe3\x43\xb1\xe4\x87\x83"
                             "\x41\x2d\x17\x45\xc4\x64\x65\x22\x00"
                             "\xd3\xba\xd2\xf2\x98\x36\x1c\x25\x9a\xf7\xed\x21\x59\x04\x29\x24\x46"
                             "\x02\x6b\x51\xaa\x2d\x3f\x76\xf9\x05";
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(decode(TR_CODING_BR, tr_span(in, sizeof in - 1), &out), TR_OK);
    assert_span_equal(tr_buf_span(&out), "{\"name\":\"shelves/1/books/2\",\"title\":\"Gateway\"}"
                                         "{\"name\":\"shelves/1/books/2\",\"title\":\"Gateway\"}"
                                         "{\"name\":\"shelves/1/books/2\",\"title\":\"Gateway\"}");
    tr_buf_fini(&out);
}

static void truncated_and_trailing_bytes_are_refused(void **state)
{
    (void)state;
    static const char text[] =
        "a text of some length, a text of some length, a text of another length";
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        size_t n = encode((enum tr_coding)c, text, sizeof text);
        for (size_t cut = 0; cut < n; cut++) {
            if (verdict((enum tr_coding)c, tr_span(packed, cut)) != TR_ERR_BAD_CODING)
                fail_msg("coding %d cut at %zu of %zu", c, cut, n);
        }
        packed[n] = 'x';
        assert_int_equal(verdict((enum tr_coding)c, tr_span(packed, n + 1)), TR_ERR_BAD_CODING);
        memset(packed + n, 0, 20);
        assert_int_equal(verdict((enum tr_coding)c, tr_span(packed, n + 20)), TR_ERR_BAD_CODING);
    }
}

static void corrupt_bytes_are_refused_or_harmless(void **state)
{
    (void)state;
    fill();
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        size_t n = encode((enum tr_coding)c, big, 500), refused = 0;
        for (size_t i = 0; i < n; i++) {
            packed[i] = (char)(packed[i] ^ 0x55);
            enum tr_err err = verdict((enum tr_coding)c, tr_span(packed, n));
            assert_true(err == TR_OK || err == TR_ERR_BAD_CODING);
            refused += err != TR_OK;
            packed[i] = (char)(packed[i] ^ 0x55);
        }
        assert_true(refused > 0);
    }
    assert_int_equal(verdict(TR_CODING_GZIP, TR_SPAN("\x1f\x8b\x08 not really")),
                     TR_ERR_BAD_CODING);
    size_t n =
        z_encode(-15, "raw", 3, packed, sizeof packed); /* deflate is the zlib format, not raw */
    assert_int_equal(verdict(TR_CODING_DEFLATE, tr_span(packed, n)), TR_ERR_BAD_CODING);
    n = z_encode(15, "zlib", 4, packed, sizeof packed);
    assert_int_equal(verdict(TR_CODING_GZIP, tr_span(packed, n)), TR_ERR_BAD_CODING);
}

static void members_and_frames_are_concatenated(void **state)
{
    (void)state;
    static const enum tr_coding joined[] = {TR_CODING_GZIP, TR_CODING_ZSTD};
    for (int i = 0; i < 2; i++) {
        size_t n = encode(joined[i], "one ", 4);
        char first[100];
        memcpy(first, packed, n);
        size_t m = encode(joined[i], "two", 3);
        memmove(packed + n, packed, m);
        memcpy(packed, first, n);
        struct tr_buf out;
        tr_buf_init(&out);
        assert_int_equal(decode(joined[i], tr_span(packed, n + m), &out), TR_OK);
        assert_span_equal(tr_buf_span(&out), "one two");
        tr_buf_fini(&out);
        assert_int_equal(verdict(joined[i], tr_span(packed, n + m - 1)), TR_ERR_BAD_CODING);
    }
    size_t n = encode(TR_CODING_DEFLATE, "one", 3);
    memcpy(packed + n, packed, n);
    assert_int_equal(verdict(TR_CODING_DEFLATE, tr_span(packed, 2 * n)), TR_ERR_BAD_CODING);
}

static void windows_are_limited(void **state)
{
    (void)state;
    size_t n = zstd_encode(23, "window", 6, packed, sizeof packed);
    assert_int_equal(verdict(TR_CODING_ZSTD, tr_span(packed, n)), TR_OK);
    n = zstd_encode(24, "window", 6, packed, sizeof packed);
    assert_int_equal(verdict(TR_CODING_ZSTD, tr_span(packed, n)), TR_ERR_BAD_CODING);
    assert_int_equal(verdict(TR_CODING_BR, TR_SPAN("\x11\x1e\x00\x00\x00")), TR_ERR_BAD_CODING);
}

static void output_is_capped(void **state)
{
    (void)state;
    fill();
    struct tr_coding_pool pool;
    tr_coding_pool_init(&pool);
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        size_t n = encode((enum tr_coding)c, big, 100000);
        struct tr_decoder_limits limits = {.max_out = 100000};
        struct tr_buf out;
        tr_buf_init(&out);
        assert_int_equal(tr_decode_all(&pool, (enum tr_coding)c, &limits, tr_span(packed, n), &out),
                         TR_OK);
        limits.max_out = 99999;
        tr_buf_clear(&out);
        assert_int_equal(tr_decode_all(&pool, (enum tr_coding)c, &limits, tr_span(packed, n), &out),
                         TR_ERR_BODY_TOO_LARGE);
        limits.max_out = 10;
        tr_buf_fini(&out);
        assert_int_equal(tr_decode_all(&pool, (enum tr_coding)c, &limits, tr_span(packed, n), &out),
                         TR_ERR_BODY_TOO_LARGE);
        assert_true(out.len <= 16384); /* not much is made of a bomb */
        tr_buf_fini(&out);
    }
    tr_coding_pool_fini(&pool);
}

static void expansion_is_capped(void **state)
{
    (void)state;
    struct tr_coding_pool pool;
    tr_coding_pool_init(&pool);
    struct tr_decoder_limits limits = {.max_ratio = TR_DECODER_RATIO,
                                       .ratio_free = TR_DECODER_RATIO_FREE};
    memset(big, 'a', sizeof big);
    static const enum tr_coding strong[] = {TR_CODING_GZIP, TR_CODING_DEFLATE, TR_CODING_ZSTD};
    struct tr_buf out;
    tr_buf_init(&out);
    for (int i = 0; i < 3; i++) {
        size_t n = encode(strong[i], big, sizeof big);
        assert_true(n < 1000);
        tr_buf_clear(&out);
        assert_int_equal(tr_decode_all(&pool, strong[i], &limits, tr_span(packed, n), &out),
                         TR_ERR_CODING_RATIO);
        assert_true(out.len < sizeof big);
        n = encode(strong[i], big, 60000); /* small bodies may expand as they like */
        tr_buf_clear(&out);
        assert_int_equal(tr_decode_all(&pool, strong[i], &limits, tr_span(packed, n), &out), TR_OK);
        assert_int_equal(out.len, 60000);
    }
    static const char bomb[] = "\xcb\xff\xff\x3f\x00\x24\xc2\xe2\xb1\x40\x72\xef\xff\xf2\xcf\x12"
                               "\x03\x80\x04\x40\x1c\x16\x80\x8e\x23\x06";
    tr_buf_clear(&out); /* 10 MB of "a" */
    assert_int_equal(
        tr_decode_all(&pool, TR_CODING_BR, &limits, tr_span(bomb, sizeof bomb - 1), &out),
        TR_ERR_CODING_RATIO);
    assert_true(out.len < 100000);
    tr_buf_fini(&out);
    tr_coding_pool_fini(&pool);
}

static void steady_traffic_allocates_nothing(void **state)
{
    (void)state;
    fill();
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        struct tr_coding_pool pool;
        struct tr_buf out;
        tr_coding_pool_init(&pool);
        tr_buf_init(&out);
        size_t n = encode((enum tr_coding)c, big, 20000);
        for (int i = 0; i < 6; i++) {
            struct tr_alloc_stats before = tr_alloc_stats();
            tr_buf_clear(&out);
            assert_int_equal(
                tr_decode_all(&pool, (enum tr_coding)c, &none, tr_span(packed, n), &out), TR_OK);
            if (i > 2 && tr_alloc_stats().calls != before.calls)
                fail_msg("coding %d", c);
        }
        assert_int_equal(pool.count[c], 1);
        tr_buf_fini(&out);
        tr_coding_pool_fini(&pool);
    }
}

static void a_pool_keeps_few_and_no_large_decoders(void **state)
{
    (void)state;
    struct tr_coding_pool pool;
    struct tr_decoder *d[TR_CODING_POOL_KEEP + 2];
    tr_coding_pool_init(&pool);
    for (size_t i = 0; i < sizeof d / sizeof d[0]; i++)
        assert_int_equal(tr_decoder_new(&pool, TR_CODING_GZIP, &none, &d[i]), TR_OK);
    for (size_t i = 0; i < sizeof d / sizeof d[0]; i++)
        tr_decoder_free(&pool, d[i]);
    tr_decoder_free(&pool, NULL);
    assert_int_equal(pool.count[TR_CODING_GZIP], TR_CODING_POOL_KEEP);
    fill();
    size_t n = zstd_encode(23, big, sizeof big, packed, sizeof packed);
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(tr_decode_all(&pool, TR_CODING_ZSTD, &none, tr_span(packed, n), &out), TR_OK);
    assert_int_equal(pool.count[TR_CODING_ZSTD], 0);
    tr_buf_fini(&out);
    tr_coding_pool_fini(&pool);
}

static void a_failed_run_leaves_no_trace_in_the_next(void **state)
{
    (void)state;
    fill();
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        struct tr_coding_pool pool;
        struct tr_buf out;
        tr_coding_pool_init(&pool);
        tr_buf_init(&out);
        size_t n = encode((enum tr_coding)c, big, 3000);
        assert_int_equal(
            tr_decode_all(&pool, (enum tr_coding)c, &none, tr_span(packed, n / 2), &out),
            TR_ERR_BAD_CODING);
        tr_buf_clear(&out);
        assert_int_equal(tr_decode_all(&pool, (enum tr_coding)c, &none, tr_span(packed, n), &out),
                         TR_OK);
        assert_int_equal(out.len, 3000);
        tr_buf_fini(&out);
        tr_coding_pool_fini(&pool);
    }
}

static void every_lack_of_memory_is_a_status(void **state)
{
    (void)state;
    fill();
    for (int c = 0; c < TR_CODING__COUNT; c++) {
        size_t n = encode((enum tr_coding)c, big, 20000);
        enum tr_err err = TR_ERR_NOMEM;
        for (uint64_t fail = 1; err != TR_OK; fail++) {
            struct tr_coding_pool pool;
            struct tr_buf out;
            tr_coding_pool_init(&pool);
            tr_buf_init(&out);
            tr_alloc_fail_after(fail);
            err = tr_decode_all(&pool, (enum tr_coding)c, &none, tr_span(packed, n), &out);
            tr_alloc_fail_after(0);
            assert_true(err == TR_OK || err == TR_ERR_NOMEM);
            assert_true(fail < 60);
            tr_buf_fini(&out);
            tr_coding_pool_fini(&pool);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_known_in_any_case),
        cmocka_unit_test(what_was_encoded_comes_back),
        cmocka_unit_test(compressed_brotli_is_read),
        cmocka_unit_test(truncated_and_trailing_bytes_are_refused),
        cmocka_unit_test(corrupt_bytes_are_refused_or_harmless),
        cmocka_unit_test(members_and_frames_are_concatenated),
        cmocka_unit_test(windows_are_limited),
        cmocka_unit_test(output_is_capped),
        cmocka_unit_test(expansion_is_capped),
        cmocka_unit_test(steady_traffic_allocates_nothing),
        cmocka_unit_test(a_pool_keeps_few_and_no_large_decoders),
        cmocka_unit_test(a_failed_run_leaves_no_trace_in_the_next),
        cmocka_unit_test(every_lack_of_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
