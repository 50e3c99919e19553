#include "transcode/bind.h"

#include "json2pb_util.h"
#include "test.h"

static struct tr_arena arena;
static struct tr_buf out;
static struct tr_status st;

static int setup(void **state)
{
    (void)state;
    tr_arena_init(&arena, NULL);
    tr_buf_init(&out);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    tr_arena_fini(&arena);
    tr_buf_fini(&out);
    return 0;
}

static const struct tr_bind_field *compile(const char *type, const char *path)
{
    const struct tr_bind_field *b = NULL;
    enum tr_err err = tr_bind_path_compile(j2p_type(type), tr_span_cstr(path), &arena, &b, &st);
    if (err)
        fail_msg("%s: %.*s", path, (int)st.text_len, st.text);
    return b;
}

/* The wire text of one binding. */
static void assert_binds(const char *path, const char *value, const char *want)
{
    struct tr_buf text;
    tr_buf_init(&text);
    tr_buf_clear(&out);
    const struct tr_bind_field *b = compile("j2p.All", path);
    enum tr_err err = tr_bind_value(b, tr_span_cstr(value), &out, &st);
    if (err)
        fail_msg("%s=%s: %.*s", path, value, (int)st.text_len, st.text);
    j2p_text(&text, j2p_type("j2p.All"), tr_buf_span(&out));
    assert_span_equal(tr_buf_span(&text), want);
    tr_buf_fini(&text);
}

static void assert_refuses_value(const char *path, struct tr_span value, const char *text)
{
    const struct tr_bind_field *b = compile("j2p.All", path);
    tr_buf_clear(&out);
    assert_int_equal(tr_buf_push(&out, '.'), TR_OK);
    assert_int_equal(tr_bind_value(b, value, &out, &st), TR_ERR_PATH_VALUE);
    assert_int_equal(st.err, TR_ERR_PATH_VALUE);
    assert_span_equal(tr_span(st.field, st.field_len), path);
    assert_span_equal(tr_status_text(&st), text);
    assert_span_equal(tr_buf_span(&out), ".");
}

static void bind_encodes_every_scalar(void **state)
{
    (void)state;
    assert_binds("f_double", "1.5", "f_double: 1.5\n");
    assert_binds("f_double", "-Infinity", "f_double: -inf\n");
    assert_binds("f_float", "NaN", "f_float: nan\n");
    assert_binds("f_int64", "-9223372036854775808", "f_int64: -9223372036854775808\n");
    assert_binds("f_uint64", "18446744073709551615", "f_uint64: 18446744073709551615\n");
    assert_binds("f_int32", "-1", "f_int32: -1\n");
    assert_binds("f_fixed64", "3", "f_fixed64: 3\n");
    assert_binds("f_fixed32", "4294967295", "f_fixed32: 4294967295\n");
    assert_binds("f_bool", "TRUE", "f_bool: true\n");
    assert_binds("f_bool", "false", "f_bool: false\n");
    assert_binds("f_string", "", "f_string: \"\"\n");
    assert_binds("f_string", "a/b", "f_string: \"a/b\"\n");
    assert_binds("f_bytes", "-_-_", "f_bytes: \"\\373\\377\\277\"\n");
    assert_binds("f_uint32", "0", "f_uint32: 0\n");
    assert_binds("f_color", "LIME", "f_color: 2\n");
    assert_binds("f_color", "-1", "f_color: -1\n");
    assert_binds("f_sfixed32", "-2", "f_sfixed32: -2\n");
    assert_binds("f_sfixed64", "-2", "f_sfixed64: -2\n");
    assert_binds("f_sint32", "-2147483648", "f_sint32: -2147483648\n");
    assert_binds("f_sint64", "1e3", "f_sint64: 1000\n");
    assert_binds("another-name", "5", "renamed: 5\n");
}

static void bind_nests_messages(void **state)
{
    (void)state;
    assert_binds("book.editor.mentor.name", "x",
                 "book {\n  editor {\n    mentor {\n      name: \"x\"\n    }\n  }\n}\n");
    assert_binds("self.book.pageCount", "7", "self {\n  book {\n    page_count: 7\n  }\n}\n");
    const struct tr_bind_field *b = compile("j2p.All", "self.book.pageCount");
    assert_span_equal(b->path, "self.book.page_count");
    assert_int_equal(b->depth, 3);
}

/* Zeros are there, so that the value wins when both are merged. */
static void bind_writes_all_members_of_well_known_types(void **state)
{
    (void)state;
    assert_binds("timestamp", "1970-01-01T00:00:00Z", "timestamp {\n  seconds: 0\n  nanos: 0\n}\n");
    assert_binds("duration", "-1.5s", "duration {\n  seconds: -1\n  nanos: -500000000\n}\n");
    assert_binds("w_int32", "0", "w_int32 {\n  value: 0\n}\n");
    assert_binds("w_bool", "False", "w_bool {\n  value: false\n}\n");
    assert_binds("w_string", "", "w_string {\n  value: \"\"\n}\n");
    assert_binds("w_bytes", "AQ", "w_bytes {\n  value: \"\\001\"\n}\n");
    assert_binds("w_double", "2", "w_double {\n  value: 2\n}\n");
}

