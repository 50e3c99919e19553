#include "obs/metrics.h"

#include "exposition.h"

#include <pthread.h>

static const struct tr_metrics_route routes[] = {
    {TR_SPAN_INIT("rest"), TR_SPAN_INIT("GET"), TR_SPAN_INIT("/v1/{name=shelves/*}")},
    {TR_SPAN_INIT("rest"), TR_SPAN_INIT("DELETE"), TR_SPAN_INIT("/v1/{name=shelves/*}")},
    {TR_SPAN_INIT("grpc"), TR_SPAN_INIT("POST"), TR_SPAN_INIT("/a.B/C")},
};

static struct tr_metrics *make(void)
{
    struct tr_metrics *m = NULL;
    assert_int_equal(tr_metrics_new(3, &m), TR_OK);
    return m;
}

static struct exposition *render(const struct tr_metrics *const *workers, uint32_t count)
{
    static struct tr_buf out; /* the exposition points into it */
    struct exposition *x = malloc(sizeof *x);
    assert_non_null(x);
    tr_buf_fini(&out);
    tr_buf_init(&out);
    assert_int_equal(tr_metrics_render(&out, workers, count, routes, 3), TR_OK);
    exposition_read(x, tr_buf_span(&out));
    return x;
}

static void expect(const struct exposition *x, const char *series, double value)
{
    double got = exposition_value(x, series);
    if (got != value)
        fail_msg("%s is %g, not %g", series, got, value);
}

static struct tr_metrics_end ended(uint32_t route, uint8_t code, uint16_t status)
{
    return (struct tr_metrics_end){.route = route,
                                   .grpc_code = code,
                                   .http_status = status,
                                   .version = 20,
                                   .duration_ns = 3000000,
                                   .bytes_out = 100};
}

static void one_request(struct tr_metrics *m, struct tr_metrics_end end)
{
    tr_metrics_begin(m, end.route);
    tr_metrics_end(m, &end);
}

#define GET "dialect=\"rest\",verb=\"GET\",route=\"/v1/{name=shelves/*}\""

static void unused_routes_have_no_samples(void **state)
{
    (void)state;
    struct tr_metrics *m = make();
    const struct tr_metrics *workers[] = {m};
    struct exposition *x = render(workers, 1);
    for (size_t i = 0; i < x->series_count; i++)
        assert_null(memmem(x->series[i].ptr, x->series[i].len, "route=", 6));
    expect(x, "transom_http_requests_total{version=\"2\"}", 0);
    expect(x, "transom_errors_total{reason=\"JSON_SYNTAX\"}", 0);
    expect(x, "transom_errors_total{reason=\"AGAIN\"}", -1); /* no failure */
    free(x);
    tr_metrics_free(m);
}

static void requests_are_counted_by_code_and_status(void **state)
{
    (void)state;
    struct tr_metrics *m = make();
    one_request(m, ended(0, 0, 200));
    one_request(m, ended(0, 0, 200));
    struct tr_metrics_end missing = ended(0, 5, 404);
    one_request(m, missing);
    struct tr_metrics_end bad = ended(1, 3, 400);
    bad.err = TR_ERR_JSON_SYNTAX;
    bad.version = 11;
    one_request(m, bad);
    struct tr_metrics_end gone = ended(1, 1, 0);
    gone.err = TR_ERR_CLIENT_GONE;
    gone.version = 10;
    one_request(m, gone);
    one_request(m, ended(2, 77, 200));
    const struct tr_metrics *workers[] = {m};
    struct exposition *x = render(workers, 1);
    expect(x, "transom_requests_total{" GET ",code=\"OK\"}", 2);
    expect(x, "transom_requests_total{" GET ",code=\"NOT_FOUND\"}", 1);
    expect(x, "transom_requests_total{" GET ",code=\"UNKNOWN\"}", -1);
    expect(
        x,
        "transom_requests_total{dialect=\"grpc\",verb=\"POST\",route=\"/a.B/C\",code=\"UNKNOWN\"}",
        1);
    expect(x, "transom_http_responses_total{status=\"200\"}", 3);
    expect(x, "transom_http_responses_total{status=\"404\"}", 1);
    expect(x, "transom_http_responses_total{status=\"400\"}", 1);
    expect(x, "transom_http_unanswered_total", 1);
    expect(x, "transom_http_requests_total{version=\"2\"}", 4);
    expect(x, "transom_http_requests_total{version=\"1.1\"}", 1);
    expect(x, "transom_http_requests_total{version=\"1.0\"}", 1);
    expect(x, "transom_errors_total{reason=\"JSON_SYNTAX\"}", 1);
    expect(x, "transom_errors_total{reason=\"CLIENT_GONE\"}", 1);
    free(x);
    tr_metrics_free(m);
}

