#include "obs/metrics.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/counter.h"
#include "base/num.h"

/* -- counting ---------------------------------------------------------------------------------- */
/* Only this thread writes, so a load and a store are enough; they are atomic so that a reader sees
 * whole values. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes it */
static void add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

#define MS UINT64_C(1000000)
static const uint64_t duration_bounds[TR_METRICS_DURATION_BUCKETS - 1] = {
    MS / 2,   MS,       MS * 5 / 2, MS * 5,    MS * 10,   MS * 25,    MS * 50,    MS * 100,
    MS * 250, MS * 500, MS * 1000,  MS * 2500, MS * 5000, MS * 10000, MS * 30000,
};
static const struct tr_span duration_texts[TR_METRICS_DURATION_BUCKETS - 1] = {
    TR_SPAN_INIT("0.0005"), TR_SPAN_INIT("0.001"), TR_SPAN_INIT("0.0025"), TR_SPAN_INIT("0.005"),
    TR_SPAN_INIT("0.01"),   TR_SPAN_INIT("0.025"), TR_SPAN_INIT("0.05"),   TR_SPAN_INIT("0.1"),
    TR_SPAN_INIT("0.25"),   TR_SPAN_INIT("0.5"),   TR_SPAN_INIT("1"),      TR_SPAN_INIT("2.5"),
    TR_SPAN_INIT("5"),      TR_SPAN_INIT("10"),    TR_SPAN_INIT("30"),
};

static const uint64_t bytes_bounds[TR_METRICS_BYTES_BUCKETS - 1] = {
    0, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304,
};
static const struct tr_span bytes_texts[TR_METRICS_BYTES_BUCKETS - 1] = {
    TR_SPAN_INIT("0"),      TR_SPAN_INIT("256"),     TR_SPAN_INIT("1024"),
    TR_SPAN_INIT("4096"),   TR_SPAN_INIT("16384"),   TR_SPAN_INIT("65536"),
    TR_SPAN_INIT("262144"), TR_SPAN_INIT("1048576"), TR_SPAN_INIT("4194304"),
};

enum tr_err tr_metrics_new(uint32_t route_count, struct tr_metrics **ret_metrics)
{
    size_t rows = (size_t)route_count + 1;
    struct tr_metrics *m = tr_calloc(1, sizeof *m);
    if (!m)
        return TR_ERR_NOMEM;
    m->route_count = route_count;
    m->rows = tr_calloc(rows, sizeof *m->rows);
    m->used = tr_calloc(rows, 1);
    if (!m->rows || !m->used) {
        tr_metrics_free(m);
        return TR_ERR_NOMEM;
    }
    *ret_metrics = m;
    return TR_OK;
}

void tr_metrics_free(struct tr_metrics *metrics)
{
    if (!metrics)
        return;
    tr_free(metrics->rows);
    tr_free(metrics->used);
    tr_free(metrics);
}

static uint32_t row_index(const struct tr_metrics *m, uint32_t route)
{
    return route < m->route_count ? route : m->route_count;
}

void tr_metrics_begin(struct tr_metrics *metrics, uint32_t route)
{
    uint32_t i = row_index(metrics, route);
    struct tr_route_metrics *row = &metrics->rows[i];
    if (!metrics->used[i])
        __atomic_store_n(&metrics->used[i], 1, __ATOMIC_RELAXED);
    __atomic_store_n(&row->in_flight, row->in_flight + 1, __ATOMIC_RELAXED);
}

/* The number of the first bound that is not below value, from a guess by its highest bit, so that
 * at most one step of the loop is left. */
static uint32_t bucket_of(uint64_t value, const uint64_t *bounds, uint32_t count,
                          const uint8_t *first, uint32_t first_count)
{
    uint32_t bit = 63u - (uint32_t)__builtin_clzll(value | 1);
    uint32_t i = value ? first[bit < first_count ? bit : first_count - 1] : 0;
    while (i < count && value > bounds[i])
        i++;
    return i;
}

static void count_duration(struct tr_metrics_duration *d, uint64_t ns)
{
    /* by bit: the first bound that is not below 2^bit */
    static const uint8_t first[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  0,  0,  0,  0,  0,  0,
                                    0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 12, 13, 14, 15};
    uint32_t i =
        bucket_of(ns, duration_bounds, TR_METRICS_DURATION_BUCKETS - 1, first, sizeof first);
    add(&d->buckets[i], 1);
    add(&d->sum_ns, ns);
}

static void count_bytes(struct tr_metrics_bytes *b, uint64_t bytes)
{
    static const uint8_t first[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3,
                                    3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9};
    uint32_t i = bucket_of(bytes, bytes_bounds, TR_METRICS_BYTES_BUCKETS - 1, first, sizeof first);
    add(&b->buckets[i], 1);
    add(&b->sum, bytes);
}

