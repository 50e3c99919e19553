#include "http/msg.h"

#include "test.h"

#include <stdio.h>

struct head {
    struct tr_arena arena;
    struct tr_req_head req;
    struct tr_status st;
};

static void head_init(struct head *h, uint8_t version)
{
    memset(h, 0, sizeof *h);
    tr_arena_init(&h->arena, NULL);
    h->req.version = version;
    h->req.method = TR_METHOD_GET;
}

static void add(struct head *h, const char *name, const char *value)
{
    struct tr_span n = tr_span_cstr(name);
    assert_int_equal(
        tr_headers_add(&h->req.headers, &h->arena, n, tr_span_cstr(value), tr_token_from(n)),
        TR_OK);
}

static enum tr_err finish(struct head *h, const char *target)
{
    tr_status_clear(&h->st);
    enum tr_err err = tr_req_head_finish(&h->req, tr_span_cstr(target), &h->st);
    tr_arena_fini(&h->arena);
    assert_int_equal(h->st.err, err);
    return err;
}

/* One header in a request with a Host. */
static enum tr_err finish_with(uint8_t version, const char *name, const char *value, struct head *h)
{
    head_init(h, version);
    if (version < 20)
        add(h, "host", "a");
    else
        h->req.authority = TR_SPAN("a");
    add(h, name, value);
    return finish(h, "/");
}

static void every_token_is_found_by_its_name(void **state)
{
    (void)state;
    for (int t = 1; t < TR_TOKEN__COUNT; t++) {
        struct tr_span name = tr_token_name((enum tr_token)t);
        assert_int_equal(tr_token_from(name), t);
        char other[40];
        memcpy(other, name.ptr, name.len);
        for (size_t i = 0; i < name.len; i++) {
            other[i] = (char)(other[i] ^ 1);
            assert_int_equal(tr_token_from(tr_span(other, name.len)), TR_TOKEN_NONE);
            other[i] = name.ptr[i];
        }
        assert_int_not_equal(tr_token_from(tr_span(other, name.len - 1)), t);
    }
    assert_int_equal(tr_token_from(TR_SPAN("")), TR_TOKEN_NONE);
    assert_int_equal(tr_token_from(TR_SPAN("a-name-that-is-longer-than-all-others-here")),
                     TR_TOKEN_NONE);
}

static void methods_are_case_sensitive(void **state)
{
    (void)state;
    for (int m = TR_METHOD_GET; m < TR_METHOD__COUNT; m++)
        assert_int_equal(tr_method_from(tr_method_name((enum tr_method)m)), m);
    assert_int_equal(tr_method_from(TR_SPAN("get")), TR_METHOD_OTHER);
    assert_int_equal(tr_method_from(TR_SPAN("GETS")), TR_METHOD_OTHER);
    assert_int_equal(tr_method_from(TR_SPAN("")), TR_METHOD_OTHER);
}

