#include "obs/accesslog.h"

#include "test.h"

#include <stdio.h>

static struct tr_buf out;

static int setup(void **state)
{
    (void)state;
    tr_buf_init(&out);
    return tr_buf_reserve(&out, TR_ACCESSLOG_BUF_BYTES) != TR_OK;
}

static int teardown(void **state)
{
    (void)state;
    tr_buf_fini(&out);
    return 0;
}

static struct tr_access_fields only(enum tr_access_field a, enum tr_access_field b)
{
    return (struct tr_access_fields){.items = {(uint8_t)a, (uint8_t)b}, .count = 2};
}

static void check(const struct tr_access_fields *fields, const struct tr_access_entry *entry,
                  const char *want)
{
    assert_int_equal(tr_accesslog_format(&out, fields, entry), TR_OK);
    assert_span_equal(tr_buf_span(&out), want);
}

static void accesslog_members_are_in_the_order_asked_for(void **state)
{
    struct tr_access_entry entry = {0};
    struct tr_access_fields fields = only(TR_ACCESS_STATUS, TR_ACCESS_METHOD);
    (void)state;
    entry.text[TR_ACCESS_METHOD] = TR_SPAN("GET");
    entry.number[TR_ACCESS_STATUS] = 200;
    check(&fields, &entry, "{\"status\":200,\"method\":\"GET\"}\n");
    fields = only(TR_ACCESS_METHOD, TR_ACCESS_STATUS);
    check(&fields, &entry, "{\"method\":\"GET\",\"status\":200}\n");
}

static void accesslog_what_says_nothing_is_left_out_but_numbers(void **state)
{
    struct tr_access_entry entry = {0};
    struct tr_access_fields fields = only(TR_ACCESS_METHOD, TR_ACCESS_ATTEMPTS);
    (void)state;
    check(&fields, &entry, "{\"attempts\":0}\n");
    fields = only(TR_ACCESS_METHOD, TR_ACCESS_PATH);
    check(&fields, &entry, "{}\n");
    fields = only(TR_ACCESS_TLS, TR_ACCESS_FAIL_OPEN);
    check(&fields, &entry, "{\"tls\":false}\n");
    entry.text[TR_ACCESS_FAIL_OPEN] = TR_SPAN("authentication,quota");
    entry.number[TR_ACCESS_TLS] = 1;
    check(&fields, &entry, "{\"tls\":true,\"fail_open\":[\"authentication\",\"quota\"]}\n");
}

static void accesslog_strings_of_clients_are_escaped(void **state)
{
    struct tr_access_entry entry = {0};
    struct tr_access_fields fields = only(TR_ACCESS_PATH, TR_ACCESS_USER_AGENT);
    (void)state;
    entry.text[TR_ACCESS_PATH] = TR_SPAN("/a\"},{\"x\":\"\\\n\r\x01");
    entry.text[TR_ACCESS_USER_AGENT] = TR_SPAN("\xff\xc3\xa4\xe2\x82");
    check(&fields, &entry,
          "{\"path\":\"/a\\\"},{\\\"x\\\":\\\"\\\\\\n\\r\\u0001\","
          "\"user_agent\":\"\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\"}\n");
}

/* JSON lets them stand; who splits text at any end of a line, or prints it, must not meet them. */
static void accesslog_what_ends_lines_elsewhere_is_escaped(void **state)
{
    struct tr_access_entry entry = {0};
    struct tr_access_fields fields = only(TR_ACCESS_USER_AGENT, TR_ACCESS_REFERER);
    (void)state;
    entry.text[TR_ACCESS_USER_AGENT] =
        TR_SPAN("a\x7f"
                "b\xc2\x85"
                "\xc2\x80\xc2\x9f\xc2\xa0"
                "\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae\xe2\x80\xaf");
    entry.text[TR_ACCESS_REFERER] =
        TR_SPAN("\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa\xe2\xc2\x85\xe2\x80\"\n");
    check(&fields, &entry,
          "{\"user_agent\":\"a\\u007fb\\u0085\\u0080\\u009f\xc2\xa0"
          "\xe2\x80\xa7\\u2028\\u2029\\u202e\xe2\x80\xaf\","
          "\"referer\":"
          "\"\xe2\x81\xa5\\u2066\\u2069\xe2\x81\xaa\xef\xbf\xbd\\u0085\xef\xbf\xbd\\\"\\n\"}\n");
}

