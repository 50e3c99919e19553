#include "http/h1_parse.h"

#include "test.h"

#include <stdio.h>

static const struct tr_h1_limits limits = {
    .max_headers = 100, .max_bytes = 65536, .max_path = 8192};

/* What a life of the parser came to. */
struct outcome {
    enum tr_err err;
    size_t len; /* of the head; 0 when it is not complete */
    struct tr_arena arena;
    struct tr_req_head head;
};

static void finish(struct outcome *o, struct tr_h1_scan *scan, struct tr_span in)
{
    memset(&o->head, 0, sizeof o->head);
    if (o->err != TR_OK)
        return;
    char *copy = tr_arena_alloc(&o->arena, o->len);
    assert_non_null(copy);
    memcpy(copy, in.ptr, o->len);
    o->err = tr_h1_parse(copy, o->len, scan, &o->arena, &o->head, NULL);
}

/* cuts: the scan sees prefixes that grow by 1 (step 1), at random (step 0) or at once (step
 * SIZE_MAX). */
static void live(struct outcome *o, struct tr_span in, const struct tr_h1_limits *lim, size_t step,
                 uint64_t *seed)
{
    struct tr_h1_scan scan;
    tr_h1_scan_init(&scan);
    tr_arena_init(&o->arena, NULL);
    o->err = TR_ERR_AGAIN;
    o->len = 0;
    size_t have = 0;
    while (o->err == TR_ERR_AGAIN && have < in.len) {
        size_t n = step ? step : 1 + (size_t)(tr_test_rand(seed) % 40);
        have = n > in.len - have ? in.len : have + n;
        char *exact = malloc(have ? have : 1); /* so that ASan sees a read beyond */
        memcpy(exact, in.ptr, have);
        o->err = tr_h1_scan(&scan, tr_span(exact, have), lim, &o->len, NULL);
        free(exact);
    }
    finish(o, &scan, in);
}

static void same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->err, b->err);
    assert_int_equal(a->len, b->len);
    assert_int_equal(a->head.method, b->head.method);
    assert_true(tr_span_eq(a->head.path, b->head.path));
    assert_true(tr_span_eq(a->head.query, b->head.query));
    assert_true(tr_span_eq(a->head.authority, b->head.authority));
    assert_int_equal(a->head.headers.count, b->head.headers.count);
    for (uint32_t i = 0; i < a->head.headers.count; i++) {
        assert_true(tr_span_eq(a->head.headers.items[i].name, b->head.headers.items[i].name));
        assert_true(tr_span_eq(a->head.headers.items[i].value, b->head.headers.items[i].value));
        assert_int_equal(a->head.headers.items[i].token, b->head.headers.items[i].token);
    }
}

/* Three lives with one result, which the caller frees. */
static struct outcome parse_with(struct tr_span in, const struct tr_h1_limits *lim)
{
    struct outcome whole, single, cut;
    live(&whole, in, lim, SIZE_MAX, NULL);
    live(&single, in, lim, 1, NULL);
    same(&whole, &single);
    tr_arena_fini(&single.arena);
    uint64_t seed = tr_test_seed();
    for (int i = 0; i < 5; i++) {
        live(&cut, in, lim, 0, &seed);
        same(&whole, &cut);
        tr_arena_fini(&cut.arena);
    }
    return whole;
}

static enum tr_err verdict(const char *text)
{
    struct outcome o = parse_with(tr_span_cstr(text), &limits);
    tr_arena_fini(&o.arena);
    return o.err;
}

#define HOST "Host: a\r\n"