static void date_is_imf_fixdate(void **state)
{
    (void)state;
    char out[29];
    assert_span_equal(tr_http_date(out, 0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_span_equal(tr_http_date(out, 784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_span_equal(tr_http_date(out, 951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_span_equal(tr_http_date(out, 1709251199), "Thu, 29 Feb 2024 23:59:59 GMT");
    assert_span_equal(tr_http_date(out, 4107542400), "Mon, 01 Mar 2100 00:00:00 GMT");
    assert_span_equal(tr_http_date(out, 1735689599), "Tue, 31 Dec 2024 23:59:59 GMT");
}

static void field_values_hold_no_controls(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char s[3] = {'a', (char)c, 'b'};
        bool ok = c == '\t' || (c >= 0x20 && c != 0x7f);
        assert_int_equal(tr_http_is_field_value(tr_span(s, 3)), ok);
    }
    assert_true(tr_http_is_field_value(TR_SPAN("")));
    assert_true(tr_http_is_token(TR_SPAN("x!#$%&'*+-.^_`|~09Az")));
    assert_false(tr_http_is_token(TR_SPAN("")));
    const char *bad = "\"(),/:;<=>?@[\\]{} \t\x7f\x80";
    for (const char *p = bad; *p; p++)
        assert_false(tr_http_is_token(tr_span(p, 1)));
}

static void headers_keep_order_and_repeats(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, 11);
    char values[60][8];
    for (int i = 0; i < 60; i++) {
        (void)snprintf(values[i], sizeof values[i], "%d", i);
        add(&h, i % 2 ? "accept" : "x-a", values[i]);
    }
    int n = 0;
    for (const struct tr_header *p = NULL;
         (p = tr_headers_find(&h.req.headers, TR_TOKEN_ACCEPT, p));)
        assert_span_equal(p->value, values[2 * n++ + 1]);
    assert_int_equal(n, 30);
    assert_span_equal(tr_headers_find_name(&h.req.headers, TR_SPAN("x-a"))->value, "0");
    assert_null(tr_headers_find_name(&h.req.headers, TR_SPAN("x-b")));
    assert_null(tr_headers_find(&h.req.headers, TR_TOKEN_TE, NULL));
    tr_arena_fini(&h.arena);
}

static void adding_a_header_survives_lack_of_memory(void **state)
{
    (void)state;
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    struct tr_headers h = {0};
    tr_alloc_fail_after(1);
    assert_int_equal(tr_headers_add(&h, &arena, TR_SPAN("a"), TR_SPAN("b"), TR_TOKEN_NONE),
                     TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_int_equal(h.count, 0);
    assert_int_equal(tr_headers_add(&h, &arena, TR_SPAN("a"), TR_SPAN("b"), TR_TOKEN_NONE), TR_OK);
    tr_arena_fini(&arena);
}

static void origin_form_splits_at_the_first_question_mark(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, 11);
    add(&h, "host", "Example.com:80");
    assert_int_equal(finish(&h, "/a/b%2F;c?x=1?&y[k]=2"), TR_OK);
    assert_span_equal(h.req.path, "/a/b%2F;c");
    assert_span_equal(h.req.query, "x=1?&y[k]=2");
    assert_span_equal(h.req.authority, "Example.com:80");
    assert_int_equal(h.req.headers.count, 0);
    assert_true(h.req.end);
    head_init(&h, 11);
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "/?"), TR_OK);
    assert_int_equal(h.req.query.len, 0);
    assert_non_null(h.req.query.ptr);
    head_init(&h, 11);
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "/"), TR_OK);
    assert_null(h.req.query.ptr);
}

static void absolute_form_replaces_host(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, 11);
    add(&h, "host", "a");
    add(&h, "x-a", "1");
    assert_int_equal(finish(&h, "HTTP://b:81/p?q"), TR_OK);
    assert_span_equal(h.req.authority, "b:81");
    assert_span_equal(h.req.path, "/p");
    assert_span_equal(h.req.query, "q");
    assert_int_equal(h.req.headers.count, 1);
    head_init(&h, 11);
    assert_int_equal(finish(&h, "http://b/"), TR_ERR_BAD_HOST);
    head_init(&h, 11);
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "http://b"), TR_OK);
    assert_span_equal(h.req.path, "/");
    head_init(&h, 11);
    h.req.method = TR_METHOD_OPTIONS;
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "http://b"), TR_OK);
    assert_span_equal(h.req.path, "*");
    head_init(&h, 20);
    h.req.authority = TR_SPAN("b");
    assert_int_equal(finish(&h, "http://b/"), TR_ERR_BAD_TARGET);
}

static void other_target_forms_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "a",      "a/b",        "*a",        "a:80",        "ftp://a/",
        "/a b",  "/a#b",   "/a?b#c",     "/\x80",     "/a?\xff",     "/a\\b",
        "/a\"b", "/<",     "/a?{",       "/a|b",      "/%",          "/%4",
        "/%zz",  "/a%2",   "http://",    "http:///a", "http://u@a/", "http://a:/%",
        "/a^",   "//\x7f", "http://a#b", "/a?b\x01",  "http://a b/", "*"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct head h;
        head_init(&h, 11);
        add(&h, "host", "a");
        if (finish(&h, bad[i]) != TR_ERR_BAD_TARGET)
            fail_msg("accepted: %s", bad[i]);
    }
    struct head h;
    head_init(&h, 11);
    h.req.method = TR_METHOD_OPTIONS;
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "*"), TR_OK);
    assert_span_equal(h.req.path, "*");
    head_init(&h, 11);
    h.req.method = TR_METHOD_CONNECT;
    add(&h, "host", "a:443");
    assert_int_equal(finish(&h, "a:443"), TR_ERR_UPGRADE);
    assert_span_equal(h.req.path, "a:443");
}

