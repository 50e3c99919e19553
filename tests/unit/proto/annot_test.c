#include "proto/annot.h"

#include "fds.h"
#include "test.h"

struct rule {
    struct tr_buf wire;
    struct tr_arena arena;
    struct tr_status st;
};

static int setup(void **state)
{
    struct rule *r = tr_calloc(1, sizeof *r);
    if (!r)
        return -1;
    tr_arena_init(&r->arena, NULL);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rule *r = *state;
    tr_buf_fini(&r->wire);
    tr_arena_fini(&r->arena);
    tr_free(r);
    return 0;
}

static const struct tr_http_rule *parse(struct rule *r)
{
    const struct tr_http_rule *rule = NULL;
    assert_int_equal(tr_annot_http_rule(&r->arena, tr_buf_span(&r->wire), &rule, &r->st), TR_OK);
    assert_non_null(rule);
    return rule;
}

static void each_verb_has_its_name(void **state)
{
    static const struct {
        uint32_t number;
        const char *verb;
    } cases[] = {{2, "GET"}, {3, "PUT"}, {4, "POST"}, {5, "DELETE"}, {6, "PATCH"}};
    struct rule *r = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tr_buf_clear(&r->wire);
        fds_text(&r->wire, cases[i].number, "/v1/x");
        const struct tr_http_rule *rule = parse(r);
        assert_span_equal(rule->verb, cases[i].verb);
        assert_span_equal(rule->template_text, "/v1/x");
        assert_span_equal(rule->body, "");
        assert_span_equal(rule->response_body, "");
        assert_int_equal(rule->additional_count, 0);
    }
}

static void custom_verb_is_taken_as_written(void **state)
{
    struct rule *r = *state;
    struct tr_buf custom;
    tr_buf_init(&custom);
    fds_text(&custom, 1, "report");
    fds_text(&custom, 2, "/v1/y");
    fds_put(&r->wire, 8, &custom);
    const struct tr_http_rule *rule = parse(r);
    assert_span_equal(rule->verb, "report");
    assert_span_equal(rule->template_text, "/v1/y");
}

static void empty_custom_pattern_has_empty_verb(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 8, "");
    assert_span_equal(parse(r)->verb, "");
}

static void rule_without_pattern_has_empty_verb(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 7, "*");
    const struct tr_http_rule *rule = parse(r);
    assert_span_equal(rule->verb, "");
    assert_span_equal(rule->template_text, "");
    assert_span_equal(rule->body, "*");
}

static void the_last_pattern_of_the_oneof_wins(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 2, "/a");
    fds_text(&r->wire, 4, "/b");
    const struct tr_http_rule *rule = parse(r);
    assert_span_equal(rule->verb, "POST");
    assert_span_equal(rule->template_text, "/b");
}

static void put_additional(struct tr_buf *b, const char *path, const char *body, const char *nested)
{
    struct tr_buf sub, inner;
    tr_buf_init(&sub);
    tr_buf_init(&inner);
    fds_text(&sub, 4, path);
    fds_text(&sub, 7, body);
    if (nested) {
        fds_text(&inner, 2, nested);
        fds_put(&sub, 11, &inner);
    }
    fds_put(b, 11, &sub);
}

static void additional_bindings_keep_their_order(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 2, "/a");
    fds_text(&r->wire, 12, "books");
    put_additional(&r->wire, "/b", "*", NULL);
    put_additional(&r->wire, "/c", "book", NULL);
    const struct tr_http_rule *rule = parse(r);
    assert_span_equal(rule->response_body, "books");
    assert_int_equal(rule->additional_count, 2);
    assert_span_equal(rule->additional[0].template_text, "/b");
    assert_span_equal(rule->additional[0].body, "*");
    assert_span_equal(rule->additional[1].template_text, "/c");
    assert_span_equal(rule->additional[1].body, "book");
    assert_span_equal(rule->additional[1].response_body, "");
    assert_false(rule->nested_additional);
}

static void nested_additional_bindings_are_flagged(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 2, "/a");
    put_additional(&r->wire, "/b", "*", NULL);
    put_additional(&r->wire, "/c", "*", "/d");
    const struct tr_http_rule *rule = parse(r);
    assert_true(rule->nested_additional);
    assert_false(rule->additional[0].nested_additional);
    assert_true(rule->additional[1].nested_additional);
    assert_null(rule->additional[1].additional);
}

static void deep_nesting_is_refused_without_recursion(void **state)
{
    struct rule *r = *state;
    struct tr_buf inner;
    fds_text(&r->wire, 2, "/a");
    for (int i = 0; i < 2000; i++) {
        inner = r->wire;
        tr_buf_init(&r->wire);
        fds_put(&r->wire, 11, &inner);
    }
    const struct tr_http_rule *rule = NULL;
    assert_int_equal(tr_annot_http_rule(&r->arena, tr_buf_span(&r->wire), &rule, &r->st),
                     TR_ERR_DESCRIPTOR);
    assert_null(rule);
}

static void every_truncation_is_a_result(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 2, "/a");
    put_additional(&r->wire, "/c", "*", "/d");
    unsigned good = 0;
    for (size_t n = 0; n <= r->wire.len; n++) {
        char *copy = tr_malloc(n); /* of its exact size, so that ASan sees an overrun */
        const struct tr_http_rule *rule = NULL;
        memcpy(copy, r->wire.ptr, n);
        enum tr_err err = tr_annot_http_rule(&r->arena, tr_span(copy, n), &rule, &r->st);
        assert_true(err == TR_OK || err == TR_ERR_DESCRIPTOR);
        assert_int_equal(err == TR_OK, rule != NULL);
        good += err == TR_OK;
        tr_free(copy);
    }
    assert_int_equal(good, 3); /* between fields: nothing, the pattern, all */
}

static void every_failed_allocation_is_told(void **state)
{
    struct rule *r = *state;
    fds_text(&r->wire, 2, "/a");
    put_additional(&r->wire, "/c", "*", "/d");
    enum tr_err err = TR_ERR_NOMEM;
    uint64_t n = 0;
    while (err) {
        const struct tr_http_rule *rule = NULL;
        tr_arena_reset(&r->arena);
        tr_alloc_fail_after(++n);
        err = tr_annot_http_rule(&r->arena, tr_buf_span(&r->wire), &rule, &r->st);
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK || err == TR_ERR_NOMEM);
        assert_true(n < 1000);
    }
    assert_true(n > 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_verb_has_its_name),
        TEST(custom_verb_is_taken_as_written),
        TEST(empty_custom_pattern_has_empty_verb),
        TEST(rule_without_pattern_has_empty_verb),
        TEST(the_last_pattern_of_the_oneof_wins),
        TEST(additional_bindings_keep_their_order),
        TEST(nested_additional_bindings_are_flagged),
        TEST(deep_nesting_is_refused_without_recursion),
        TEST(every_truncation_is_a_result),
        TEST(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