static void bind_wraps_long_values_with_long_lengths(void **state)
{
    (void)state;
    char value[20001];
    memset(value, 'x', 20000);
    value[20000] = '\0';
    const struct tr_bind_field *b = compile("j2p.All", "book.editor.name");
    assert_int_equal(tr_bind_value(b, tr_span_cstr(value), &out, &st), TR_OK);
    struct tr_buf text;
    tr_buf_init(&text);
    j2p_text(&text, j2p_type("j2p.All"), tr_buf_span(&out));
    assert_true(tr_span_starts(tr_buf_span(&text), TR_SPAN("book {\n  editor {\n    name: \"xxx")));
    assert_true(tr_span_ends(tr_buf_span(&text), TR_SPAN("xxx\"\n  }\n}\n")));
    assert_int_equal(text.len, 20000 + strlen("book {\n  editor {\n    name: \"\"\n  }\n}\n"));
    tr_buf_fini(&text);
}

static void bind_goes_through_groups(void **state)
{
    (void)state;
    const struct tr_bind_field *b = compile("j2p2.Old", "data.inner.n");
    assert_int_equal(tr_bind_value(b, TR_SPAN("5"), &out, &st), TR_OK);
    assert_span_equal(tr_buf_span(&out), "\x13\x23\x28\x05\x24\x14");
}

static void bind_refuses_values_that_do_not_fit(void **state)
{
    (void)state;
    assert_refuses_value("f_int32", TR_SPAN("x"), "expected a number (int32), got \"x\"");
    assert_refuses_value("f_int32", TR_SPAN("2147483648"), "int32 out of range: 2147483648");
    assert_refuses_value("f_bool", TR_SPAN("1"), "expected true or false");
    assert_refuses_value("f_color", TR_SPAN("PINK"), "j2p.Color has no value \"PINK\"");
    assert_refuses_value("f_color", TR_SPAN(""), "j2p.Color has no value \"\"");
    assert_refuses_value("f_bytes", TR_SPAN("*"), "the value is not base64");
    assert_refuses_value("f_string", TR_SPAN("a\xff"), "the value is not valid UTF-8");
    assert_refuses_value("book.editor.born_year", TR_SPAN(""),
                         "expected a number (int32), got \"\"");
    assert_refuses_value("w_int32", TR_SPAN("1.5"), "expected an integer (int32), got 1.5");
    assert_refuses_value(
        "duration", TR_SPAN("5"),
        "expected a duration such as \"1.5s\", at most 315576000000 seconds either way");
}

static void bind_refuses_paths_that_cannot_bind(void **state)
{
    (void)state;
    static const struct {
        const char *path, *text;
    } cases[] = {
        {"", "the variable \"\" names no field of the request"},
        {"nope", "the variable \"nope\" names no field of the request"},
        {"book.", "the variable \"book.\" names no field of the request"},
        {"book.nope", "the variable \"book.nope\" names no field of the request"},
        {"f_string.x",
         "the variable \"f_string.x\" goes through a field that is no single message"},
        {"r_book.name",
         "the variable \"r_book.name\" goes through a field that is no single message"},
        {"m_book.value",
         "the variable \"m_book.value\" goes through a field that is no single message"},
        {"r_string", "the variable \"r_string\" is repeated, which the path cannot bind"},
        {"m_int32", "the variable \"m_int32\" is a map, which the path cannot bind"},
        {"book", "the variable \"book\" is a message without a string form"},
        {"struct", "the variable \"struct\" is a message without a string form"},
        {"value", "the variable \"value\" is a message without a string form"},
        {"any", "the variable \"any\" is a message without a string form"},
        {"mask", "the variable \"mask\" is a FieldMask, which the path cannot override"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tr_bind_field *b = NULL;
        assert_int_equal(
            tr_bind_path_compile(j2p_type("j2p.All"), tr_span_cstr(cases[i].path), &arena, &b, &st),
            TR_ERR_CONFIG);
        assert_span_equal(tr_status_text(&st), cases[i].text);
        assert_span_equal(tr_span(st.field, st.field_len), cases[i].path);
        assert_null(b);
    }
    char deep[1024] = "self";
    for (int i = 0; i < 32; i++)
        (void)strncat(deep, ".self", sizeof deep - strlen(deep) - 1);
    const struct tr_bind_field *b = NULL;
    assert_int_equal(tr_bind_path_compile(j2p_type("j2p.All"), tr_span_cstr(deep), &arena, &b, &st),
                     TR_ERR_CONFIG);
}

static void bind_tells_of_missing_memory(void **state)
{
    (void)state;
    const struct tr_bind_field *b = NULL;
    tr_alloc_fail_after(1);
    enum tr_err err =
        tr_bind_path_compile(j2p_type("j2p.All"), TR_SPAN("f_int32"), &arena, &b, &st);
    tr_alloc_fail_after(0);
    assert_int_equal(err, TR_ERR_NOMEM);
    b = compile("j2p.All", "book.editor.name");
    tr_alloc_fail_after(1);
    err = tr_bind_value(b, TR_SPAN("x"), &out, &st);
    tr_alloc_fail_after(0);
    assert_int_equal(err, TR_ERR_NOMEM);
    assert_int_equal(out.len, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bind_encodes_every_scalar),
        T(bind_nests_messages),
        T(bind_writes_all_members_of_well_known_types),
        T(bind_wraps_long_values_with_long_lengths),
        T(bind_goes_through_groups),
        T(bind_refuses_values_that_do_not_fit),
        T(bind_refuses_paths_that_cannot_bind),
        T(bind_tells_of_missing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
