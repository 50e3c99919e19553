#include "http/h1_chunk.h"

#include "test.h"

#include <stdio.h>

static const struct tr_h1_limits limits = {.max_headers = 3, .max_bytes = 200, .max_path = 100};

struct outcome {
    enum tr_err err;
    bool done;
    size_t rest; /* input after the body */
    struct tr_buf data;
    char trailers[256];
};

/* step 0: random cuts. */
static struct outcome live(struct tr_span in, size_t step, uint64_t *seed)
{
    struct outcome o = {0};
    struct tr_h1_chunk c;
    struct tr_arena arena;
    tr_h1_chunk_init(&c);
    tr_arena_init(&arena, NULL);
    size_t at = 0;
    while (at < in.len && !o.err && !tr_h1_chunk_done(&c)) {
        size_t n = step ? step : 1 + (size_t)(tr_test_rand(seed) % 7);
        if (n > in.len - at)
            n = in.len - at;
        char *exact = malloc(n);
        memcpy(exact, in.ptr + at, n);
        struct tr_span part = tr_span(exact, n), data;
        while (part.len && !o.err && !tr_h1_chunk_done(&c)) {
            o.err = tr_h1_chunk_next(&c, &limits, &part, &data, NULL);
            if (!o.err)
                assert_int_equal(tr_buf_append(&o.data, data), TR_OK);
        }
        at += n - part.len;
        free(exact);
    }
    o.done = !o.err && tr_h1_chunk_done(&c);
    o.rest = o.done ? in.len - at : 0;
    if (o.done) {
        struct tr_headers t;
        o.err = tr_h1_chunk_trailers(&c, &arena, &t, NULL);
        size_t len = 0;
        for (uint32_t i = 0; !o.err && i < t.count; i++)
            len += (size_t)snprintf(o.trailers + len, sizeof o.trailers - len, "%.*s=%.*s;",
                                    (int)t.items[i].name.len, t.items[i].name.ptr,
                                    (int)t.items[i].value.len, t.items[i].value.ptr);
    }
    tr_arena_fini(&arena);
    tr_h1_chunk_fini(&c);
    return o;
}

static void same(const struct outcome *a, struct outcome *b)
{
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->rest, b->rest);
    assert_true(tr_span_eq(tr_buf_span(&a->data), tr_buf_span(&b->data)) || a->err);
    assert_string_equal(a->trailers, b->trailers);
    tr_buf_fini(&b->data);
}

static struct outcome decode(struct tr_span in)
{
    struct outcome whole = live(in, SIZE_MAX, NULL), other = live(in, 1, NULL);
    same(&whole, &other);
    uint64_t seed = tr_test_seed();
    for (int i = 0; i < 10; i++) {
        other = live(in, 0, &seed);
        same(&whole, &other);
    }
    return whole;
}

static void accepts(const char *in, const char *data, const char *trailers, size_t rest)
{
    struct outcome o = decode(tr_span_cstr(in));
    if (o.err || !o.done)
        fail_msg("refused: %s", in);
    assert_span_equal(tr_buf_span(&o.data), data);
    assert_string_equal(o.trailers, trailers);
    assert_int_equal(o.rest, rest);
    tr_buf_fini(&o.data);
}

static enum tr_err verdict(struct tr_span in)
{
    struct outcome o = decode(in);
    tr_buf_fini(&o.data);
    return o.err ? o.err : o.done ? TR_OK : TR_ERR_AGAIN;
}

static void bodies_are_decoded(void **state)
{
    (void)state;
    accepts("0\r\n\r\n", "", "", 0);
    accepts("5\r\nhello\r\n0\r\n\r\nGET", "hello", "", 3);
    accepts("5\r\nhello\r\n1\r\n!\r\nA\r\n0123456789\r\n000\r\n\r\n", "hello!0123456789", "", 0);
    accepts("a;x\r\n0123456789\r\n0;y=z;q=\"\\\"; \"\r\n\r\n", "0123456789", "", 0);
}

static void extensions_follow_their_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {"0;a",      "0;a=b", "0;a=\"b c;\\\"\"", "0;a;b=c;d",
                                       "0 ;a",     "0; a",  "0;a =b",           "0;a= b",
                                       "0;a=b ;c", "0\t;a", "0;a=\"\"",         "0;a=\"\\x\";b"};
    static const char *const bad[] = {"0;",      "0; ",          "0 ",
                                      "0;;a",    "0;a=",         "0;a=;",
                                      "0;a[b",   "0;a b",        "0;=b",
                                      "0;a=b c", "0;a=\"b",      "0;a=\"b\"c",
                                      "0;a\rX",  "0;a=\"\x01\"", "0;a=\"\\\x01\"",
                                      "0;a=b ",  "0;a ",         "0;\n",
                                      "0;a\n"};
    char text[64];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        (void)snprintf(text, sizeof text, "%s\r\n\r\n", good[i]);
        if (verdict(tr_span_cstr(text)) != TR_OK)
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(text, sizeof text, "%s\r\n\r\n", bad[i]);
        if (verdict(tr_span_cstr(text)) != TR_ERR_BAD_CHUNK)
            fail_msg("accepted: %s", bad[i]);
    }
    assert_int_equal(verdict(tr_span("0;\0a\r\n\r\n", 8)), TR_ERR_BAD_CHUNK);
}

