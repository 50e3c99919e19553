#include "route/router.h"

#include "route_set.h"

#include <stdio.h>

static void expect(const struct set *set, const char *request, int number)
{
    struct tr_route_match m;
    int got = set_match(set, request, &m);
    if (got != number)
        fail_msg("%s: route %d, not %d", request, got, number);
}

/* "a=x,b=y" with the raw captures. */
static void expect_captures(const struct set *set, const char *request, const char *want)
{
    struct tr_route_match m;
    char got[512];
    size_t n = 0;
    assert_true(set_match(set, request, &m) > 0);
    got[0] = '\0';
    for (uint32_t i = 0; i < m.capture_count; i++) {
        const struct tr_capture *c = &m.captures[i];
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%.*s=%.*s", i ? "," : "",
                              (int)c->var->field_path.len, c->var->field_path.ptr, (int)c->raw.len,
                              c->raw.ptr);
    }
    if (strcmp(got, want) != 0)
        fail_msg("%s: %s, not %s", request, got, want);
}

static void an_empty_router_matches_nothing(void **state)
{
    (void)state;
    struct set set;
    set_open(&set);
    assert_int_equal(tr_router_freeze(set.router), TR_OK);
    expect(&set, "GET /", 0);
    expect(&set, "GET /a:b", 0);
    assert_int_equal(tr_router_allow(set.router, TR_SPAN("/"), &set.arena).len, 0);
    set_fini(&set);
}

static void a_literal_goes_before_star_before_deep(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/**", "GET /a/*", "GET /a/b", "GET /*/b", "GET /**");
    expect(&set, "GET /a/b", 3);
    expect(&set, "GET /a/c", 2);
    expect(&set, "GET /a/b/c", 1);
    expect(&set, "GET /a", 1);
    expect(&set, "GET /x/b", 4);
    expect(&set, "GET /x/y", 5);
    expect(&set, "GET /", 5);
    set_fini(&set);
}

static void a_dead_end_is_left_for_the_next_best(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/b/c/d", "GET /a/*/c/e", "GET /a/**/f", "GET /*/b/c/g", "GET /**/h");
    expect(&set, "GET /a/b/c/d", 1);
    expect(&set, "GET /a/b/c/e", 2);
    expect(&set, "GET /a/b/c/f", 3);
    expect(&set, "GET /a/b/c/g", 4);
    expect(&set, "GET /a/b/c/h", 5);
    expect(&set, "GET /a/b/c/i", 0);
    set_fini(&set);
}

static void a_leaf_without_the_verb_is_passed_over(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "POST /a/b", "GET /a/*", "DELETE /a/**");
    expect(&set, "POST /a/b", 1);
    expect(&set, "GET /a/b", 2);
    expect(&set, "DELETE /a/b", 3);
    expect(&set, "PUT /a/b", -1);
    expect(&set, "PUT /b", 0);
    set_fini(&set);
}

static void slashes_count(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /", "GET /a", "GET /a/*", "GET /d/**", "GET /d/**/x");
    expect(&set, "GET /", 1);
    expect(&set, "GET //", 0);
    expect(&set, "GET /a", 2);
    expect(&set, "GET /a/", 0);
    expect(&set, "GET //a", 0);
    expect(&set, "GET /a//", 0);
    expect(&set, "GET /d", 4);
    expect(&set, "GET /d/", 4);
    expect(&set, "GET /d//", 4);
    expect(&set, "GET /d//x", 5);
    expect(&set, "GET /d/x/", 4);
    expect(&set, "GET a", 0);
    expect(&set, "GET ", 0);
    set_fini(&set);
}

static void the_longest_text_after_deep_wins(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/**", "GET /a/**/z", "GET /a/**/y/z", "GET /a/**/*/z/*", "GET /a/b/**");
    expect(&set, "GET /a/q", 1);
    expect(&set, "GET /a/z", 2);
    expect(&set, "GET /a/y/z", 3);
    expect(&set, "GET /a/1/2/y/z", 3);
    expect(&set, "GET /a/1/2/x/z", 2);
    expect(&set, "GET /a/y/z/z", 4);
    expect(&set, "GET /a/b/y/z", 5); /* a literal where the others have '**' */
    expect(&set, "GET /a//z/", 1);   /* '*' takes no empty segment */
    set_fini(&set);
}

