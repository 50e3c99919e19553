/* The JSON printer on answers like those of an API: small, medium (about 1.2 KiB), a long list,
 * long strings; and what the index pass costs. The messages come from JSON by json2pb. */
#include "../../unit/transcode/json2pb_util.h"
#include "bench.h"
#include "transcode/json2pb.h"
#include "transcode/pb2json.h"

#include <stdlib.h>
#include <string.h>

struct job {
    const struct tr_msgtype *type;
    struct tr_pb2json_opts opts;
    struct tr_buf wire, out;
    struct tr_arena arena;
};

static void convert(void *arg)
{
    struct job *job = arg;
    tr_buf_clear(&job->out);
    if (tr_pb2json(job->type, tr_buf_span(&job->wire), &job->opts, &job->out, &job->arena, NULL))
        abort();
}

static void put_item(struct tr_buf *b, int i)
{
    (void)tr_buf_printf(
        b,
        "{\"name\":\"publishers/12/books/%d\",\"title\":\"The Left Hand of "
        "Darkness\",\"isbn\":\"9780441478125\","
        "\"pageCount\":%d,\"price\":{\"currencyCode\":\"EUR\",\"units\":\"12\",\"nanos\":990000000}"
        ","
        "\"rating\":4.%d,\"inStock\":true,\"tags\":[\"sf\",\"classic\",\"award\"],"
        "\"createTime\":\"2024-05-01T12:34:56.789Z\",\"labels\":{\"shelf\":\"A3\",\"lang\":\"en\"},"
        "\"color\":\"GREEN\",\"years\":[1969,1974,2018],\"views\":\"%d\"}",
        i, 200 + i % 500, i % 90 + 10, i * 7919);
}

static void run(const char *name, const char *type, struct tr_span json, struct tr_span tail)
{
    struct tr_status st = {0};
    struct tr_block_cache cache;
    struct job job = {.type = j2p_type(type), .opts = {.pool = j2p_pool()}};
    tr_block_cache_init(&cache, 64);
    tr_arena_init(&job.arena, &cache);
    const struct tr_json2pb_opts read = {.pool = job.opts.pool};
    if (tr_json2pb(job.type, &read, json, &job.wire, &job.arena, &st) ||
        tr_buf_append(&job.wire, tail)) {
        (void)fprintf(stderr, "%.*s\n", st.text_len, st.text);
        abort();
    }
    double ns = tr_bench_run(convert, &job);
    tr_bench_print_bytes(name, ns, job.out.len, 0, "");
    tr_buf_fini(&job.wire);
    tr_buf_fini(&job.out);
    tr_arena_fini(&job.arena);
    tr_block_cache_fini(&cache);
}

static void bench(const char *name, int items, struct tr_span tail)
{
    struct tr_buf json;
    tr_buf_init(&json);
    (void)tr_buf_printf(&json, items ? "{\"items\":[" : "{");
    for (int i = 0; i < items; i++) {
        put_item(&json, 1000 + i);
        (void)tr_buf_printf(&json, i + 1 < items ? "," : "],");
    }
    (void)tr_buf_printf(&json, "\"nextPageToken\":\"c29tZSB0b2tlbg\",\"totalSize\":%d}", items);
    run(name, "j2p.Shop", tr_buf_span(&json), tail);
    tr_buf_fini(&json);
}

static void bench_text(const char *name, const char *unit, size_t repeat)
{
    struct tr_buf json;
    tr_buf_init(&json);
    (void)tr_buf_printf(&json, "{\"items\":[{\"title\":\"");
    for (size_t i = 0; i < repeat; i++)
        (void)tr_buf_printf(&json, "%s", unit);
    (void)tr_buf_printf(&json, "\"}]}");
    run(name, "j2p.Shop", tr_buf_span(&json), tr_span("", 0));
    tr_buf_fini(&json);
}

/* The same items as a google.protobuf.Struct, as an answer without a schema has them. */
static void bench_struct(const char *name, int items)
{
    struct tr_buf json;
    tr_buf_init(&json);
    (void)tr_buf_printf(&json, "{\"items\":[");
    for (int i = 0; i < items; i++) {
        put_item(&json, 1000 + i);
        (void)tr_buf_printf(&json, i + 1 < items ? "," : "]}");
    }
    run(name, "google.protobuf.Struct", tr_buf_span(&json), tr_span("", 0));
    tr_buf_fini(&json);
}

int main(void)
{
    const struct tr_span none = {"", 0};
    bench("small", 0, none);
    bench("medium, 3 items", 3, none);
    bench("large, 160 items", 160, none);
    /* an empty item after the other fields: everything is printed again */
    bench("medium, indexed", 3, TR_SPAN("\x0a\x00"));
    bench("large, indexed", 160, TR_SPAN("\x0a\x00"));
    bench_text("one string of 60 KiB", "The quick brown fox jumps. ", 2270);
    bench_text("the same, escapes", "The quick \\\"brown\\\" fox jumps. ", 2000);
    bench_struct("large, as a Struct", 160);
    return 0;
}
