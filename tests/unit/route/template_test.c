#include "route/template.h"

#include "test.h"

#include <stdio.h>

/* "a * ** | field:first:count! ... | verb": '!' marks multi. */
static void describe(const struct tr_template *t, char *out, size_t cap)
{
    size_t n = 0;
    static const char *const wild[] = {"", "*", "**"};
    for (unsigned i = 0; i < t->segment_count; i++) {
        const struct tr_segment *s = &t->segments[i];
        n += (size_t)snprintf(out + n, cap - n, "%.*s%s ", (int)s->literal.len,
                              s->literal.ptr ? s->literal.ptr : "", wild[s->kind]);
    }
    n += (size_t)snprintf(out + n, cap - n, "|");
    for (unsigned i = 0; i < t->var_count; i++) {
        const struct tr_template_var *v = &t->vars[i];
        n += (size_t)snprintf(out + n, cap - n, " %.*s:%u:%u%s", (int)v->field_path.len,
                              v->field_path.ptr, v->first, v->count, v->multi ? "!" : "");
    }
    (void)snprintf(out + n, cap - n, "|%.*s", (int)t->verb.len, t->verb.ptr);
}

static void templates_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"/", "||"},
        {"/v1/books", "v1 books ||"},
        {"/v1/{name}", "v1 * | name:1:1|"},
        {"/v1/{name=*}:get", "v1 * | name:1:1|get"},
        {"/v1/{name=shelves/*/books/*}", "v1 shelves * books * | name:1:4!|"},
        {"/v1/{x=lit}/{y.z_1=**}:v", "v1 lit ** | x:1:1 y.z_1:2:1!|v"},
        {"/**", "** ||"},
        {"/*/**/x/*", "* ** x * ||"},
        {"/v1/{parent=projects/*/documents/*/**}/{id}",
         "v1 projects * documents * ** * | parent:1:5! id:6:1|"},
        {"/v1/{name=**/sessions/*}", "v1 ** sessions * | name:1:3!|"},
        {"/a%2fb/%61%7E/%2A:%2c", "a%2Fb a~ %2A ||%2C"},
        {"/-._~!$&'()+,;=@", "-._~!$&'()+,;=@ ||"},
        {"/.well-known/x..y/...", ".well-known x..y ... ||"},
        {"/{_a=b=c}", "b=c | _a:0:1|"},
        {"/v1/%C3%A9", "v1 %C3%A9 ||"},
    };
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_template t;
        struct tr_status st;
        char got[512];
        if (tr_template_parse(tr_span_cstr(cases[i].text), &arena, &t, &st) != TR_OK)
            fail_msg("%s: %.*s", cases[i].text, (int)st.text_len, st.text);
        describe(&t, got, sizeof got);
        assert_string_equal(got, cases[i].want);
        assert_span_equal(t.text, cases[i].text);
        unsigned deep = 0;
        while (deep < t.segment_count && t.segments[deep].kind != TR_SEGMENT_DEEP)
            deep++;
        assert_int_equal(t.deep, deep);
    }
    tr_arena_fini(&arena);
}