static void literals_compare_in_normal_form(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /books/%7Ea", "GET /a%2fb/c", "GET /x:%2c", "GET /%C3%A9");
    expect(&set, "GET /books/~a", 1);
    expect(&set, "GET /%62ooks/%7e%61", 1);
    expect(&set, "GET /a%2Fb/c", 2);
    expect(&set, "GET /a%2fb/%63", 2);
    expect(&set, "GET /a/b/c", 0);
    expect(&set, "GET /x:%2C", 3);
    expect(&set, "GET /%78:%2c", 3);
    expect(&set, "GET /x:,", 0);
    expect(&set, "GET /%c3%a9", 4);
    expect(&set, "GET /BOOKS/~a", 0);
    set_fini(&set);
}

static void a_verb_is_one_only_where_a_route_has_it(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /u/{id}", "POST /u/{id}:cancel", "GET /u/**:list", "GET /**", "GET /w:cancel");
    expect(&set, "POST /u/7:cancel", 2);
    expect_captures(&set, "POST /u/7:cancel", "id=7");
    expect(&set, "GET /u/7:cancel", -1); /* that verb on that path is POST only */
    expect(&set, "GET /u/7:other", 1);
    expect_captures(&set, "GET /u/7:other", "id=7:other");
    expect(&set, "GET /u/7:list", 3);
    expect(&set, "GET /u/a:b:list", 3);
    expect(&set, "GET /u:list", 3);
    expect(&set, "GET /x/7:cancel", 4); /* registered, but not for this path */
    expect(&set, "GET /u/7:list/", 4);  /* not the last segment */
    expect(&set, "GET /u/7:", 1);
    expect(&set, "GET /u/:list", 3);
    expect(&set, "POST /u/:cancel", -1); /* '*' takes no empty segment, so it is data for GET */
    expect(&set, "GET /u/7%3Alist", 1);  /* an encoded colon is data */
    set_fini(&set);
}

static void head_and_any_verb(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a", "HEAD /b", "GET /b", "* /b", "* /c", "PURGE /b", "get /d", "POST /d");
    expect(&set, "HEAD /a", 1);
    expect(&set, "HEAD /b", 2);
    expect(&set, "GET /b", 3);
    expect(&set, "DELETE /b", 4);
    expect(&set, "MKCOL /b", 4);
    expect(&set, "PURGE /b", 6);
    expect(&set, "HEAD /c", 5);
    expect(&set, "POST /a", -1);
    expect(&set, "GET /d", -1); /* methods are case-sensitive */
    expect(&set, "get /d", 7);
    expect(&set, "HEAD /d", -1);
    set_fini(&set);
}

static void captures_are_spans_of_the_path(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /v1/{name=shelves/*/books/*}/{x}", "GET /d/{a=**}", "GET /e/{a=**}/x/{b}",
        "GET /f/{a=p/**/q}/{b}/z:v", "GET /g/{a=**/s/*}/{b}", "GET /{root=**}",
        "GET /h/{a}/{b}/{c=x/*}/{d=**}/{e}/{f=y/*}/{g}");
    expect_captures(&set, "GET /v1/shelves/1/books/%20/y", "name=shelves/1/books/%20,x=y");
    expect_captures(&set, "GET /d", "a=");
    expect_captures(&set, "GET /d/", "a=");
    expect_captures(&set, "GET /d//", "a=/");
    expect_captures(&set, "GET /d/1/2/", "a=1/2/");
    expect_captures(&set, "GET /e/x/1", "a=,b=1");
    expect_captures(&set, "GET /e/1/2/x/3", "a=1/2,b=3");
    expect_captures(&set, "GET /f/p/q/1/z:v", "a=p/q,b=1");
    expect_captures(&set, "GET /f/p/0/0/q/1/z:v", "a=p/0/0/q,b=1");
    expect_captures(&set, "GET /g/s/1/2", "a=s/1,b=2");
    expect_captures(&set, "GET /h/1/2/x/3/4/y/5/6", "a=1,b=2,c=x/3,d=,e=4,f=y/5,g=6");
    expect_captures(&set, "GET /h/1/2/x/3/0/0/4/y/5/6", "a=1,b=2,c=x/3,d=0/0,e=4,f=y/5,g=6");
    expect_captures(&set, "GET /", "root=");
    expect_captures(&set, "GET //", "root=/");
    set_fini(&set);
}

static void captures_decode_by_kind_and_mode(void **state)
{
    (void)state;
    struct set set;
    struct tr_route_match m;
    struct tr_span value;
    SET(&set, "GET /{one}/{many=*/*}/{deep=**}");
    assert_int_equal(set_match(&set, "GET /%2F%20/%2f/%21/%2F", &m), 1);
    assert_int_equal(
        tr_capture_decode(&m.captures[0], TR_UNESCAPE_ALL_EXCEPT_SLASH, &set.arena, &value), TR_OK);
    assert_span_equal(value, "/ ");
    assert_int_equal(
        tr_capture_decode(&m.captures[1], TR_UNESCAPE_ALL_EXCEPT_SLASH, &set.arena, &value), TR_OK);
    assert_span_equal(value, "%2f/!");
    assert_int_equal(
        tr_capture_decode(&m.captures[1], TR_UNESCAPE_ALL_EXCEPT_RESERVED, &set.arena, &value),
        TR_OK);
    assert_span_equal(value, "%2f/%21");
    assert_int_equal(
        tr_capture_decode(&m.captures[2], TR_UNESCAPE_ALL_EXCEPT_SLASH, &set.arena, &value), TR_OK);
    assert_span_equal(value, "%2F");
    assert_ptr_equal(value.ptr, m.captures[2].raw.ptr);
    assert_int_equal(tr_capture_decode(&m.captures[2], TR_UNESCAPE_ALL, &set.arena, &value), TR_OK);
    assert_span_equal(value, "/");
    set_fini(&set);
}