static void a_request_is_taken_apart(void **state)
{
    (void)state;
    static const char text[] =
        "POST /v1/x?y=1 HTTP/1.1\r\nHost: Example.com\r\nContent-LENGTH:  12 \t\r\n"
        "X-A:\r\nX-a: b, \"c\" \x80\r\nte: trailers\r\n\r\nhello";
    struct outcome o = parse_with(tr_span_cstr(text), &limits);
    assert_int_equal(o.err, TR_OK);
    assert_int_equal(o.len, sizeof text - 1 - 5);
    assert_int_equal(o.head.method, TR_METHOD_POST);
    assert_span_equal(o.head.method_text, "POST");
    assert_span_equal(o.head.path, "/v1/x");
    assert_span_equal(o.head.query, "y=1");
    assert_span_equal(o.head.authority, "Example.com");
    assert_int_equal(o.head.version, 11);
    assert_int_equal(o.head.content_length, 12);
    assert_true(o.head.te_trailers);
    assert_false(o.head.end);
    const struct tr_headers *h = &o.head.headers;
    assert_int_equal(h->count, 4);
    assert_span_equal(h->items[0].name, "content-length");
    assert_span_equal(h->items[0].value, "12");
    assert_int_equal(h->items[0].token, TR_TOKEN_CONTENT_LENGTH);
    assert_span_equal(h->items[1].name, "x-a");
    assert_span_equal(h->items[1].value, "");
    assert_span_equal(h->items[2].value, "b, \"c\" \x80");
    tr_arena_fini(&o.arena);
}

static void values_of_any_length_are_kept_whole(void **state)
{
    (void)state;
    for (size_t n = 0; n < 80; n++) {
        char text[256], value[80];
        memset(value, 'v', n);
        int len =
            snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "X: %.*s\r\n\r\n", (int)n, value);
        struct outcome o = parse_with(tr_span(text, (size_t)len), &limits);
        assert_int_equal(o.err, TR_OK);
        assert_int_equal(o.head.headers.items[0].value.len, n);
        tr_arena_fini(&o.arena);
        if (n == 0)
            continue;
        for (int c = 0; c < 256; c++) { /* one odd byte at each place */
            size_t at = (size_t)len - 4 - n + (size_t)c % n;
            char old = text[at];
            text[at] = (char)c;
            bool ok = c == '\t' || (c >= 0x20 && c != 0x7f);
            o = parse_with(tr_span(text, (size_t)len), &limits);
            if ((o.err == TR_OK) != ok)
                fail_msg("byte %d at %zu of %zu: %d", c, (size_t)c % n, n, (int)o.err);
            tr_arena_fini(&o.arena);
            text[at] = old;
        }
    }
}

