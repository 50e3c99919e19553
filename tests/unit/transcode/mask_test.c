#include "transcode/mask.h"

#include "json2pb_util.h"
#include "test.h"
#include "transcode/json2pb.h"

static void mask_is_derived_from_a_body(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_buf out;
    struct tr_buf spill;
    struct tr_json_scan scan;
    struct tr_mask mask;
    struct tr_status st;
    const struct tr_msgtype *type = j2p_type("j2p.Request");
    struct tr_json2pb_opts opts = {
        .pool = j2p_pool(), .on_path = tr_mask_on_path, .on_path_ctx = &mask};
    tr_arena_init(&arena, NULL);
    tr_buf_init(&out);
    tr_buf_init(&spill);
    tr_mask_init(&mask, &arena);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, SIZE_MAX);
    tr_json_scan_feed(
        &scan, TR_SPAN("{\"name\":\"a\",\"editor\":{\"bornYear\":null},\"authors\":[]}"), true);
    struct tr_json2pb *j =
        tr_json2pb_new(&arena, type, tr_msgtype_field_by_name(type, TR_SPAN("book")), &opts, &out);
    assert_non_null(j);
    assert_int_equal(tr_json2pb_run(j, &scan, &st), TR_OK);
    assert_int_equal(
        tr_mask_put(&mask, tr_msgtype_field_by_name(type, TR_SPAN("update_mask")), &out), TR_OK);
    struct tr_buf text;
    tr_buf_init(&text);
    j2p_text(&text, type, tr_buf_span(&out));
    assert_span_equal(
        tr_buf_span(&text),
        "book {\n  name: \"a\"\n  editor {\n  }\n}\nupdate_mask {\n  paths: \"name\"\n"
        "  paths: \"editor.born_year\"\n  paths: \"authors\"\n}\n");
    tr_buf_fini(&text);
    tr_buf_fini(&spill);
    tr_buf_fini(&out);
    tr_arena_fini(&arena);
}

static void mask_grows_and_tells_of_missing_memory(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_mask mask;
    struct tr_buf out;
    const struct tr_field *field =
        tr_msgtype_field_by_name(j2p_type("j2p.Request"), TR_SPAN("update_mask"));
    tr_arena_init(&arena, NULL);
    tr_buf_init(&out);
    tr_mask_init(&mask, &arena);
    assert_int_equal(tr_mask_put(&mask, field, &out), TR_OK);
    assert_int_equal(out.len, 0);
    for (int i = 0; i < 1000; i++)
        tr_mask_on_path(&mask, TR_SPAN("some.path"));
    assert_int_equal(tr_mask_put(&mask, field, &out), TR_OK);
    assert_int_equal(out.len, 1 + 2 + 1000 * 11);
    tr_alloc_fail_after(1);
    for (int i = 0; i < 1000; i++)
        tr_mask_on_path(&mask, TR_SPAN("some.path"));
    tr_alloc_fail_after(0);
    assert_int_equal(tr_mask_put(&mask, field, &out), TR_ERR_NOMEM);
    tr_buf_fini(&out);
    tr_arena_fini(&arena);
}

static void mask_has_a_limit(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_mask mask;
    struct tr_buf out;
    tr_arena_init(&arena, NULL);
    tr_buf_init(&out);
    tr_mask_init(&mask, &arena);
    for (size_t i = 0; i < TR_MASK_BYTES_MAX / 11 + 1; i++)
        tr_mask_on_path(&mask, TR_SPAN("some.path"));
    assert_true(mask.len <= TR_MASK_BYTES_MAX);
    assert_int_equal(
        tr_mask_put(
            &mask, tr_msgtype_field_by_name(j2p_type("j2p.Request"), TR_SPAN("update_mask")), &out),
        TR_ERR_BODY_TOO_LARGE);
    assert_int_equal(out.len, 0);
    tr_buf_fini(&out);
    tr_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mask_is_derived_from_a_body),
        cmocka_unit_test(mask_grows_and_tells_of_missing_memory),
        cmocka_unit_test(mask_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