static void equal_verb_and_shape_conflict(void **state)
{
    (void)state;
    struct set set;
    set_open(&set);
    assert_int_equal(set_add(&set, "GET /a/{b}/**"), 0);
    assert_int_equal(set_add(&set, "POST /a/{b}/**"), 0);
    assert_int_equal(set_add(&set, "GET /a/{b}/**:v"), 0);
    assert_int_equal(set_add(&set, "GET /a/{c=*}/{d=**}"), 1);
    assert_int_equal(set_add(&set, "POST /%61/*/**"), 2);
    assert_int_equal(set_add(&set, "GET /{x=a/*/**}:%76"), 3);
    assert_int_equal(set_add(&set, "* /a/{b}/**"), 0);
    assert_int_equal(set_add(&set, "* /a/*/**"), 4);
    assert_int_equal(set_add(&set, "PURGE /"), 0);
    assert_int_equal(set_add(&set, "PURGE /"), 5);
    assert_int_equal(set_add(&set, "MKCOL /"), 0);
    assert_int_equal(tr_router_freeze(set.router), TR_OK);
    expect(&set, "GET /a/1/2", 1);
    expect(&set, "MKCOL /", 6);
    set_fini(&set);
}

static void allow_lists_the_verbs_of_a_path(void **state)
{
    (void)state;
    struct set set;
    SET(&set, "GET /a/b", "POST /a/*", "PURGE /a/**", "DELETE /a/b:v", "* /c", "TRACE /d");
    struct tr_arena *arena = &set.arena;
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/a/b"), arena),
                      "GET, HEAD, POST, OPTIONS, PURGE");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/a/x"), arena), "POST, OPTIONS, PURGE");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/a/b:v"), arena), "DELETE, OPTIONS");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/a/b:w"), arena),
                      "POST, OPTIONS, PURGE");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/c"), arena),
                      "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/d"), arena), "OPTIONS, TRACE");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN("/x"), arena), "");
    assert_span_equal(tr_router_allow(set.router, TR_SPAN(""), arena), "");
    set_fini(&set);
}

/* -- against a plain reading of the contract --------------------------------------------------- */
struct segs {
    struct tr_span s[16];
    size_t count;
};

static struct segs split(struct tr_span path)
{
    struct segs out = {.count = 0};
    if (path.len == 1)
        return out;
    struct tr_span rest = tr_span_from(path, 1);
    while (rest.ptr)
        out.s[out.count++] = tr_span_cut(&rest, '/');
    return out;
}

static bool plain_segment(const struct tr_segment *s, struct tr_span text)
{
    return s->kind == TR_SEGMENT_STAR ? text.len > 0 : tr_span_eq(s->literal, text);
}

static bool plain_match(const struct tr_template *t, struct tr_span path)
{
    struct segs p = split(path);
    bool deep = t->deep < t->segment_count;
    if (deep ? p.count + 1 < t->segment_count : p.count != t->segment_count)
        return false;
    for (size_t i = 0; i < t->deep; i++)
        if (!plain_segment(&t->segments[i], p.s[i]))
            return false;
    for (size_t i = t->segment_count; deep && i > t->deep + 1u; i--)
        if (!plain_segment(&t->segments[i - 1], p.s[p.count - (t->segment_count - i) - 1]))
            return false;
    return true;
}