static void malformed_request_lines_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {" GET / HTTP/1.1\r\n" HOST "\r\n",
                                      "GET  / HTTP/1.1\r\n" HOST "\r\n",
                                      "GET / HTTP/1.1 \r\n" HOST "\r\n",
                                      "GET /  HTTP/1.1\r\n" HOST "\r\n",
                                      "GET\t/ HTTP/1.1\r\n" HOST "\r\n",
                                      "GET /\tHTTP/1.1\r\n" HOST "\r\n",
                                      "GET /\r\n\r\n",
                                      "GET\r\n\r\n",
                                      "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
                                      "\nGET / HTTP/1.1\r\n" HOST "\r\n",
                                      "\rGET / HTTP/1.1\r\n" HOST "\r\n",
                                      "GET / http/1.1\r\n" HOST "\r\n",
                                      "GET / HTTP/1.1\n" HOST "\r\n",
                                      "GET / HTTP/1.1\r" HOST "\r\n",
                                      "GET / HTTP/1\r\n" HOST "\r\n",
                                      "GET / HTTP/01.1\r\n" HOST "\r\n",
                                      "GET / HTTP/1.10\r\n" HOST "\r\n",
                                      "GET / HTTP/ 1.1\r\n" HOST "\r\n",
                                      "GET / HTTPS/1.1\r\n" HOST "\r\n",
                                      "G(T / HTTP/1.1\r\n" HOST "\r\n",
                                      "G\x80T / HTTP/1.1\r\n" HOST "\r\n",
                                      "GET /a b HTTP/1.1\r\n" HOST "\r\n",
                                      "GET /\x01 HTTP/1.1\r\n" HOST "\r\n",
                                      "GET /\x7f HTTP/1.1\r\n" HOST "\r\n",
                                      "   \r\n\r\n",
                                      "\x16\x03\x01\x02",
                                      "AMETHODNAMETHATISLONGERTHANTHIRTYTWO / HTTP/1.1\r\n" HOST
                                      "\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (verdict(bad[i]) != TR_ERR_BAD_REQUEST_LINE)
            fail_msg("%s: %d", bad[i], (int)verdict(bad[i]));
    }
    assert_int_equal(verdict("GET / HTTP/1.2\r\n" HOST "\r\n"), TR_ERR_HTTP_VERSION);
    assert_int_equal(verdict("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), TR_ERR_HTTP_VERSION);
    assert_int_equal(verdict("GET / HTTP/0.9\r\n\r\n"), TR_ERR_HTTP_VERSION);
    struct outcome o = parse_with(tr_span("GET /\0 HTTP/1.1\r\n\r\n", 20), &limits);
    assert_int_equal(o.err, TR_ERR_BAD_REQUEST_LINE);
    tr_arena_fini(&o.arena);
}

static void one_empty_line_before_a_request_is_tolerated(void **state)
{
    (void)state;
    struct outcome o = parse_with(TR_SPAN("\r\nGET /p HTTP/1.0\r\nA: b\r\n\r\n"), &limits);
    assert_int_equal(o.err, TR_OK);
    assert_span_equal(o.head.path, "/p");
    assert_int_equal(o.head.version, 10);
    assert_span_equal(o.head.headers.items[0].value, "b");
    tr_arena_fini(&o.arena);
}

static void malformed_header_lines_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "NoColon\r\n", ": x\r\n",        "A : x\r\n",       "A\t: x\r\n",
        "B[d: x\r\n",  "A: x\r\n y\r\n", "A: x\r\n\ty\r\n", " A: x\r\n",
        "A: x\n",      "A: x\rB: y\r\n", "A: x\x01\r\n",    "A: x\x7f\r\n",
        "\x80: x\r\n", "A\r\n: x\r\n",   "A: \x0bx\r\n",    " \r\n",
        "A: x\r\r\n",  "A: \r\n\n",      "a\x1f: x\r\n",    "x:\rTransfer-Encoding: chunked\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "%s\r\n", bad[i]);
        if (verdict(text) != TR_ERR_BAD_HEADER)
            fail_msg("%s: %d", bad[i], (int)verdict(text));
    }
    struct outcome o = parse_with(tr_span("GET / HTTP/1.1\r\nA: \0\r\n\r\n", 24), &limits);
    assert_int_equal(o.err, TR_ERR_BAD_HEADER);
    tr_arena_fini(&o.arena);
}

static void an_incomplete_head_asks_for_more(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\n" HOST "A: b\r\n\r\n";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        struct outcome o = parse_with(tr_span(text, n), &limits);
        assert_int_equal(o.err, TR_ERR_AGAIN);
        tr_arena_fini(&o.arena);
    }
    assert_int_equal(verdict(text), TR_OK);
}

static void limits_are_exact(void **state)
{
    (void)state;
    static const char text[] = "GET /12345 HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
    struct tr_h1_limits lim = {.max_headers = 2, .max_bytes = sizeof text - 1, .max_path = 6};
    struct outcome o = parse_with(tr_span_cstr(text), &lim);
    assert_int_equal(o.err, TR_OK);
    tr_arena_fini(&o.arena);
    lim.max_path = 5;
    o = parse_with(tr_span_cstr(text), &lim);
    assert_int_equal(o.err, TR_ERR_TARGET_TOO_LONG);
    tr_arena_fini(&o.arena);
    lim.max_path = 6;
    lim.max_headers = 1;
    o = parse_with(tr_span_cstr(text), &lim);
    assert_int_equal(o.err, TR_ERR_TOO_MANY_HEADERS);
    tr_arena_fini(&o.arena);
    lim.max_headers = 2;
    for (uint32_t max = 1; max < sizeof text - 1; max++) {
        lim.max_bytes = max;
        o = parse_with(tr_span_cstr(text), &lim);
        assert_int_equal(o.err, max < 21 ? TR_ERR_TARGET_TOO_LONG : TR_ERR_HEADERS_TOO_LARGE);
        tr_arena_fini(&o.arena);
    }
    lim = (struct tr_h1_limits){.max_headers = 2, .max_bytes = 1000, .max_path = 6};
    o = parse_with(TR_SPAN("GET /12345?a-query-is-no-path HTTP/1.1\r\nHost: a\r\n\r\n"), &lim);
    assert_int_equal(o.err, TR_OK);
    tr_arena_fini(&o.arena);
}