static void refusals_say_where_and_why(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
        const char *why; /* part of the reason */
    } cases[] = {
        {"", 0, "begins with '/'"},
        {"v1", 0, "begins with '/'"},
        {"//", 1, "empty segment"},
        {"/a/", 3, "empty segment"},
        {"/a//b", 3, "empty segment"},
        {"/{a=}", 4, "a literal"},
        {"/{a=/b}", 4, "empty segment"},
        {"/{a=b/}", 6, "a literal"},
        {"/:verb", 1, "needs a segment"},
        {"/a/:verb", 3, "needs a segment"},
        {"/a:", 3, "empty verb"},
        {"/a:b:c", 4, "end the template"},
        {"/a:b/c", 4, "end the template"},
        {"/{a=b:c}", 5, "outside of variables"},
        {"/**/**", 4, "second '**'"},
        {"/{a=**}/b/**", 10, "second '**'"},
        {"/***", 3, "whole segment"},
        {"/a*", 2, "whole segment"},
        {"/*a", 2, "'/' or ':'"},
        {"/a{b}", 2, "whole segment"},
        {"/{b}a", 4, "'/' or ':'"},
        {"/{a={b}}", 4, "do not nest"},
        {"/{a=b/{c}}", 6, "do not nest"},
        {"/{a}/{a}", 6, "bound twice"},
        {"/{}", 2, "field name"},
        {"/{a.}", 4, "field name"},
        {"/{a..b}", 4, "field name"},
        {"/{1a}", 2, "field name"},
        {"/{a-b}", 3, "'=' or '}'"},
        {"/{a", 3, "'=' or '}'"},
        {"/{a=b", 5, "'}' is missing"},
        {"/{a=b/c", 7, "'}' is missing"},
        {"/a}", 2, "'/' or ':'"},
        {"/a?b", 2, "'/' or ':'"},
        {"/a b", 2, "'/' or ':'"},
        {"/\xC3\xA9", 1, "a literal"},
        {"/a%", 2, "hexadecimal"},
        {"/a%2", 2, "hexadecimal"},
        {"/a:%zz", 3, "hexadecimal"},
        {"/%00", 1, "%00"},
        {"/%ff", 1, "UTF-8"},
        {"/.", 1, "in no path"},
        {"/a/..", 3, "in no path"},
        {"/a/%2e%2E", 3, "in no path"},
        {"/{a=x/..}", 6, "in no path"},
    };
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_template t;
        struct tr_status st;
        tr_status_clear(&st);
        if (tr_template_parse(tr_span_cstr(cases[i].text), &arena, &t, &st) != TR_ERR_CONFIG)
            fail_msg("%s was taken", cases[i].text);
        char text[TR_STATUS_TEXT_MAX + 1] = {0};
        memcpy(text, st.text, st.text_len);
        if (st.offset != cases[i].offset || !strstr(text, cases[i].why))
            fail_msg("%s: %s at %zu, not %s at %zu", cases[i].text, text, st.offset, cases[i].why,
                     cases[i].offset);
        assert_int_equal(tr_template_parse(tr_span_cstr(cases[i].text), &arena, &t, NULL),
                         TR_ERR_CONFIG);
    }
    tr_arena_fini(&arena);
}

static enum tr_err parse_repeated(struct tr_arena *arena, const char *open, const char *close,
                                  unsigned times)
{
    char text[4096];
    size_t n = 0;
    for (unsigned i = 0; i < times; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%u%s", open, i, close);
    struct tr_template t;
    return tr_template_parse(tr_span(text, n), arena, &t, NULL);
}

static void limits_hold_exactly(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_template t;
    tr_arena_init(&arena, NULL);
    assert_int_equal(parse_repeated(&arena, "/s", "", TR_TEMPLATE_SEGMENTS_MAX), TR_OK);
    assert_int_equal(parse_repeated(&arena, "/s", "", TR_TEMPLATE_SEGMENTS_MAX + 1), TR_ERR_CONFIG);
    assert_int_equal(parse_repeated(&arena, "/{v", "}", TR_TEMPLATE_VARS_MAX), TR_OK);
    assert_int_equal(parse_repeated(&arena, "/{v", "}", TR_TEMPLATE_VARS_MAX + 1), TR_ERR_CONFIG);
    char text[TR_TEMPLATE_LITERAL_MAX + 2];
    memset(text, 'a', sizeof text);
    text[0] = '/';
    assert_int_equal(tr_template_parse(tr_span(text, sizeof text - 1), &arena, &t, NULL), TR_OK);
    assert_int_equal(tr_template_parse(tr_span(text, sizeof text), &arena, &t, NULL),
                     TR_ERR_CONFIG);
    tr_arena_fini(&arena);
}

static void the_text_is_copied(void **state)
{
    (void)state;
    char text[] = "/v1/{name=a/*}:verb";
    struct tr_arena arena;
    struct tr_template t;
    char got[256];
    tr_arena_init(&arena, NULL);
    assert_int_equal(tr_template_parse(tr_span_cstr(text), &arena, &t, NULL), TR_OK);
    memset(text, 'x', sizeof text - 1);
    describe(&t, got, sizeof got);
    assert_string_equal(got, "v1 a * | name:1:2!|verb");
    tr_arena_fini(&arena);
}

static void each_failing_allocation_is_an_error(void **state)
{
    (void)state;
    enum tr_err err = TR_ERR_NOMEM;
    for (uint64_t n = 1; err == TR_ERR_NOMEM; n++) {
        struct tr_arena arena;
        struct tr_template t;
        assert_true(n < 100);
        tr_arena_init(&arena, NULL);
        tr_alloc_fail_after(n);
        err = tr_template_parse(TR_SPAN("/v1/%61/{name=a/**}/{b}:verb"), &arena, &t, NULL);
        tr_alloc_fail_after(0);
        assert_true(n > 1 || err == TR_ERR_NOMEM);
        tr_arena_fini(&arena);
    }
    assert_int_equal(err, TR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_taken_apart),
        cmocka_unit_test(refusals_say_where_and_why),
        cmocka_unit_test(limits_hold_exactly),
        cmocka_unit_test(the_text_is_copied),
        cmocka_unit_test(each_failing_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