/* Of a request without an answer the code says whose fault it was. */
static enum tr_metrics_class class_of(const struct tr_metrics_end *end)
{
    unsigned status = end->http_status ? end->http_status : tr_http_from_grpc(end->grpc_code);
    /* native gRPC answers 200 whatever the status is */
    if (status < 400 && end->grpc_code)
        status = tr_http_from_grpc(end->grpc_code);
    return status >= 500 ? TR_METRICS_5XX : status >= 400 ? TR_METRICS_4XX : TR_METRICS_2XX;
}

void tr_metrics_end(struct tr_metrics *metrics, const struct tr_metrics_end *end)
{
    struct tr_route_metrics *row = &metrics->rows[row_index(metrics, end->route)];
    uint8_t code = end->grpc_code < TR_METRICS_CODES ? end->grpc_code : 2;
    TR_DCHECK(row->in_flight > 0);
    __atomic_store_n(&row->in_flight, row->in_flight - 1, __ATOMIC_RELAXED);
    add(&row->requests[code], 1);
    count_duration(&row->duration[class_of(end)], end->duration_ns);
    if (end->upstream_ns)
        count_duration(&row->upstream, end->upstream_ns);
    count_bytes(&row->bytes_in, end->bytes_in);
    count_bytes(&row->bytes_out, end->bytes_out);
    if (end->retries)
        add(&row->retries, end->retries);
    if (end->http_status >= 100 && end->http_status < 600)
        add(&metrics->statuses[end->http_status - 100], 1);
    else
        add(&metrics->unanswered, 1);
    add(&metrics->versions[end->version >= 20 ? 2 : end->version >= 11 ? 1 : 0], 1);
    if (end->err && (unsigned)end->err < TR_ERR__COUNT)
        add(&metrics->errors[end->err], 1);
}

/* -- rendering --------------------------------------------------------------------------------- */
struct reader {
    struct tr_expo *e;
    const struct tr_metrics *const *workers;
    uint32_t worker_count;
    const struct tr_metrics_route *routes;
    uint32_t route_count;
};