static void a_refused_scan_still_names_its_request(void **state)
{
    (void)state;
    static const struct tr_span in = TR_SPAN_INIT("PUT /p?q HTTP/1.1\r\nA: b\n");
    struct tr_h1_scan scan;
    size_t len;
    struct tr_req_head head = {0};
    struct tr_status st;
    tr_h1_scan_init(&scan);
    assert_int_equal(tr_h1_scan(&scan, in, &limits, &len, &st), TR_ERR_BAD_HEADER);
    assert_int_equal(st.err, TR_ERR_BAD_HEADER);
    tr_h1_parse_refused(in, &scan, &head);
    assert_int_equal(head.method, TR_METHOD_PUT);
    assert_span_equal(head.path, "/p");
    assert_span_equal(head.query, "q");
    assert_int_equal(head.version, 11);
    memset(&head, 0, sizeof head);
    tr_h1_scan_init(&scan);
    assert_int_equal(tr_h1_scan(&scan, TR_SPAN("(x"), &limits, &len, &st), TR_ERR_BAD_REQUEST_LINE);
    tr_h1_parse_refused(TR_SPAN("(x"), &scan, &head);
    assert_int_equal(head.method_text.len, 0);
    assert_int_equal(head.path.len, 0);
}

static void parsing_survives_lack_of_memory(void **state)
{
    (void)state;
    static const struct tr_span in = TR_SPAN_INIT("GET / HTTP/1.1\r\n" HOST "A: b\r\nC: d\r\n\r\n");
    for (uint64_t n = 1;; n++) {
        struct tr_h1_scan scan;
        struct tr_arena arena;
        struct tr_req_head head = {0};
        size_t len = 0;
        char copy[64];
        tr_h1_scan_init(&scan);
        tr_arena_init(&arena, NULL);
        assert_int_equal(tr_h1_scan(&scan, in, &limits, &len, NULL), TR_OK);
        memcpy(copy, in.ptr, in.len);
        tr_alloc_fail_after(n);
        enum tr_err err = tr_h1_parse(copy, len, &scan, &arena, &head, NULL);
        tr_alloc_fail_after(0);
        tr_arena_fini(&arena);
        if (err == TR_OK)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 10);
    }
}

static void connection_close_is_a_list_member(void **state)
{
    (void)state;
    struct tr_header items[] = {
        {TR_SPAN_INIT("connection"), TR_SPAN_INIT("TE, Close"), TR_TOKEN_CONNECTION}};
    struct tr_headers h = {items, 1, 1};
    assert_true(tr_h1_says_close(&h));
    items[0].value = TR_SPAN("closed, keep-alive");
    assert_false(tr_h1_says_close(&h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(values_of_any_length_are_kept_whole),
        cmocka_unit_test(malformed_request_lines_are_refused),
        cmocka_unit_test(one_empty_line_before_a_request_is_tolerated),
        cmocka_unit_test(malformed_header_lines_are_refused),
        cmocka_unit_test(an_incomplete_head_asks_for_more),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(a_refused_scan_still_names_its_request),
        cmocka_unit_test(parsing_survives_lack_of_memory),
        cmocka_unit_test(connection_close_is_a_list_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
