#include "obs/expo.h"

#include "exposition.h"

static void every_metric_is_named_by_the_rules(void **state)
{
    (void)state;
    for (int i = 0; i < TR_METRIC__COUNT; i++) {
        const struct tr_metric_info *a = tr_metric_info((enum tr_metric)i);
        assert_true(tr_span_starts(a->name, TR_SPAN("transom_")) ||
                    tr_span_starts(a->name, TR_SPAN("process_")));
        assert_int_equal(expo_name_len(a->name), a->name.len);
        assert_true(tr_span_ends(a->name, TR_SPAN("_total")) == (a->type == TR_METRIC_COUNTER));
        assert_true(a->help.len > 0 && a->help.ptr[a->help.len - 1] == '.');
        struct tr_span labels = a->labels;
        while (labels.len) {
            struct tr_span label = tr_span_cut(&labels, ',');
            assert_true(label.len > 0 && expo_name_len(label) == label.len);
            assert_false(tr_span_eq(label, TR_SPAN("le")));
        }
        for (int k = 0; k < i; k++)
            assert_false(tr_span_eq(a->name, tr_metric_info((enum tr_metric)k)->name));
    }
}

static void a_family_has_its_help_and_type_once(void **state)
{
    (void)state;
    struct tr_buf out;
    struct tr_expo e;
    tr_buf_init(&out);
    tr_expo_init(&e, &out);
    const struct tr_span one = TR_SPAN("a"), two = TR_SPAN("b");
    tr_expo_u64(&e, TR_METRIC_UPSTREAM_REQUESTS, &one, 5);
    tr_expo_u64(&e, TR_METRIC_UPSTREAM_REQUESTS, &two, UINT64_MAX);
    tr_expo_i64(&e, TR_METRIC_READY, NULL, -1);
    tr_expo_double(&e, TR_METRIC_CPU_SECONDS, NULL, 0.25);
    assert_int_equal(tr_expo_end(&e), TR_OK);
    assert_span_equal(tr_buf_span(&out),
                      "# HELP transom_upstream_requests_total Calls that were started.\n"
                      "# TYPE transom_upstream_requests_total counter\n"
                      "transom_upstream_requests_total{upstream=\"a\"} 5\n"
                      "transom_upstream_requests_total{upstream=\"b\"} 18446744073709551615\n"
                      "# HELP transom_ready 1 when /readyz answers 200.\n"
                      "# TYPE transom_ready gauge\n"
                      "transom_ready -1\n"
                      "# HELP process_cpu_seconds_total User and system time.\n"
                      "# TYPE process_cpu_seconds_total counter\n"
                      "process_cpu_seconds_total 0.25\n");
    struct exposition *x = malloc(sizeof *x);
    assert_non_null(x);
    exposition_read(x, tr_buf_span(&out));
    free(x);
    tr_buf_fini(&out);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    struct tr_buf out;
    struct tr_expo e;
    tr_buf_init(&out);
    tr_expo_init(&e, &out);
    const struct tr_span hostile = TR_SPAN("a\\b\"c\nd} 1 \xC3\xA9");
    tr_expo_u64(&e, TR_METRIC_BUILD_INFO, &hostile, 1);
    assert_int_equal(tr_expo_end(&e), TR_OK);
    struct exposition *x = malloc(sizeof *x);
    assert_non_null(x);
    exposition_read(x, tr_buf_span(&out));
    assert_true(
        exposition_value(x, "transom_build_info{version=\"a\\\\b\\\"c\\nd} 1 \xC3\xA9\"}") == 1);
    free(x);
    tr_buf_fini(&out);
}

static void a_histogram_is_cumulative(void **state)
{
    (void)state;
    struct tr_buf out;
    struct tr_expo e;
    tr_buf_init(&out);
    tr_expo_init(&e, &out);
    static const struct tr_span bounds[] = {TR_SPAN_INIT("1"), TR_SPAN_INIT("10")};
    const struct tr_expo_buckets buckets = {bounds, 2};
    const uint64_t counts[] = {2, 0, 3};
    const struct tr_span labels[] = {TR_SPAN("rest"), TR_SPAN("GET"), TR_SPAN("/v1/{x=**}")};
    tr_expo_histogram(&e, TR_METRIC_REQUEST_BYTES, labels, &buckets, counts, 1e21);
    assert_int_equal(tr_expo_end(&e), TR_OK);
    struct exposition *x = malloc(sizeof *x);
    assert_non_null(x);
    exposition_read(x, tr_buf_span(&out));
    assert_int_equal(x->series_count, 5);
#define SERIES(suffix, le)                                                                         \
    "transom_request_body_bytes" suffix "{dialect=\"rest\",verb=\"GET\",route=\"/v1/{x=**}\"" le "}"
    assert_true(exposition_value(x, SERIES("_bucket", ",le=\"1\"")) == 2);
    assert_true(exposition_value(x, SERIES("_bucket", ",le=\"10\"")) == 2);
    assert_true(exposition_value(x, SERIES("_bucket", ",le=\"+Inf\"")) == 5);
    assert_true(exposition_value(x, SERIES("_sum", "")) == 1e21);
    assert_true(exposition_value(x, SERIES("_count", "")) == 5);
    free(x);
    tr_buf_fini(&out);
}

static void short_memory_is_reported_at_the_end(void **state)
{
    (void)state;
    enum tr_err err = TR_ERR_NOMEM;
    for (uint64_t n = 1; err; n++) {
        struct tr_buf out;
        struct tr_expo e;
        const struct tr_span label = TR_SPAN("x");
        assert_true(n < 100);
        tr_buf_init(&out);
        tr_expo_init(&e, &out);
        tr_alloc_fail_after(n);
        tr_expo_u64(&e, TR_METRIC_BUILD_INFO, &label, 1);
        tr_expo_u64(&e, TR_METRIC_WORKERS, NULL, 1);
        tr_alloc_fail_after(0);
        err = tr_expo_end(&e);
        assert_true(n > 1 || err == TR_ERR_NOMEM);
        tr_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_metric_is_named_by_the_rules),
        cmocka_unit_test(a_family_has_its_help_and_type_once),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(a_histogram_is_cumulative),
        cmocka_unit_test(short_memory_is_reported_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