static void accesslog_strings_are_not_cut_within_a_character(void **state)
{
    static char text[3 * TR_ACCESSLOG_TEXT_MAX], want[4 * TR_ACCESSLOG_TEXT_MAX];
    struct tr_access_entry entry = {0};
    struct tr_access_fields fields = only(TR_ACCESS_SUBJECT, TR_ACCESS_TLS);
    (void)state;
    for (size_t before = 0; before < 4; before++) {
        memset(text, 'x', before);
        for (size_t i = before; i + 4 <= sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 4);
        size_t whole = before + (TR_ACCESSLOG_TEXT_MAX - before) / 4 * 4;
        entry.text[TR_ACCESS_SUBJECT] = tr_span(text, sizeof text - 4);
        (void)snprintf(want, sizeof want, "{\"subject\":\"%.*s\",\"tls\":false}\n", (int)whole,
                       text);
        check(&fields, &entry, want);
    }
}

static void accesslog_strings_are_cut(void **state)
{
    static char text[5000];
    struct tr_access_entry entry = {0};
    struct tr_access_fields fields = only(TR_ACCESS_PATH, TR_ACCESS_SUBJECT);
    (void)state;
    memset(text, 'x', sizeof text);
    entry.text[TR_ACCESS_PATH] = tr_span(text, sizeof text);
    entry.text[TR_ACCESS_SUBJECT] = tr_span(text, sizeof text);
    assert_int_equal(tr_accesslog_format(&out, &fields, &entry), TR_OK);
    assert_int_equal(out.len, TR_ACCESSLOG_PATH_MAX + TR_ACCESSLOG_TEXT_MAX +
                                  strlen("{\"path\":\"\",\"subject\":\"\"}\n"));
}

/* Every field at its worst: still one line, and nothing of it is lost. */
static void accesslog_a_line_is_bounded_whatever_clients_send(void **state)
{
    static char text[70000];
    static const char worst[] = {'\x01', '"', '\\', '\xff', 'a', '\n', '\x7f'};
    struct tr_access_fields fields = {.count = TR_ACCESS__COUNT};
    (void)state;
    for (size_t w = 0; w < sizeof worst; w++) {
        struct tr_access_entry entry = {0};
        memset(text, worst[w], sizeof text);
        for (unsigned i = 0; i < TR_ACCESS__COUNT; i++) {
            fields.items[i] = (uint8_t)i;
            entry.text[i] = tr_span(text, sizeof text);
            entry.number[i] = UINT64_MAX;
        }
        entry.text[TR_ACCESS_TIME] = TR_SPAN("2026-11-24T12:00:00.000Z");
        entry.text[TR_ACCESS_HTTP] = TR_SPAN("1.1");
        entry.text[TR_ACCESS_DIALECT] = TR_SPAN("rest");
        entry.text[TR_ACCESS_REASON] = TR_SPAN("A_NAME_OF_AN_ERROR_THAT_IS_LONG");
        entry.text[TR_ACCESS_CONFIG] = TR_SPAN("0123456789abcdef");
        entry.text[TR_ACCESS_TRACE_ID] = TR_SPAN("0123456789abcdef0123456789abcdef");
        entry.text[TR_ACCESS_FAIL_OPEN] = TR_SPAN("authentication,quota");
        entry.text[TR_ACCESS_FAIL_LOCAL] = TR_SPAN("quota");
        size_t cap = out.cap;
        assert_int_equal(tr_accesslog_format(&out, &fields, &entry), TR_OK);
        assert_true(out.len <= TR_ACCESSLOG_LINE_MAX);
        assert_int_equal(out.cap, cap); /* no allocation */
        struct tr_span line = tr_buf_span(&out);
        assert_int_equal(tr_span_find(line, '\n'), line.len - 1);
        for (unsigned i = 0; i < TR_ACCESS__COUNT; i++) {
            char name[64];
            struct tr_span field = tr_access_field_name((enum tr_access_field)i);
            int n = snprintf(name, sizeof name, "\"%.*s\":", (int)field.len, field.ptr);
            assert_non_null(memmem(line.ptr, line.len, name, (size_t)n));
        }
    }
}