/* a is preferred to b, both matching one path. */
static bool plain_better(const struct tr_template *a, const struct tr_template *b)
{
    for (size_t i = 0;; i++) {
        if (i == a->segment_count || i == b->segment_count)
            return a->segment_count < b->segment_count; /* nothing left goes before '**' */
        if (a->segments[i].kind != b->segments[i].kind)
            return a->segments[i].kind < b->segments[i].kind;
        if (i == a->deep && a->segment_count != b->segment_count)
            return a->segment_count > b->segment_count;
    }
}

static void random_text(uint64_t *seed, bool tmpl, char *out, size_t cap)
{
    static const char *const parts[] = {"a", "b", "ab", "*", "*", "**"};
    static const char *const path_parts[] = {"a", "b", "ab", "x", "", "a"};
    size_t n = 0, count = tr_test_rand(seed) % 6;
    bool deep = false;
    out[n++] = '/';
    for (size_t i = 0; i < count; i++) {
        size_t pick = tr_test_rand(seed) % 6;
        if (pick == 5 && deep && tmpl)
            pick = 3;
        deep |= pick == 5;
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? "/" : "",
                              tmpl ? parts[pick] : path_parts[pick]);
    }
    out[n] = '\0';
}

static void random_sets_match_as_a_plain_reading_does(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    for (int round = 0; round < 400; round++) {
        struct set *set = malloc(sizeof *set);
        assert_non_null(set);
        set_open(set);
        size_t routes = 1 + tr_test_rand(&seed) % 30;
        for (size_t i = 0; i < routes; i++) {
            char route[128] = "GET ";
            random_text(&seed, true, route + 4, sizeof route - 4);
            (void)set_add(set, route);
        }
        assert_int_equal(tr_router_freeze(set->router), TR_OK);
        for (int i = 0; i < 60; i++) {
            char request[128] = "GET ";
            random_text(&seed, false, request + 4, sizeof request - 4);
            struct tr_span path = tr_span_cstr(request + 4);
            size_t best = 0;
            for (size_t k = 1; k <= set->count; k++) {
                if (plain_match(&set->tmpl[k - 1], path) &&
                    (!best || plain_better(&set->tmpl[k - 1], &set->tmpl[best - 1])))
                    best = k;
            }
            expect(set, request, (int)best);
        }
        set_fini(set);
        free(set);
    }
}

static void matching_allocates_nothing(void **state)
{
    (void)state;
    struct set set;
    struct tr_route_match m;
    SET(&set, "GET /a/{b}/**/c:v", "POST /a/b");
    uint64_t before = tr_alloc_stats().calls;
    assert_int_equal(set_match(&set, "GET /a/%41/x/y/c:v", &m), 1);
    assert_int_equal(set_match(&set, "GET /a/b", &m), -1);
    assert_int_equal(tr_alloc_stats().calls, before);
    set_fini(&set);
}

/* The walk's work is counted in time only here, generously: a quadratic one would take minutes. */
static void hostile_paths_cost_one_scan(void **state)
{
    (void)state;
    struct set set;
    struct tr_route_match m;
    SET(&set, "GET /**/a", "GET /*/**/a/a", "GET /*/*/**/*/a", "GET /*/*/*/**/*/*/b",
        "GET /a/**/*/*/*/*/*/*/*/b", "GET /**/a/a/a/a/a/a/a/b:v", "GET /{x=**}:v");
    size_t len = 1 << 20;
    char *path = malloc(len);
    assert_non_null(path);
    for (size_t i = 0; i < len; i++)
        path[i] = i % 2 ? 'a' : '/';
    path[len - 1] = 'c';
    for (int i = 0; i < 20; i++) {
        tr_router_match(set.router, TR_METHOD_GET, TR_SPAN("GET"), tr_span(path, len), &m);
        assert_int_equal(m.result, TR_MATCH_NOT_FOUND);
    }
    path[len - 1] = 'a';
    tr_router_match(set.router, TR_METHOD_GET, TR_SPAN("GET"), tr_span(path, len), &m);
    assert_int_equal(set_number(m.target), 3);
    memset(path, '/', len);
    tr_router_match(set.router, TR_METHOD_GET, TR_SPAN("GET"), tr_span(path, len), &m);
    assert_int_equal(m.result, TR_MATCH_NOT_FOUND);
    free(path);
    set_fini(&set);
}

