#include "config/config.h"
#include "config/snapshot.h"
#include "json/scan.h"
#include "test.h"

static void durations_have_a_unit_and_do_not_overflow(void **state)
{
    uint64_t ns;
    (void)state;
    assert_true(tr_duration_parse(TR_SPAN("1.5s"), &ns));
    assert_int_equal(ns, 1500000000u);
    assert_true(tr_duration_parse(TR_SPAN("200ms"), &ns));
    assert_int_equal(ns, 200000000u);
    assert_true(tr_duration_parse(TR_SPAN("5m"), &ns));
    assert_int_equal(ns, 300000000000u);
    assert_true(tr_duration_parse(TR_SPAN("0s"), &ns));
    assert_int_equal(ns, 0);
    assert_false(tr_duration_parse(TR_SPAN("5"), &ns));
    assert_false(tr_duration_parse(TR_SPAN("s"), &ns));
    assert_false(tr_duration_parse(TR_SPAN("-1s"), &ns));
    assert_false(tr_duration_parse(TR_SPAN("1.2.3s"), &ns));
    assert_false(tr_duration_parse(TR_SPAN("9999999999999h"), &ns));
    assert_false(tr_duration_parse(TR_SPAN(""), &ns));
}

static void sizes_are_integers_or_binary_units(void **state)
{
    uint64_t n;
    (void)state;
    assert_true(tr_size_parse(TR_SPAN("4MiB"), &n));
    assert_int_equal(n, 4u << 20);
    assert_true(tr_size_parse(TR_SPAN("100"), &n));
    assert_int_equal(n, 100);
    assert_true(tr_size_parse(TR_SPAN("3KiB"), &n));
    assert_int_equal(n, 3072);
    assert_false(tr_size_parse(TR_SPAN("4MB"), &n));
    assert_false(tr_size_parse(TR_SPAN("MiB"), &n));
    assert_false(tr_size_parse(TR_SPAN("9999999999999999GiB"), &n));
}

static void a_pointer_is_found_at_its_line_and_column(void **state)
{
    static const char text[] =
        "{\n  \"a\": 1,\n  \"b\": [10,\n    {\"c/d\": true}],\n  \"e\": {}\n}";
    uint32_t line, column;
    (void)state;
    assert_true(tr_json_locate(tr_span_cstr(text), TR_SPAN("/a"), &line, &column));
    assert_int_equal(line, 2);
    assert_int_equal(column, 8);
    assert_true(tr_json_locate(tr_span_cstr(text), TR_SPAN("/b/1/c~1d"), &line, &column));
    assert_int_equal(line, 4);
    assert_int_equal(column, 13);
    assert_true(tr_json_locate(tr_span_cstr(text), TR_SPAN("/b/0"), &line, &column));
    assert_int_equal(line, 3);
    assert_true(tr_json_locate(tr_span_cstr(text), TR_SPAN(""), &line, &column));
    assert_int_equal(line, 1);
    assert_false(tr_json_locate(tr_span_cstr(text), TR_SPAN("/e/x"), &line, &column));
    assert_int_equal(line, 5); /* of the object that lacks it */
}

static struct tr_snapshot *build(const char *text)
{
    struct tr_snapshot *snap = NULL;
    (void)!tr_snapshot_build(tr_span_cstr(text), TR_SPAN(""), NULL, TR_SNAPSHOT_OFFLINE, &snap);
    assert_non_null(snap);
    return snap;
}

static bool has_problem(const struct tr_snapshot *snap, const char *where, const char *part)
{
    for (const struct tr_problem *p = snap->problems.first; p; p = p->next)
        if (tr_span_eq(p->where, tr_span_cstr(where)) && strstr(p->text.ptr, part))
            return true;
    return false;
}

static void every_problem_is_reported_with_its_place(void **state)
{
    struct tr_snapshot *snap = build(
        "{\"listeners\":[{\"adress\":\"127.0.0.1:0\"}],\n\"drain_delay\":5,\n\"workers\":-1,\n"
        "\"descriptors\":\"x\",\"upstreams\":{\"b\":{\"endpoints\":[\"na "
        "me:1\",\"dns:///x\"]}},\"services\":[{}],"
        "\"policies\":{\"*\":{\"timeout\":\"1\"},\"a b\":{}}}");
    (void)state;
    assert_true(has_problem(snap, "/listeners/0/adress", "did you mean \"address\""));
    assert_true(has_problem(snap, "/drain_delay", "a duration"));
    assert_true(has_problem(snap, "/workers", "not negative"));
    assert_true(has_problem(snap, "/descriptors", "array of strings"));
    assert_true(has_problem(snap, "/upstreams/b/endpoints/0", "expected host:port"));
    assert_true(has_problem(snap, "/upstreams/b/endpoints/1", "dns:///name:port"));
    assert_true(has_problem(snap, "/services/0", "\"name\" is required"));
    assert_true(has_problem(snap, "/policies/*/timeout", "a duration"));
    assert_true(has_problem(snap, "/policies/a b", "full method name"));
    tr_snapshot_unref(snap);
}

static void a_file_that_is_not_json_says_where(void **state)
{
    struct tr_snapshot *snap = build("{\"a\": }");
    (void)state;
    assert_true(has_problem(snap, "", "the JSON is malformed: "));
    assert_int_equal(snap->problems.first->line, 1);
    tr_snapshot_unref(snap);
    snap = build("{\"workers\":1,\"workers\":2}");
    assert_true(has_problem(snap, "", "duplicate object key"));
    tr_snapshot_unref(snap);
}

static void defaults_hold_where_nothing_is_said(void **state)
{
    struct tr_snapshot *snap = build("{\"descriptors\":[],\"upstreams\":{},\"services\":[]}");
    (void)state;
    assert_int_equal(snap->config.limits.max_headers, 100);
    assert_int_equal(snap->limits.max_header_bytes, 65536);
    assert_int_equal(snap->config.drain_timeout, 30000000000u);
    assert_int_equal(snap->default_policy->timeout, 15000000000u);
    assert_int_equal(snap->default_policy->max_request_bytes, 4u << 20);
    assert_int_equal(snap->listener_count, 1);
    tr_snapshot_unref(snap);
}

static void the_schema_is_json(void **state)
{
    struct tr_buf out, spill;
    struct tr_json_scan scan;
    (void)state;
    tr_buf_init(&out);
    tr_buf_init(&spill);
    assert_int_equal(tr_config_schema(&out), TR_OK);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, 1 << 20);
    tr_json_scan_feed(&scan, tr_buf_span(&out), true);
    enum tr_json_tok tok;
    while ((tok = tr_json_scan_next(&scan)) != TR_JSON_END)
        assert_int_not_equal(tok, TR_JSON_ERROR);
    tr_buf_clear(&out);
    assert_int_equal(tr_config_reference(&out), TR_OK);
    assert_non_null(strstr(out.ptr, "| `max_headers` | integer | `100` |"));
    tr_buf_fini(&out);
    tr_buf_fini(&spill);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_a_unit_and_do_not_overflow),
        cmocka_unit_test(sizes_are_integers_or_binary_units),
        cmocka_unit_test(a_pointer_is_found_at_its_line_and_column),
        cmocka_unit_test(every_problem_is_reported_with_its_place),
        cmocka_unit_test(a_file_that_is_not_json_says_where),
        cmocka_unit_test(defaults_hold_where_nothing_is_said),
        cmocka_unit_test(the_schema_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