static void accesslog_names_are_found(void **state)
{
    struct tr_access_fields fields;
    (void)state;
    for (unsigned i = 0; i < TR_ACCESS__COUNT; i++)
        assert_int_equal(tr_access_field_from(tr_access_field_name((enum tr_access_field)i)), i);
    assert_int_equal(tr_access_field_from(TR_SPAN("nope")), TR_ACCESS__COUNT);
    assert_int_equal(tr_access_field_from(TR_SPAN("")), TR_ACCESS__COUNT);
    tr_access_fields_default(&fields);
    assert_true(tr_access_fields_has(&fields, TR_ACCESS_STATUS));
    assert_false(tr_access_fields_has(&fields, TR_ACCESS_USER_AGENT));
}

static void check_time(int64_t ms, const char *want)
{
    char text[TR_ACCESSLOG_TIME_LEN];
    assert_span_equal(tr_accesslog_time(text, ms), want);
}

static void accesslog_time_is_rfc3339(void **state)
{
    (void)state;
    check_time(0, "1970-01-01T00:00:00.000Z");
    check_time(951782399999, "2000-02-28T23:59:59.999Z");
    check_time(951782400000, "2000-02-29T00:00:00.000Z");
    check_time(951868800000, "2000-03-01T00:00:00.000Z");
    check_time(1795521600123, "2026-11-24T12:00:00.123Z");
    check_time(4107542400000, "2100-03-01T00:00:00.000Z");
    check_time(1735689599001, "2024-12-31T23:59:59.001Z");
    check_time(-5, "1970-01-01T00:00:00.000Z");
}

static void accesslog_out_of_memory_is_told(void **state)
{
    struct tr_access_fields fields;
    struct tr_access_entry entry = {0};
    struct tr_buf fresh;
    (void)state;
    tr_access_fields_default(&fields);
    for (uint64_t n = 1;; n++) {
        tr_buf_init(&fresh);
        tr_alloc_fail_after(n);
        enum tr_err err = tr_accesslog_format(&fresh, &fields, &entry);
        tr_alloc_fail_after(0);
        tr_buf_fini(&fresh);
        if (err == TR_OK)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
    }
}

/* The page of the log names every field, with what it says. */
static void accesslog_fields_stand_in_the_document(void **state)
{
    static char text[64 * 1024];
    static const struct {
        const char *name, *doc;
    } all[] = {
#define FIELD(id, name, kind, when, doc) {name, doc},
#include "obs/accesslog.def"
#undef FIELD
    };
    (void)state;
    FILE *f = fopen("contrib/doc/access-log.md", "re");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    assert_int_equal(fclose(f), 0);
    text[n] = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char row[512];
        (void)snprintf(row, sizeof row, "| `%s` | ", all[i].name);
        const char *at = strstr(text, row);
        assert_non_null(at);
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        assert_non_null(memmem(at, (size_t)(end - at), all[i].doc, strlen(all[i].doc)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accesslog_members_are_in_the_order_asked_for),
        cmocka_unit_test(accesslog_what_says_nothing_is_left_out_but_numbers),
        cmocka_unit_test(accesslog_strings_of_clients_are_escaped),
        cmocka_unit_test(accesslog_what_ends_lines_elsewhere_is_escaped),
        cmocka_unit_test(accesslog_strings_are_not_cut_within_a_character),
        cmocka_unit_test(accesslog_strings_are_cut),
        cmocka_unit_test(accesslog_a_line_is_bounded_whatever_clients_send),
        cmocka_unit_test(accesslog_names_are_found),
        cmocka_unit_test(accesslog_time_is_rfc3339),
        cmocka_unit_test(accesslog_out_of_memory_is_told),
        cmocka_unit_test(accesslog_fields_stand_in_the_document),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