static bool row_used(const struct reader *r, uint32_t i)
{
    for (uint32_t w = 0; w < r->worker_count; w++) {
        if (__atomic_load_n(&r->workers[w]->used[i], __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

/* The sum over the workers of the counter at an offset in a row. */
static uint64_t row_sum(const struct reader *r, uint32_t i, size_t offset)
{
    uint64_t sum = 0;
    for (uint32_t w = 0; w < r->worker_count; w++) {
        const void *row = &r->workers[w]->rows[i];
        sum += tr_count_load((const uint64_t *)(const void *)((const char *)row + offset));
    }
    return sum;
}

static uint64_t sum(const struct reader *r, size_t offset)
{
    uint64_t total = 0;
    for (uint32_t w = 0; w < r->worker_count; w++) {
        const void *m = r->workers[w];
        total += tr_count_load((const uint64_t *)(const void *)((const char *)m + offset));
    }
    return total;
}

#define ROW(member) offsetof(struct tr_route_metrics, member)

/* The labels of a row, with room for one more. */
static void row_labels(const struct reader *r, uint32_t i, struct tr_span labels[4])
{
    bool known = i < r->route_count;
    labels[0] = known ? r->routes[i].dialect : TR_SPAN("(none)");
    labels[1] = known ? r->routes[i].verb : TR_SPAN("(none)");
    labels[2] = known ? r->routes[i].route : TR_SPAN("(none)");
}

/* A histogram whose buckets are at an offset in a row, and its sum right behind them. */
static void write_histogram(const struct reader *r, uint32_t i, enum tr_metric metric,
                            const struct tr_span *labels, size_t offset, bool duration)
{
    static const struct tr_expo_buckets durations = {duration_texts,
                                                     TR_METRICS_DURATION_BUCKETS - 1};
    static const struct tr_expo_buckets bytes = {bytes_texts, TR_METRICS_BYTES_BUCKETS - 1};
    uint64_t counts[TR_METRICS_DURATION_BUCKETS], all = 0;
    uint32_t n = duration ? TR_METRICS_DURATION_BUCKETS : TR_METRICS_BYTES_BUCKETS;
    for (uint32_t k = 0; k < n; k++) {
        counts[k] = row_sum(r, i, offset + k * sizeof(uint64_t));
        all += counts[k];
    }
    if (!all)
        return;
    double total = (double)row_sum(r, i, offset + n * sizeof(uint64_t));
    tr_expo_histogram(r->e, metric, labels, duration ? &durations : &bytes, counts,
                      duration ? total / 1e9 : total);
}

_Static_assert(TR_METRICS_BYTES_BUCKETS <= TR_METRICS_DURATION_BUCKETS, "one array holds either");
_Static_assert(offsetof(struct tr_metrics_duration, sum_ns) ==
                   TR_METRICS_DURATION_BUCKETS * sizeof(uint64_t),
               "the sum is right behind the buckets");
_Static_assert(offsetof(struct tr_metrics_bytes, sum) ==
                   TR_METRICS_BYTES_BUCKETS * sizeof(uint64_t),
               "the sum is right behind the buckets");

static void write_row(const struct reader *r, enum tr_metric metric, uint32_t i)
{
    static const struct tr_span classes[TR_METRICS__COUNT] = {
        TR_SPAN_INIT("2xx"), TR_SPAN_INIT("4xx"), TR_SPAN_INIT("5xx")};
    struct tr_span labels[4];
    row_labels(r, i, labels);
    if (metric == TR_METRIC_REQUESTS) {
        for (unsigned code = 0; code < TR_METRICS_CODES; code++) {
            uint64_t n = row_sum(r, i, ROW(requests) + code * sizeof(uint64_t));
            labels[3] = tr_grpc_code_name(code);
            if (n)
                tr_expo_u64(r->e, metric, labels, n);
        }
    } else if (metric == TR_METRIC_IN_FLIGHT) {
        tr_expo_i64(r->e, metric, labels, (int64_t)row_sum(r, i, ROW(in_flight)));
    } else if (metric == TR_METRIC_RETRIES) {
        tr_expo_u64(r->e, metric, labels, row_sum(r, i, ROW(retries)));
    } else if (metric == TR_METRIC_DURATION) {
        for (unsigned c = 0; c < TR_METRICS__COUNT; c++) {
            labels[3] = classes[c];
            write_histogram(r, i, metric, labels,
                            ROW(duration) + c * sizeof(struct tr_metrics_duration), true);
        }
    } else if (metric == TR_METRIC_UPSTREAM_DURATION) {
        write_histogram(r, i, metric, labels, ROW(upstream), true);
    } else if (metric == TR_METRIC_REQUEST_BYTES) {
        write_histogram(r, i, metric, labels, ROW(bytes_in), false);
    } else {
        write_histogram(r, i, metric, labels, ROW(bytes_out), false);
    }
}

static void write_totals(const struct reader *r)
{
    static const struct tr_span versions[3] = {TR_SPAN_INIT("1.0"), TR_SPAN_INIT("1.1"),
                                               TR_SPAN_INIT("2")};
    for (unsigned i = 0; i < 3; i++)
        tr_expo_u64(r->e, TR_METRIC_HTTP_REQUESTS, &versions[i],
                    sum(r, offsetof(struct tr_metrics, versions) + i * sizeof(uint64_t)));
    for (unsigned i = 0; i < 500; i++) {
        uint64_t n = sum(r, offsetof(struct tr_metrics, statuses) + i * sizeof(uint64_t));
        char text[TR_NUM_MAX];
        struct tr_span label = tr_span(text, tr_num_u64(text, i + 100));
        if (n)
            tr_expo_u64(r->e, TR_METRIC_HTTP_RESPONSES, &label, n);
    }
    tr_expo_u64(r->e, TR_METRIC_HTTP_UNANSWERED, NULL,
                sum(r, offsetof(struct tr_metrics, unanswered)));
    /* every reason, so that a rate exists before the first failure */
    for (unsigned i = 1; i < TR_ERR__COUNT; i++) {
        struct tr_span label = tr_span_cstr(tr_err_info((enum tr_err)i)->name);
        if (i != TR_ERR_AGAIN)
            tr_expo_u64(r->e, TR_METRIC_ERRORS, &label,
                        sum(r, offsetof(struct tr_metrics, errors) + i * sizeof(uint64_t)));
    }
}

void tr_metrics_write(struct tr_expo *e, const struct tr_metrics *const *workers,
                      uint32_t worker_count, const struct tr_metrics_route *routes,
                      uint32_t route_count)
{
    static const enum tr_metric by_route[] = {TR_METRIC_REQUESTS,          TR_METRIC_IN_FLIGHT,
                                              TR_METRIC_RETRIES,           TR_METRIC_DURATION,
                                              TR_METRIC_UPSTREAM_DURATION, TR_METRIC_REQUEST_BYTES,
                                              TR_METRIC_RESPONSE_BYTES};
    const struct reader r = {e, workers, worker_count, routes, route_count};
    for (uint32_t w = 0; w < worker_count; w++)
        TR_ASSERT(workers[w]->route_count == route_count);
    for (size_t k = 0; k < sizeof by_route / sizeof by_route[0]; k++) {
        for (uint32_t i = 0; i <= route_count; i++) {
            if (row_used(&r, i))
                write_row(&r, by_route[k], i);
        }
    }
    write_totals(&r);
}

enum tr_err tr_metrics_render(struct tr_buf *out, const struct tr_metrics *const *workers,
                              uint32_t worker_count, const struct tr_metrics_route *routes,
                              uint32_t route_count)
{
    struct tr_expo e;
    tr_expo_init(&e, out);
    tr_metrics_write(&e, workers, worker_count, routes, route_count);
    return tr_expo_end(&e);
}
