/* The JSON reader on bodies like those of an API: small, medium (about 1.2 KiB), and a long list.
 */
#include "../../unit/transcode/json2pb_util.h"
#include "bench.h"
#include "transcode/json2pb.h"

#include <stdlib.h>
#include <string.h>

struct job {
    const struct tr_msgtype *type;
    struct tr_json2pb_opts opts;
    struct tr_span json;
    struct tr_arena arena;
    struct tr_buf out, spill;
};

static void convert(void *arg)
{
    struct job *job = arg;
    struct tr_json_scan scan;
    struct tr_arena_mark mark = tr_arena_mark(&job->arena);
    tr_buf_clear(&job->out);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &job->spill, SIZE_MAX);
    tr_json_scan_feed(&scan, job->json, true);
    struct tr_json2pb *j = tr_json2pb_new(&job->arena, job->type, NULL, &job->opts, &job->out);
    if (!j || tr_json2pb_run(j, &scan, NULL) || tr_json_scan_next(&scan) != TR_JSON_END)
        abort();
    tr_arena_rewind(&job->arena, mark);
}

static void scan_only(void *arg)
{
    struct job *job = arg;
    struct tr_json_scan scan;
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &job->spill, SIZE_MAX);
    tr_json_scan_feed(&scan, job->json, true);
    enum tr_json_tok tok;
    while ((tok = tr_json_scan_next(&scan)) > TR_JSON_END)
        ;
    if (tok != TR_JSON_END)
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

static void bench(const char *name, int items)
{
    struct tr_buf json;
    tr_buf_init(&json);
    if (items)
        (void)tr_buf_printf(&json, "{\"items\":[");
    for (int i = 0; i < items; i++) {
        put_item(&json, 1000 + i);
        (void)tr_buf_printf(&json, i + 1 < items ? "," : "],");
    }
    (void)tr_buf_printf(&json, "%s\"nextPageToken\":\"c29tZSB0b2tlbg\",\"totalSize\":%d}",
                        items ? "" : "{", items);
    struct job job = {
        .type = j2p_type("j2p.Shop"), .opts = {.pool = j2p_pool()}, .json = tr_buf_span(&json)};
    /* the arena keeps a block, as the gateway's block cache would */
    tr_arena_init(&job.arena, NULL);
    struct tr_block_cache cache;
    tr_block_cache_init(&cache, 64);
    job.arena.cache = &cache;
    tr_buf_init(&job.out);
    tr_buf_init(&job.spill);
    char line[64];
    double ns = tr_bench_run(scan_only, &job);
    (void)snprintf(line, sizeof line, "%s, scanned", name);
    tr_bench_print_bytes(line, ns, json.len, 0, "");
    ns = tr_bench_run(convert, &job);
    tr_bench_print_bytes(name, ns, json.len, 0, "");
    tr_arena_fini(&job.arena);
    tr_block_cache_fini(&cache);
    tr_buf_fini(&job.out);
    tr_buf_fini(&job.spill);
    tr_buf_fini(&json);
}

int main(void)
{
    bench("small", 0);
    bench("one item", 1);
    bench("medium", 3);
    bench("large", 150);
    return 0;
}