static void host_is_given_once(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, 11);
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_HOST);
    head_init(&h, 10);
    assert_int_equal(finish(&h, "/"), TR_OK);
    assert_int_equal(h.req.authority.len, 0);
    head_init(&h, 11);
    add(&h, "host", "a");
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_HOST);
    static const char *const bad[] = {"",    "a/b",  "u@a", "a, b",   "a,b",
                                      "a b", "[::1", "a:x", "a:65536"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        head_init(&h, 11);
        add(&h, "host", bad[i]);
        assert_int_equal(finish(&h, "/"), TR_ERR_BAD_HOST);
    }
}

static void http2_host_equals_authority(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, 20);
    h.req.authority = TR_SPAN("A:1");
    add(&h, "host", "a:1");
    assert_int_equal(finish(&h, "/"), TR_OK);
    assert_span_equal(h.req.authority, "A:1");
    assert_true(h.req.te_trailers);
    head_init(&h, 20);
    h.req.authority = TR_SPAN("a");
    add(&h, "host", "b");
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_HOST);
    head_init(&h, 20);
    add(&h, "host", "b");
    assert_int_equal(finish(&h, "/"), TR_OK);
    assert_span_equal(h.req.authority, "b");
    head_init(&h, 20);
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_HOST);
    head_init(&h, 20);
    h.req.authority = TR_SPAN("u@a");
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_HOST);
}

static void content_length_is_one_number(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "abc",
                                      "+5",
                                      "-1",
                                      "-0",
                                      "0x5",
                                      "1_0",
                                      "1 0",
                                      "5,5",
                                      "5, 10",
                                      "1e3",
                                      "1.0",
                                      "1234567890123456789"};
    struct head h;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(finish_with(11, "content-length", bad[i], &h), TR_ERR_BAD_FRAMING);
    assert_int_equal(finish_with(11, "content-length", "123456789012345678", &h), TR_OK);
    assert_int_equal(h.req.content_length, 123456789012345678);
    assert_false(h.req.end);
    assert_int_equal(finish_with(11, "content-length", "0", &h), TR_OK);
    assert_true(h.req.end);
    head_init(&h, 11);
    add(&h, "host", "a");
    add(&h, "content-length", "5");
    add(&h, "content-length", "5");
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_FRAMING);
}

static void transfer_encoding_is_chunked_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "gzip",
                                      "identity",
                                      "xchunked",
                                      ", chunked",
                                      "chunked,",
                                      "chunked, chunked",
                                      "chunked, gzip",
                                      "gzip, chunked",
                                      "chunked;a=b",
                                      "chunke"};
    struct head h;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(finish_with(11, "transfer-encoding", bad[i], &h), TR_ERR_BAD_FRAMING);
    assert_int_equal(finish_with(11, "transfer-encoding", "Chunked", &h), TR_OK);
    assert_false(h.req.end);
    assert_int_equal(h.req.content_length, -1);
    assert_int_equal(finish_with(10, "transfer-encoding", "chunked", &h), TR_ERR_BAD_FRAMING);
    assert_int_equal(finish_with(20, "transfer-encoding", "chunked", &h), TR_ERR_BAD_HEADER);
    head_init(&h, 11);
    add(&h, "host", "a");
    add(&h, "transfer-encoding", "chunked");
    add(&h, "content-length", "5");
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_FRAMING);
    head_init(&h, 11);
    add(&h, "host", "a");
    add(&h, "transfer-encoding", "chunked");
    add(&h, "transfer-encoding", "chunked");
    assert_int_equal(finish(&h, "/"), TR_ERR_BAD_FRAMING);
}

