#include "http/uri.h"

#include "test.h"

static void authorities_follow_the_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {"a",
                                       "example.com",
                                       "a:80",
                                       "a:",
                                       "127.0.0.1:1",
                                       "a_b-c.d~",
                                       "%41b",
                                       "[::]",
                                       "[::1]:443",
                                       "[1:2:3:4:5:6:7:8]",
                                       "[1::8]",
                                       "[::ffff:1.2.3.4]",
                                       "[1:2:3:4:5:6:1.2.3.4]",
                                       "[fe80::1]",
                                       "[1:2:3:4:5:6:7::]",
                                       "a:65535",
                                       "xn--a",
                                       "A!$&'()*+;="};
    static const char *const bad[] = {"",
                                      ":80",
                                      "u@a",
                                      "a/b",
                                      "a b",
                                      "a?",
                                      "a#",
                                      "a,b",
                                      "a:b",
                                      "a:-1",
                                      "a:65536",
                                      "a:1:2",
                                      "[::1",
                                      "::1",
                                      "[::1]x",
                                      "[::1]:x",
                                      "[]",
                                      "[:]",
                                      "[:::]",
                                      "[1::2::3]",
                                      "[1:2:3:4:5:6:7]",
                                      "[1:2:3:4:5:6:7:8:9]",
                                      "[12345::]",
                                      "[g::]",
                                      "[:1::]",
                                      "[1:]",
                                      "[::1.2.3]",
                                      "[::1.2.3.256]",
                                      "[1.2.3.4::]",
                                      "[::1.2.3.4.5]",
                                      "[fe80::1%25eth0]",
                                      "%4",
                                      "%zz",
                                      "a\x80",
                                      "[1:2:3:4:5:6:7:1.2.3.4]",
                                      "a:000080"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!tr_uri_is_authority(tr_span_cstr(good[i])))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (tr_uri_is_authority(tr_span_cstr(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    }
}

static void authority_splits_into_host_and_port(void **state)
{
    (void)state;
    struct tr_span host, port;
    tr_uri_split_authority(TR_SPAN("[::1]:443"), &host, &port);
    assert_span_equal(host, "[::1]");
    assert_span_equal(port, "443");
    tr_uri_split_authority(TR_SPAN("a:"), &host, &port);
    assert_span_equal(host, "a");
    assert_span_equal(port, "");
    tr_uri_split_authority(TR_SPAN("[::1]"), &host, &port);
    assert_span_equal(host, "[::1]");
    assert_span_equal(port, "");
}

/* RFC 3986 by single bytes, so that a wrong bit of the table shows. */
static void every_byte_of_a_path_and_query_is_judged(void **state)
{
    (void)state;
    static const char pchar[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/";
    for (int c = 0; c < 256; c++) {
        char s[2] = {'/', (char)c};
        bool path = c != 0 && strchr(pchar, c) != NULL;
        bool query = path || c == '?' || c == '%' || c == '[' || c == ']';
        assert_int_equal(tr_uri_is_path(tr_span(s, 2)), path);
        assert_int_equal(tr_uri_is_query(tr_span(s + 1, 1)), query);
    }
    assert_true(tr_uri_is_path(TR_SPAN("/%41%fF%00")));
    assert_false(tr_uri_is_path(TR_SPAN("/%41%f")));
    assert_false(tr_uri_is_path(TR_SPAN("/%%41")));
    assert_false(tr_uri_is_path(TR_SPAN("a")));
    assert_false(tr_uri_is_path(TR_SPAN("")));
    assert_true(tr_uri_is_query(TR_SPAN("")));
}

static void absolute_uris_are_taken_apart(void **state)
{
    (void)state;
    struct tr_uri u;
    assert_int_equal(tr_uri_parse(TR_SPAN("hTTps://h:1/p/q?x=?"), &u), TR_OK);
    assert_span_equal(u.scheme, "https");
    assert_span_equal(u.authority, "h:1");
    assert_span_equal(u.path, "/p/q");
    assert_span_equal(u.query, "x=?");
    assert_int_equal(tr_uri_parse(TR_SPAN("http://h?x"), &u), TR_OK);
    assert_span_equal(u.path, "");
    assert_span_equal(u.query, "x");
    assert_int_equal(tr_uri_parse(TR_SPAN("http://h"), &u), TR_OK);
    assert_null(u.query.ptr);
    static const char *const bad[] = {"",        "http:",       "http://",    "http:/a", "https://",
                                      "ftp://a", "http://a\\b", "http://a#f", "//a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_uri_parse(tr_span_cstr(bad[i]), &u), TR_ERR_BAD_TARGET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(authorities_follow_the_grammar),
        cmocka_unit_test(authority_splits_into_host_and_port),
        cmocka_unit_test(every_byte_of_a_path_and_query_is_judged),
        cmocka_unit_test(absolute_uris_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