static void the_class_is_that_of_the_status_or_of_a_grpc_failure(void **state)
{
    (void)state;
    struct tr_metrics *m = make();
    one_request(m, ended(0, 0, 200));
    one_request(m, ended(0, 3, 400));
    one_request(m, ended(0, 14, 503));
    one_request(m, ended(0, 14, 200)); /* native gRPC: trailers say it */
    one_request(m, ended(0, 1, 0));    /* the client left */
    one_request(m, ended(0, 12, 405)); /* HTTP's own status goes before the code's */
    const struct tr_metrics *workers[] = {m};
    struct exposition *x = render(workers, 1);
    expect(x, "transom_request_duration_seconds_count{" GET ",class=\"2xx\"}", 1);
    expect(x, "transom_request_duration_seconds_count{" GET ",class=\"4xx\"}", 3);
    expect(x, "transom_request_duration_seconds_count{" GET ",class=\"5xx\"}", 2);
    free(x);
    tr_metrics_free(m);
}

static void bounds_belong_to_the_bucket_below(void **state)
{
    (void)state;
    struct tr_metrics *m = make();
    struct tr_metrics_end end = ended(0, 0, 200);
    end.duration_ns = 500000; /* 0.0005 s */
    end.upstream_ns = 500001;
    end.bytes_in = 256;
    end.bytes_out = 257;
    one_request(m, end);
    end.duration_ns = 31000000000u;
    end.upstream_ns = 0; /* no call */
    end.bytes_in = 0;
    end.bytes_out = 5000000;
    one_request(m, end);
    const struct tr_metrics *workers[] = {m};
    struct exposition *x = render(workers, 1);
#define HIST(name, le) "transom_" name "_bucket{" GET le "}"
    expect(x, HIST("request_duration_seconds", ",class=\"2xx\",le=\"0.0005\""), 1);
    expect(x, HIST("request_duration_seconds", ",class=\"2xx\",le=\"30\""), 1);
    expect(x, HIST("request_duration_seconds", ",class=\"2xx\",le=\"+Inf\""), 2);
    expect(x, "transom_request_duration_seconds_sum{" GET ",class=\"2xx\"}", 31.0005);
    expect(x, HIST("upstream_duration_seconds", ",le=\"0.0005\""), 0);
    expect(x, HIST("upstream_duration_seconds", ",le=\"0.001\""), 1);
    expect(x, HIST("upstream_duration_seconds", ",le=\"+Inf\""), 1);
    expect(x, HIST("request_body_bytes", ",le=\"0\""), 1);
    expect(x, HIST("request_body_bytes", ",le=\"256\""), 2);
    expect(x, HIST("response_body_bytes", ",le=\"256\""), 0);
    expect(x, HIST("response_body_bytes", ",le=\"1024\""), 1);
    expect(x, HIST("response_body_bytes", ",le=\"4194304\""), 1);
    expect(x, "transom_response_body_bytes_sum{" GET "}", 5000257);
    free(x);
    tr_metrics_free(m);
}

/* Each bound, and the next value above it, land where the page says. */
static void every_bound_is_where_it_is_said_to_be(void **state)
{
    (void)state;
    static const double durations[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                       0.25,   0.5,   1,      2.5,   5,    10,    30};
    static const uint64_t bytes[] = {0, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304};
    struct tr_metrics *m = make();
    const struct tr_metrics *workers[] = {m};
    char series[256];
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        struct tr_metrics_end end = ended(0, 0, 200);
        uint64_t ns = (uint64_t)(durations[i] * 1e9 + 0.5);
        uint64_t b = i < 9 ? bytes[i] : bytes[8];
        for (unsigned above = 0; above < 2; above++) {
            end.upstream_ns = ns + above;
            end.bytes_in = b + above;
            one_request(m, end);
        }
        struct exposition *x = render(workers, 1);
        (void)snprintf(series, sizeof series, HIST("upstream_duration_seconds", ",le=\"%g\""),
                       durations[i]);
        expect(x, series, 2.0 * (double)i + 1);
        if (i < 9) {
            (void)snprintf(series, sizeof series, HIST("request_body_bytes", ",le=\"%u\""),
                           (unsigned)b);
            expect(x, series, 2.0 * (double)i + 1);
        }
        free(x);
    }
    tr_metrics_free(m);
}

