#include "http/h1_emit.h"

#include "test.h"

static struct tr_header items[] = {
    {TR_SPAN_INIT("content-type"), TR_SPAN_INIT("application/json"), TR_TOKEN_CONTENT_TYPE},
    {TR_SPAN_INIT("x-a"), TR_SPAN_INIT("1"), TR_TOKEN_NONE},
    {TR_SPAN_INIT("x-evil"), TR_SPAN_INIT("1\r\nset-cookie: a"), TR_TOKEN_NONE},
    {TR_SPAN_INIT("x evil"), TR_SPAN_INIT("1"), TR_TOKEN_NONE},
    {TR_SPAN_INIT("content-length"), TR_SPAN_INIT("99"), TR_TOKEN_CONTENT_LENGTH},
    {TR_SPAN_INIT("transfer-encoding"), TR_SPAN_INIT("chunked"), TR_TOKEN_TRANSFER_ENCODING},
    {TR_SPAN_INIT("connection"), TR_SPAN_INIT("x"), TR_TOKEN_CONNECTION},
    {TR_SPAN_INIT("date"), TR_SPAN_INIT("x"), TR_TOKEN_DATE},
};
static struct tr_resp_head head = {
    .status = 200, .headers = {items, sizeof items / sizeof items[0], 8}, .content_length = 5};

static void a_head_leaves_out_what_is_not_the_sinks(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(tr_h1_emit_head(&out, &head), TR_OK);
    assert_span_equal(tr_buf_span(&out),
                      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-a: 1\r\n");
    tr_buf_clear(&out);
    struct tr_resp_head odd = {.status = 599};
    assert_int_equal(tr_h1_emit_head(&out, &odd), TR_OK);
    assert_span_equal(tr_buf_span(&out), "HTTP/1.1 599 \r\n");
    tr_buf_fini(&out);
}

static void framing_ends_the_head(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    struct tr_h1_framing f = {
        .date = TR_SPAN_INIT("D"), .content_length = 123456789012345678, .close = true};
    assert_int_equal(tr_h1_emit_framing(&out, &f), TR_OK);
    assert_span_equal(tr_buf_span(&out),
                      "date: D\r\ncontent-length: 123456789012345678\r\nconnection: close\r\n\r\n");
    tr_buf_clear(&out);
    f = (struct tr_h1_framing){.content_length = -1, .chunked = true};
    assert_int_equal(tr_h1_emit_framing(&out, &f), TR_OK);
    assert_span_equal(tr_buf_span(&out), "transfer-encoding: chunked\r\n\r\n");
    tr_buf_fini(&out);
}

static void chunk_sizes_are_shortest_hex(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        const char *text;
    } cases[] = {{0, "0\r\n"},
                 {1, "1\r\n"},
                 {15, "f\r\n"},
                 {16, "10\r\n"},
                 {0xabcdef, "abcdef\r\n"},
                 {SIZE_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_buf out;
        tr_buf_init(&out);
        assert_int_equal(tr_h1_emit_chunk_size(&out, cases[i].n), TR_OK);
        assert_span_equal(tr_buf_span(&out), cases[i].text);
        tr_buf_fini(&out);
    }
}

static void trailers_end_in_an_empty_line(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    struct tr_headers t = {items + 1, 2, 2};
    assert_int_equal(tr_h1_emit_trailers(&out, &t), TR_OK);
    assert_span_equal(tr_buf_span(&out), "x-a: 1\r\n\r\n");
    tr_buf_fini(&out);
}

static void reasons_are_those_of_the_registry(void **state)
{
    (void)state;
    assert_span_equal(tr_h1_reason(200), "OK");
    assert_span_equal(tr_h1_reason(304), "Not Modified");
    assert_span_equal(tr_h1_reason(408), "Request Timeout");
    assert_span_equal(tr_h1_reason(418), "");
    assert_span_equal(tr_h1_reason(431), "Request Header Fields Too Large");
    assert_span_equal(tr_h1_reason(499), "Client Closed Request");
    assert_span_equal(tr_h1_reason(505), "HTTP Version Not Supported");
    assert_span_equal(tr_h1_reason(0), "");
    assert_span_equal(tr_h1_reason(999), "");
    assert_span_equal(tr_h1_reason(599), "");
}

static void emitting_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    struct tr_h1_framing f = {.content_length = -1};
    tr_alloc_fail_after(1);
    assert_int_equal(tr_h1_emit_head(&out, &head), TR_ERR_NOMEM);
    assert_int_equal(tr_h1_emit_framing(&out, &f), TR_ERR_NOMEM);
    assert_int_equal(tr_h1_emit_chunk_size(&out, 1), TR_ERR_NOMEM);
    assert_int_equal(tr_h1_emit_trailers(&out, &head.headers), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_int_equal(out.len, 0);
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_leaves_out_what_is_not_the_sinks),
        cmocka_unit_test(framing_ends_the_head),
        cmocka_unit_test(chunk_sizes_are_shortest_hex),
        cmocka_unit_test(trailers_end_in_an_empty_line),
        cmocka_unit_test(reasons_are_those_of_the_registry),
        cmocka_unit_test(emitting_without_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