static void many_routes_and_verbs_are_found(void **state)
{
    (void)state;
    struct set *set = malloc(sizeof *set);
    assert_non_null(set);
    set_open(set);
    char text[64];
    for (unsigned i = 0; i < SET_MAX; i++) {
        (void)snprintf(text, sizeof text, i % 2 ? "GET /v/n%u/*" : "GET /v/*:n%u", i);
        assert_int_equal(set_add(set, text), 0);
    }
    assert_int_equal(tr_router_freeze(set->router), TR_OK);
    for (unsigned i = 0; i < SET_MAX; i++) {
        (void)snprintf(text, sizeof text, i % 2 ? "GET /v/n%u/x" : "GET /v/x:n%u", i);
        expect(set, text, (int)i + 1);
        (void)snprintf(text, sizeof text, i % 2 ? "GET /v/m%u/x" : "GET /v/x:m%u", i);
        expect(set, text, 0);
    }
    set_fini(set);
    free(set);
}

static void the_longest_templates_match(void **state)
{
    (void)state;
    struct set set;
    char text[1024] = "GET ", path[1024] = "GET ";
    set_open(&set);
    for (int deep = 0; deep < 2; deep++) {
        for (size_t i = 0; i < TR_TEMPLATE_SEGMENTS_MAX; i++) {
            size_t n = strlen(text), k = strlen(path);
            bool here = deep && i == 40;
            (void)snprintf(text + n, sizeof text - n, "%s", here ? "/**" : i % 3 ? "/*" : "/a");
            (void)snprintf(path + k, sizeof path - k, "%s", here ? "/d/d/d" : i % 3 ? "/x" : "/a");
        }
        assert_int_equal(set_add(&set, text), 0);
        text[4] = '\0';
        if (!deep)
            path[4] = '\0';
    }
    assert_int_equal(tr_router_freeze(set.router), TR_OK);
    expect(&set, path, 2);
    set_fini(&set);
}

static void each_failing_allocation_leaves_a_usable_router(void **state)
{
    (void)state;
    static const char *const templates[] = {"/a/{b}/**/c", "/a/d:v", "/", "/a/*/**", "/e/f/g"};
    struct tr_arena arena;
    struct tr_template t[5];
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(tr_template_parse(tr_span_cstr(templates[i]), &arena, &t[i], NULL), TR_OK);
    bool done = false;
    for (uint64_t n = 1; !done; n++) {
        struct tr_router *r = NULL;
        void *conflict = NULL;
        unsigned failures = 0;
        assert_true(n < 200);
        tr_alloc_fail_after(n);
        if (tr_router_new(&r) == TR_OK) {
            for (size_t i = 0; i < 5; i++) {
                if (tr_router_add(r, TR_SPAN("GET"), &t[i], set_target(i + 1), &conflict)) {
                    failures++;
                    tr_alloc_fail_after(0);
                    assert_int_equal(
                        tr_router_add(r, TR_SPAN("GET"), &t[i], set_target(i + 1), &conflict),
                        TR_OK);
                }
                assert_null(conflict);
            }
            if (tr_router_freeze(r)) {
                failures++;
                tr_alloc_fail_after(0);
                assert_int_equal(tr_router_freeze(r), TR_OK);
            }
            struct tr_route_match m;
            tr_router_match(r, TR_METHOD_GET, TR_SPAN("GET"), TR_SPAN("/a/1/2/c"), &m);
            assert_int_equal(set_number(m.target), 1);
            tr_router_match(r, TR_METHOD_GET, TR_SPAN("GET"), TR_SPAN("/a/d:v"), &m);
            assert_int_equal(set_number(m.target), 2);
            done = failures == 0;
        }
        tr_alloc_fail_after(0);
        tr_router_free(r);
    }
    tr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_router_matches_nothing),
        cmocka_unit_test(a_literal_goes_before_star_before_deep),
        cmocka_unit_test(a_dead_end_is_left_for_the_next_best),
        cmocka_unit_test(a_leaf_without_the_verb_is_passed_over),
        cmocka_unit_test(slashes_count),
        cmocka_unit_test(the_longest_text_after_deep_wins),
        cmocka_unit_test(literals_compare_in_normal_form),
        cmocka_unit_test(a_verb_is_one_only_where_a_route_has_it),
        cmocka_unit_test(head_and_any_verb),
        cmocka_unit_test(captures_are_spans_of_the_path),
        cmocka_unit_test(captures_decode_by_kind_and_mode),
        cmocka_unit_test(equal_verb_and_shape_conflict),
        cmocka_unit_test(allow_lists_the_verbs_of_a_path),
        cmocka_unit_test(random_sets_match_as_a_plain_reading_does),
        cmocka_unit_test(matching_allocates_nothing),
        cmocka_unit_test(hostile_paths_cost_one_scan),
        cmocka_unit_test(many_routes_and_verbs_are_found),
        cmocka_unit_test(the_longest_templates_match),
        cmocka_unit_test(each_failing_allocation_leaves_a_usable_router),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