static void in_flight_and_retries_are_summed_over_workers(void **state)
{
    (void)state;
    struct tr_metrics *a = make(), *b = make();
    tr_metrics_begin(a, 0);
    tr_metrics_begin(a, 0);
    tr_metrics_begin(b, 0);
    struct tr_metrics_end end = ended(0, 0, 200);
    end.retries = 2;
    tr_metrics_end(a, &end);
    one_request(b, ended(TR_METRICS_NO_ROUTE, 5, 404));
    one_request(b, ended(99, 5, 404)); /* not an index of these rows */
    const struct tr_metrics *workers[] = {a, b};
    struct exposition *x = render(workers, 2);
    expect(x, "transom_requests_in_flight{" GET "}", 2);
    expect(x, "transom_retries_total{" GET "}", 2);
    expect(x,
           "transom_requests_total{dialect=\"(none)\",verb=\"(none)\",route=\"(none)\",code=\"NOT_"
           "FOUND\"}",
           2);
    expect(x, "transom_requests_in_flight{dialect=\"(none)\",verb=\"(none)\",route=\"(none)\"}", 0);
    free(x);
    tr_metrics_free(a);
    tr_metrics_free(b);
}

static void counting_allocates_nothing(void **state)
{
    (void)state;
    struct tr_metrics *m = make();
    uint64_t before = tr_alloc_stats().calls;
    one_request(m, ended(1, 0, 200));
    assert_int_equal(tr_alloc_stats().calls, before);
    tr_metrics_free(m);
}

struct race {
    struct tr_metrics *m;
    uint32_t times;
};

static void *count_many(void *arg)
{
    struct race *race = arg;
    for (uint32_t i = 0; i < race->times; i++)
        one_request(race->m, ended(i % 3, 0, 200));
    return NULL;
}

/* What tsan looks at; and histograms add up in each reading (exposition_read checks it). */
static void a_reader_sees_whole_values_while_the_owner_counts(void **state)
{
    (void)state;
    struct race race = {make(), 20000};
    const struct tr_metrics *workers[] = {race.m};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, count_many, &race), 0);
    for (int i = 0; i < 20; i++)
        free(render(workers, 1));
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct exposition *x = render(workers, 1);
    expect(x, "transom_http_responses_total{status=\"200\"}", 20000);
    free(x);
    tr_metrics_free(race.m);
}

static void each_failing_allocation_is_an_error(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 3; n++) {
        struct tr_metrics *m = NULL;
        tr_alloc_fail_after(n);
        assert_int_equal(tr_metrics_new(100, &m), TR_ERR_NOMEM);
        tr_alloc_fail_after(0);
        assert_null(m);
    }
    struct tr_metrics *m = make();
    const struct tr_metrics *workers[] = {m};
    struct tr_buf out;
    tr_buf_init(&out);
    tr_alloc_fail_after(1);
    assert_int_equal(tr_metrics_render(&out, workers, 1, routes, 3), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    tr_buf_fini(&out);
    tr_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unused_routes_have_no_samples),
        cmocka_unit_test(requests_are_counted_by_code_and_status),
        cmocka_unit_test(the_class_is_that_of_the_status_or_of_a_grpc_failure),
        cmocka_unit_test(bounds_belong_to_the_bucket_below),
        cmocka_unit_test(every_bound_is_where_it_is_said_to_be),
        cmocka_unit_test(in_flight_and_retries_are_summed_over_workers),
        cmocka_unit_test(counting_allocates_nothing),
        cmocka_unit_test(a_reader_sees_whole_values_while_the_owner_counts),
        cmocka_unit_test(each_failing_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
