#include "route/router.h"
#include "route_set.h"

#include <stdio.h>

/* What the callbacks said, a line each: "route by" or "route: reason". */
static char said[8192];

static void note_shadow(void *ctx, void *target, void *by)
{
    (void)ctx;
    size_t n = strlen(said);
    (void)snprintf(said + n, sizeof said - n, "%zu by %zu\n", set_number(target), set_number(by));
}

static void note_miss(void *ctx, void *target, struct tr_span reason)
{
    (void)ctx;
    size_t n = strlen(said);
    (void)snprintf(said + n, sizeof said - n, "%zu: %.*s\n", set_number(target), (int)reason.len,
                   reason.ptr);
}

static void expect_shadowed(struct set *set, const char *want)
{
    said[0] = '\0';
    tr_router_shadowed(set->router, note_shadow, NULL);
    assert_string_equal(said, want);
    set_fini(set);
}

static void expect_misses(const struct set *set, const char *request, const char *want)
{
    struct tr_span path = tr_span_cstr(request), verb = tr_span_cut(&path, ' ');
    said[0] = '\0';
    tr_router_near_misses(set->router, tr_method_from(verb), verb, path, note_miss, NULL);
    assert_string_equal(said, want);
}

static void more_specific_routes_hide_nothing(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/b", "GET /a/*", "GET /a/**", "GET /*/b", "GET /**", "GET /a/b:v",
        "GET /a/*:v", "* /a/*", "HEAD /a/b");
    expect_shadowed(&set, "");
}

static void a_star_where_the_other_has_deep_hides_it(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/*/**", "GET /a/**/z");
    expect_shadowed(&set, "2 by 1\n");
    SET(&set, "GET /a/*/**", "GET /a/**/z:v");
    expect_shadowed(&set, "");
    SET(&set, "POST /a/*/**", "GET /a/**/z");
    expect_shadowed(&set, "");
    SET(&set, "* /a/*/**", "GET /a/**/z");
    expect_shadowed(&set, "2 by 1\n");
    SET(&set, "GET /a/*/**", "* /a/**/z");
    expect_shadowed(&set, "");
    SET(&set, "GET /a/*/**", "HEAD /a/**/z");
    expect_shadowed(&set, "2 by 1\n");
    /* '/x/z' is left to the second */
    SET(&set, "GET /a/*/*/**", "GET /a/**/z");
    expect_shadowed(&set, "");
    SET(&set, "GET /a/x/**", "GET /a/**/x");
    expect_shadowed(&set, "");
}

static void lengths_that_are_left_over_may_be_hidden_by_others(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/*/**", "GET /a/**", "GET /a");
    expect_shadowed(&set, "2 by 1\n");
    SET(&set, "GET /a/*/**", "GET /a/**");
    expect_shadowed(&set, "");
    SET(&set, "GET /a/*/*/**", "GET /a/**/z", "GET /a/*");
    expect_shadowed(&set, "2 by 1\n");
    SET(&set, "GET /a/*/*/**", "GET /a/**/z", "GET /a/z");
    expect_shadowed(&set, "2 by 1\n");
}

static void hidden_routes_never_match(void **state)
{
    (void)state;
    struct set set;
    struct tr_route_match m;
    SET(&set, "GET /a/*/*/**", "GET /a/**/z", "GET /a/z");
    assert_int_equal(set_match(&set, "GET /a/z", &m), 3);
    assert_int_equal(set_match(&set, "GET /a/x/z", &m), 1);
    assert_int_equal(set_match(&set, "GET /a/x/y/z", &m), 1);
    set_fini(&set);
}

static void near_misses_say_what_differs(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "POST /v1/shelves", "GET /v1/shelves/{s}", "GET /v1/shelves/{s}/books",
        "POST /v1/shelves/{s}:merge", "GET /v2/shelves", "GET /v1/{p=**}/end", "GET /other/{x}");
    expect_misses(&set, "GET /v1/shelves",
                  "1: verb is POST\n"
                  "6: segment 2 must be 'end', not 'shelves'\n"
                  "5: segment 1 must be 'v2', not 'v1'\n"
                  "2: it has 3 segments, the path has 2\n"
                  "4: it has 3 segments, the path has 2\n"
                  "3: it has 4 segments, the path has 2\n");
    expect_misses(&set, "GET /v1/shelves/1:merge",
                  "2: it matches, but another route is preferred\n"
                  "4: verb is POST\n"
                  "6: segment 3 must be 'end', not '1:merge'\n"
                  "3: it has 4 segments, the path has 3\n"
                  "1: it has 2 segments, the path has 3\n");
    expect_misses(&set, "PUT /v1/shelves/1/bookz",
                  "3: segment 4 must be 'books', not 'bookz'\n"
                  "6: segment 4 must be 'end', not 'bookz'\n"
                  "2: it has 3 segments, the path has 4\n"
                  "4: it has 3 segments, the path has 4\n"
                  "1: it has 2 segments, the path has 4\n");
    expect_misses(&set, "GET /v1/shelves//books",
                  "3: segment 3 is empty\n"
                  "6: segment 4 must be 'end', not 'books'\n"
                  "1: it has 2 segments, the path has 4\n"
                  "2: it has 3 segments, the path has 4\n"
                  "4: it has 3 segments, the path has 4\n");
    expect_misses(&set, "POST /v1/shelves/7",
                  "2: verb is GET\n"
                  "4: the path must end in ':merge'\n"
                  "6: segment 3 must be 'end', not '7'\n"
                  "3: it has 4 segments, the path has 3\n"
                  "1: it has 2 segments, the path has 3\n");
    expect_misses(&set, "GET /x/y/z", "");
    expect_misses(&set, "GET ", "");
    set_fini(&set);
}

static void no_more_than_the_nearest_are_named(void **state)
{
    (void)state;
    struct set *set = malloc(sizeof *set);
    assert_non_null(set);
    set_open(set);
    char text[64];
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "GET /v1/n%u", i);
        assert_int_equal(set_add(set, text), 0);
    }
    assert_int_equal(set_add(set, "POST /v1/x"), 0);
    assert_int_equal(tr_router_freeze(set->router), TR_OK);
    said[0] = '\0';
    tr_router_near_misses(set->router, TR_METHOD_GET, TR_SPAN("GET"), TR_SPAN("/v1/x"), note_miss,
                          NULL);
    unsigned lines = 0;
    for (const char *p = said; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, TR_NEAR_MISSES_MAX);
    assert_non_null(strstr(said, "101: verb is POST\n"));
    assert_ptr_equal(strstr(said, "101:"), said);
    set_fini(set);
    free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_specific_routes_hide_nothing),
        cmocka_unit_test(a_star_where_the_other_has_deep_hides_it),
        cmocka_unit_test(lengths_that_are_left_over_may_be_hidden_by_others),
        cmocka_unit_test(hidden_routes_never_match),
        cmocka_unit_test(near_misses_say_what_differs),
        cmocka_unit_test(no_more_than_the_nearest_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