static void only_100_continue_is_expected(void **state)
{
    (void)state;
    struct head h;
    assert_int_equal(finish_with(11, "expect", "200-ok", &h), TR_ERR_EXPECTATION_FAILED);
    assert_int_equal(finish_with(20, "expect", "x", &h), TR_ERR_EXPECTATION_FAILED);
    assert_int_equal(finish_with(10, "expect", "200-ok", &h), TR_OK);
    assert_int_equal(finish_with(11, "expect", "100-Continue", &h), TR_OK);
    assert_false(h.req.expect_continue); /* there is no body to ask for */
    head_init(&h, 11);
    add(&h, "host", "a");
    add(&h, "content-length", "1");
    add(&h, "expect", "100-continue");
    assert_int_equal(finish(&h, "/"), TR_OK);
    assert_true(h.req.expect_continue);
}

static void te_trailers_is_a_list_member(void **state)
{
    (void)state;
    struct head h;
    assert_int_equal(finish_with(11, "te", "gzip;q=0.5, Trailers", &h), TR_OK);
    assert_true(h.req.te_trailers);
    assert_int_equal(finish_with(11, "te", "xtrailers", &h), TR_OK);
    assert_false(h.req.te_trailers);
    assert_int_equal(finish_with(10, "te", "trailers", &h), TR_OK);
    assert_false(h.req.te_trailers);
}

static void a_refused_head_is_filled_as_far_as_it_goes(void **state)
{
    (void)state;
    struct head h;
    head_init(&h, 11);
    add(&h, "content-length", "5");
    add(&h, "host", "a");
    assert_int_equal(finish(&h, "/a b"), TR_ERR_BAD_TARGET);
    assert_span_equal(h.req.path, "/a b");
    assert_span_equal(h.req.authority, "a");
    assert_int_equal(h.req.content_length, 5);
}

static void hop_by_hop_headers_are_known(void **state)
{
    (void)state;
    assert_true(tr_http_is_hop_by_hop(TR_TOKEN_CONNECTION));
    assert_true(tr_http_is_hop_by_hop(TR_TOKEN_TE));
    assert_false(tr_http_is_hop_by_hop(TR_TOKEN_HOST));
    assert_false(tr_http_is_hop_by_hop(TR_TOKEN_NONE));
}

static void headers_are_removed_by_name_and_the_others_stay(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_headers h = {0};
    static const char *const names[] = {"a", "b", "a", "ab", "a"};
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(
            tr_headers_add(&h, &arena, tr_span_cstr(names[i]), TR_SPAN("v"), TR_TOKEN_NONE), TR_OK);
    tr_headers_remove(&h, TR_SPAN("none"));
    assert_int_equal(h.count, 5);
    tr_headers_remove(&h, TR_SPAN("a"));
    assert_int_equal(h.count, 2);
    assert_true(tr_span_eq(h.items[0].name, TR_SPAN("b")));
    assert_true(tr_span_eq(h.items[1].name, TR_SPAN("ab")));
    tr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_removed_by_name_and_the_others_stay),
        cmocka_unit_test(every_token_is_found_by_its_name),
        cmocka_unit_test(methods_are_case_sensitive),
        cmocka_unit_test(date_is_imf_fixdate),
        cmocka_unit_test(field_values_hold_no_controls),
        cmocka_unit_test(headers_keep_order_and_repeats),
        cmocka_unit_test(adding_a_header_survives_lack_of_memory),
        cmocka_unit_test(origin_form_splits_at_the_first_question_mark),
        cmocka_unit_test(absolute_form_replaces_host),
        cmocka_unit_test(other_target_forms_are_refused),
        cmocka_unit_test(host_is_given_once),
        cmocka_unit_test(http2_host_equals_authority),
        cmocka_unit_test(content_length_is_one_number),
        cmocka_unit_test(transfer_encoding_is_chunked_alone),
        cmocka_unit_test(only_100_continue_is_expected),
        cmocka_unit_test(te_trailers_is_a_list_member),
        cmocka_unit_test(a_refused_head_is_filled_as_far_as_it_goes),
        cmocka_unit_test(hop_by_hop_headers_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
