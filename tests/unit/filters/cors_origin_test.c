#include "filters/cors_origin.h"

#include "test.h"

static struct tr_arena arena;

static int setup(void **state)
{
    (void)state;
    tr_arena_init(&arena, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tr_arena_fini(&arena);
    return 0;
}

static bool parses(const char *text)
{
    struct tr_cors_pattern p;
    bool nomem;
    bool ok = tr_cors_pattern_parse(tr_span_cstr(text), &arena, &p, &nomem);
    assert_false(nomem);
    return ok;
}

static bool matches(const char *pattern, const char *origin)
{
    struct tr_cors_pattern p;
    bool nomem;
    assert_true(tr_cors_pattern_parse(tr_span_cstr(pattern), &arena, &p, &nomem));
    return tr_cors_pattern_matches(&p, tr_span_cstr(origin));
}

static void cors_origin_whole_ones_match_exactly(void **state)
{
    (void)state;
    assert_true(matches("https://app.example.com", "https://app.example.com"));
    assert_true(matches("HTTPS://App.Example.COM", "https://app.example.com"));
    assert_true(matches("http://localhost:3000", "http://localhost:3000"));
    assert_true(matches("http://[::1]:3000", "http://[::1]:3000"));
    assert_true(matches("capacitor://localhost", "capacitor://localhost"));
    assert_true(matches("null", "null"));
    static const char *const others[] = {"http://app.example.com",
                                         "https://app.example.com:8443",
                                         "https://app.example.com/",
                                         "https://app.example.com.evil",
                                         "https://xapp.example.com",
                                         "https://app.example.co",
                                         "app.example.com",
                                         "",
                                         "null",
                                         "https://App.example.com",
                                         "https://app.example.com https://evil.com"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(matches("https://app.example.com", others[i]));
    assert_false(matches("null", "https://null"));
    assert_false(matches("null", "NULL"));
}

static void cors_origin_default_ports_are_left_out_as_browsers_do(void **state)
{
    (void)state;
    assert_true(matches("https://app.example.com:443", "https://app.example.com"));
    assert_true(matches("http://app.example.com:80", "http://app.example.com"));
    assert_false(matches("http://app.example.com:443", "http://app.example.com"));
    assert_true(matches("http://app.example.com:443", "http://app.example.com:443"));
    assert_true(matches("https://*.example.com:443", "https://a.example.com"));
}

static void cors_origin_stars_stand_for_labels(void **state)
{
    (void)state;
    assert_true(matches("https://*.example.com", "https://app.example.com"));
    assert_true(matches("https://*.example.com", "https://a.b-c.d_e.example.com"));
    assert_true(matches("https://*.example.com:8443", "https://a.example.com:8443"));
    static const char *const others[] = {
        "https://example.com",
        "https://.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://appexample.com",
        "https://app.example.com.evil.com",
        "https://evil.com/.example.com",
        "https://evil.com#.example.com",
        "https://evil.com?.example.com",
        "https://user@app.example.com",
        "https://evil.com:80.example.com",
        "https://a..example.com",
        "https://.a.example.com",
        "https://a b.example.com",
        "https://A.example.com.",
        "https://\xc3\xa4.example.com",
        "https://",
        "",
        "null",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(matches("https://*.example.com", others[i]));
}

static void cors_origin_refuses_what_is_no_origin(void **state)
{
    static const char *const bad[] = {"",
                                      "*",
                                      "app.example.com",
                                      "https://",
                                      "https://*",
                                      "https://*.",
                                      "https://*example.com",
                                      "https://a.*.example.com",
                                      "https://*.*.example.com",
                                      "https://app.example.com/",
                                      "https://app.example.com/path",
                                      "https://app.example.com?q",
                                      "https://user@example.com",
                                      "https://app.example.com:port",
                                      "https://app.example.com:",
                                      "https://app.example.com:65536",
                                      "https://app.example.com:*",
                                      "https:/app.example.com",
                                      "https:app.example.com",
                                      "://app.example.com",
                                      "*://app.example.com",
                                      "https://.example.com",
                                      "https://*..example.com",
                                      "https://[::1",
                                      "https://[]",
                                      "https://*.[::1]",
                                      "https://a b.example.com",
                                      "https://example.com, https://b.example.com"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(parses(bad[i]));
}

static void cors_origin_out_of_memory_is_told_apart(void **state)
{
    struct tr_cors_pattern p;
    struct tr_arena fresh;
    bool nomem = false;
    (void)state;
    tr_arena_init(&fresh, NULL);
    tr_alloc_fail_after(1);
    assert_false(tr_cors_pattern_parse(TR_SPAN("https://a.example"), &fresh, &p, &nomem));
    tr_alloc_fail_after(0);
    assert_true(nomem);
    tr_arena_fini(&fresh);
}

static void cors_origin_name_lists_are_checked_and_bounded(void **state)
{
    static char longest[TR_CORS_HEADERS_MAX_BYTES + 1];
    (void)state;
    assert_true(tr_cors_is_name_list(TR_SPAN("x-one")));
    assert_true(tr_cors_is_name_list(TR_SPAN("authorization,content-type , x_two,,x~3")));
    assert_true(tr_cors_is_name_list(TR_SPAN("")));
    assert_false(tr_cors_is_name_list(TR_SPAN("x one")));
    assert_false(tr_cors_is_name_list(TR_SPAN("x-one: 1")));
    assert_false(tr_cors_is_name_list(TR_SPAN("x-one;q=1")));
    assert_false(tr_cors_is_name_list(TR_SPAN("x-\"one\"")));
    assert_false(tr_cors_is_name_list(TR_SPAN("x-\xc3\xa4")));
    memset(longest, 'x', sizeof longest);
    assert_true(tr_cors_is_name_list(tr_span(longest, TR_CORS_HEADERS_MAX_BYTES)));
    assert_false(tr_cors_is_name_list(tr_span(longest, TR_CORS_HEADERS_MAX_BYTES + 1)));
}

static void cors_origin_lists_are_searched_by_member(void **state)
{
    (void)state;
    assert_true(tr_cors_list_has(TR_SPAN("Accept, origin"), TR_SPAN("Origin")));
    assert_true(tr_cors_list_has(TR_SPAN("*"), TR_SPAN("*")));
    assert_false(tr_cors_list_has(TR_SPAN("Accept, x-origin"), TR_SPAN("Origin")));
    assert_false(tr_cors_list_has(TR_SPAN(""), TR_SPAN("Origin")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cors_origin_whole_ones_match_exactly),
        cmocka_unit_test(cors_origin_default_ports_are_left_out_as_browsers_do),
        cmocka_unit_test(cors_origin_stars_stand_for_labels),
        cmocka_unit_test(cors_origin_refuses_what_is_no_origin),
        cmocka_unit_test(cors_origin_out_of_memory_is_told_apart),
        cmocka_unit_test(cors_origin_name_lists_are_checked_and_bounded),
        cmocka_unit_test(cors_origin_lists_are_searched_by_member),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