static void extensions_are_limited(void **state)
{
    (void)state;
    static char text[80000];
    size_t n = (size_t)snprintf(text, sizeof text, "1;");
    memset(text + n, 'a', 255);
    (void)snprintf(text + n + 255, 20, "\r\nx\r\n0\r\n\r\n");
    assert_int_equal(verdict(tr_span_cstr(text)), TR_OK); /* 255 and the CR */
    memset(text + n, 'a', 256);
    (void)snprintf(text + n + 256, 20, "\r\nx\r\n0\r\n\r\n");
    assert_int_equal(verdict(tr_span_cstr(text)), TR_ERR_BAD_CHUNK);
    n = 0;
    for (int i = 0; i < 100; i++) { /* each is short enough */
        n += (size_t)snprintf(text + n, 8, "1;");
        memset(text + n, 'a', 200);
        n += 200;
        n += (size_t)snprintf(text + n, 8, "\r\nx\r\n");
    }
    assert_int_equal(verdict(tr_span(text, n)), TR_ERR_BAD_CHUNK);
    assert_int_equal(verdict(tr_span(text, n / 2)), TR_ERR_AGAIN);
}

static void sizes_are_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {"\r\nhello",
                                      " 5\r\nhello",
                                      "+5\r\nhello",
                                      "-1\r\n",
                                      "0x5\r\nhello",
                                      "5 \r\nhello",
                                      "1_0\r\n",
                                      "5\nhello",
                                      "5\rhello",
                                      "g\r\n",
                                      "FFFFFFFFFFFFFFFF0\r\n",
                                      "1000000000000000\r\n",
                                      "0000000000000005\r\n",
                                      "5\r\nhello!\r\n",
                                      "5\r\nhello0\r\n",
                                      "5\r\nhello\n0\r\n\r\n",
                                      "5\r\nhello\rX",
                                      "0\r\n\n",
                                      "0\r\n\rX",
                                      "5,5\r\n",
                                      ";a\r\n",
                                      "5\r\nhell\r\n0\r\n\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (verdict(tr_span_cstr(bad[i])) != TR_ERR_BAD_CHUNK)
            fail_msg("accepted: %s", bad[i]);
    }
    static const char *const open[] = {"",
                                       "5",
                                       "5\r",
                                       "5\r\n",
                                       "5\r\nhell",
                                       "5\r\nhello",
                                       "5\r\nhello\r\n",
                                       "0\r\n",
                                       "0\r\n\r",
                                       "0\r\nA: b\r\n",
                                       "fffffffffffffff\r\n"};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        assert_int_equal(verdict(tr_span_cstr(open[i])), TR_ERR_AGAIN);
}

static void trailers_are_kept_and_limited(void **state)
{
    (void)state;
    accepts("5\r\nhello\r\n0\r\nX-Sum: abc \r\nY:\r\n\r\nrest", "hello", "x-sum=abc;y=;", 4);
    accepts("0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", "", "a=1;b=2;c=3;", 0);
    accepts("0\r\nAuthorization: x\r\nA: 1\r\nContent-Type: y\r\n\r\n", "", "a=1;", 0);
    assert_int_equal(verdict(TR_SPAN("0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n")),
                     TR_ERR_TOO_MANY_HEADERS);
    char text[300];
    (void)snprintf(text, sizeof text, "0\r\nA: %0190d\r\n\r\n", 1);
    assert_int_equal(verdict(tr_span_cstr(text)), TR_OK);
    (void)snprintf(text, sizeof text, "0\r\nA: %0194d\r\n\r\n", 1);
    assert_int_equal(verdict(tr_span_cstr(text)), TR_ERR_HEADERS_TOO_LARGE);
    static const char *const bad[] = {"A\r\n",
                                      "A : b\r\n",
                                      " A: b\r\n",
                                      "A: b\n",
                                      "A: b\r\n c\r\n",
                                      ": b\r\n",
                                      "A: \x01\r\n",
                                      "Content-Length: 5\r\n",
                                      "Transfer-Encoding: chunked\r\n",
                                      "Host: x\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(text, sizeof text, "0\r\n%s\r\n", bad[i]);
        if (verdict(tr_span_cstr(text)) != TR_ERR_BAD_CHUNK)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void decoding_survives_lack_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        struct tr_h1_chunk c;
        struct tr_arena arena;
        struct tr_headers t;
        tr_h1_chunk_init(&c);
        tr_arena_init(&arena, NULL);
        struct tr_span in = TR_SPAN("3\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n"), data;
        enum tr_err err = TR_OK;
        tr_alloc_fail_after(n);
        while (in.len && !err && !tr_h1_chunk_done(&c))
            err = tr_h1_chunk_next(&c, &limits, &in, &data, NULL);
        if (!err)
            err = tr_h1_chunk_trailers(&c, &arena, &t, NULL);
        tr_alloc_fail_after(0);
        tr_arena_fini(&arena);
        tr_h1_chunk_fini(&c);
        if (err == TR_OK)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_decoded),
        cmocka_unit_test(extensions_follow_their_grammar),
        cmocka_unit_test(extensions_are_limited),
        cmocka_unit_test(sizes_are_strict),
        cmocka_unit_test(trailers_are_kept_and_limited),
        cmocka_unit_test(decoding_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
