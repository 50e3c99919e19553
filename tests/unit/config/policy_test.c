#include "config/snapshot.h"
#include "test.h"

#include <stdio.h>

static struct tr_snapshot *build(const char *policies)
{
    char text[4096];
    struct tr_snapshot *snap = NULL;
    (void)snprintf(text, sizeof text,
                   "{\"descriptors\":[],\"upstreams\":{},\"services\":[],\"policies\":%s}",
                   policies);
    (void)!tr_snapshot_build(tr_span_cstr(text), TR_SPAN(""), NULL, TR_SNAPSHOT_OFFLINE, &snap);
    assert_non_null(snap);
    assert_int_equal(snap->problems.errors, 0);
    return snap;
}

static const struct tr_policy *of(struct tr_snapshot *snap, const char *method)
{
    const struct tr_policy *p = tr_policy_resolve(snap->policies, tr_span_cstr(method));
    assert_non_null(p);
    return p;
}

static void the_more_specific_policy_wins_key_by_key(void **state)
{
    struct tr_snapshot *snap =
        build("{\"a.S.M\":{\"timeout\":\"1s\"},\"*\":{\"timeout\":\"9s\",\"pretty\":true},"
              "\"a.*\":{\"timeout\":\"5s\",\"proto_names\":true},\"a.S.*\":{\"timeout\":\"3s\"}}");
    (void)state;
    assert_int_equal(of(snap, "b.T.N")->timeout, 9000000000u);
    assert_int_equal(of(snap, "a.T.N")->timeout, 5000000000u);
    assert_int_equal(of(snap, "a.S.N")->timeout, 3000000000u);
    assert_int_equal(of(snap, "a.S.M")->timeout, 1000000000u);
    assert_true(of(snap, "a.S.M")->pretty);
    assert_true(of(snap, "a.S.M")->proto_names);
    assert_false(of(snap, "ab.S.M")->proto_names); /* "a.*" ends at the dot */
    tr_snapshot_unref(snap);
}

static void objects_merge_arrays_replace_null_removes(void **state)
{
    struct tr_snapshot *snap =
        build("{\"*\":{\"timeout\":\"9s\",\"ignored_query_parameters\":[\"a\",\"b\"],"
              "\"set_headers\":{\"request\":{\"x-a\":\"1\",\"x-b\":\"2\"}}},"
              "\"p.S.M\":{\"timeout\":null,\"ignored_query_parameters\":[\"c\"],"
              "\"set_headers\":{\"request\":{\"x-b\":\"3\",\"x-a\":null}}}}");
    const struct tr_policy *p = of(snap, "p.S.M");
    (void)state;
    assert_int_equal(p->timeout, 15000000000u); /* the default again */
    assert_int_equal(p->ignored_query_parameters.count, 1);
    assert_span_equal(p->ignored_query_parameters.items[0], "c");
    assert_int_equal(p->set_headers.request.count, 1);
    assert_span_equal(p->set_headers.request.names[0], "x-b");
    assert_span_equal(p->set_headers.request.values[0], "3");
    tr_snapshot_unref(snap);
}

static void methods_with_the_same_policies_share_one_struct(void **state)
{
    struct tr_snapshot *snap = build("{\"a.*\":{\"pretty\":true}}");
    (void)state;
    assert_ptr_equal(of(snap, "a.S.M"), of(snap, "a.S.N"));
    assert_ptr_not_equal(of(snap, "a.S.M"), of(snap, "b.S.N"));
    tr_snapshot_unref(snap);
}

struct seen {
    char timeout_source[32], pretty_source[32];
};

static void see(void *ctx, struct tr_span key, struct tr_span value, struct tr_span source)
{
    struct seen *s = ctx;
    (void)value;
    if (tr_span_eq(key, TR_SPAN("timeout")))
        (void)snprintf(s->timeout_source, sizeof s->timeout_source, "%.*s", (int)source.len,
                       source.ptr);
    if (tr_span_eq(key, TR_SPAN("pretty")))
        (void)snprintf(s->pretty_source, sizeof s->pretty_source, "%.*s", (int)source.len,
                       source.ptr);
}

static void each_leaf_knows_its_source(void **state)
{
    struct tr_snapshot *snap = build("{\"*\":{\"timeout\":\"9s\"},\"a.S.*\":{\"timeout\":\"3s\"}}");
    struct seen seen = {0};
    (void)state;
    tr_policy_sources(snap->policies, TR_SPAN("a.S.M"), see, &seen);
    assert_string_equal(seen.timeout_source, "a.S.*");
    assert_string_equal(seen.pretty_source, "default");
    assert_span_equal(tr_policy_source_names(snap->policies, TR_SPAN("a.S.M"), &snap->arena),
                      "*, a.S.*");
    tr_snapshot_unref(snap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_more_specific_policy_wins_key_by_key),
        cmocka_unit_test(objects_merge_arrays_replace_null_removes),
        cmocka_unit_test(methods_with_the_same_policies_share_one_struct),
        cmocka_unit_test(each_leaf_knows_its_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
