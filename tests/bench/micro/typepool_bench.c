/* How long all of googleapis takes to load, link and compile, and what it holds. Prints only.
 *
 * Usage: typepool_bench [SET]; without an argument $TRANSOM_VECTORS/googleapis.pb.xz is read
 * through xz. */
#include "base/buf.h"
#include "proto/typepool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static bool read_all(FILE *f, struct tr_buf *b)
{
    for (;;) {
        if (tr_buf_reserve(b, 1 << 20) != TR_OK)
            return false;
        size_t n = fread(tr_buf_end(b), 1, 1 << 20, f);
        if (!n)
            return !ferror(f) && b->len > 0;
        b->len += n;
    }
}

static bool read_set(int argc, char **argv, struct tr_buf *b)
{
    if (argc > 1) {
        FILE *f = fopen(argv[1], "rb");
        bool ok = f && read_all(f, b);
        if (f)
            (void)fclose(f);
        return ok;
    }
    const char *dir = getenv("TRANSOM_VECTORS");
    char command[4096];
    (void)snprintf(command, sizeof command, "xz -dc '%s/googleapis.pb.xz'", dir ? dir : ".");
    FILE *f = popen(command, "r");
    bool ok = f && read_all(f, b);
    if (f)
        (void)pclose(f);
    return ok;
}

static void show(void *ctx, const struct tr_status *st)
{
    int *count = ctx;
    if ((*count)++ < 20)
        printf("  problem: %.*s\n", (int)st->text_len, st->text);
}

static int run(struct tr_typepool *pool, struct tr_span set, bool all)
{
    struct tr_status st;
    int problems = 0;
    uint32_t rpcs = 0, rules = 0, bindings = 0;
    double t0 = now_ms();
    tr_status_clear(&st);
    if (tr_typepool_add(pool, set, &st) != TR_OK) {
        printf("add: %.*s\n", (int)st.text_len, st.text);
        return 1;
    }
    double t1 = now_ms();
    if (tr_typepool_link(pool, show, &problems, &st) != TR_OK) {
        printf("link: %d problems\n", problems);
        return 1;
    }
    double t2 = now_ms();
    for (uint32_t i = 0; i < tr_typepool_service_count(pool); i++) {
        const struct tr_service *s = tr_typepool_service(pool, tr_typepool_service_name(pool, i));
        for (uint32_t j = 0; s && j < s->rpc_count; j++, rpcs++)
            if (s->rpcs[j].rule) {
                rules++;
                bindings += 1 + s->rpcs[j].rule->additional_count;
            }
    }
    double t3 = now_ms();
    if (tr_typepool_freeze(pool, all, &st) != TR_OK)
        return 1;
    double t4 = now_ms();
    struct tr_typepool_stats s = tr_typepool_stats(pool);
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    printf("load %.0f ms, link %.0f ms, services %.0f ms, freeze%s %.0f ms, together %.0f ms\n",
           t1 - t0, t2 - t1, t3 - t2, all ? " all" : "", t4 - t3, t4 - t0);
    printf("%u files, %u messages (%u compiled), %u enums, %u services, %u methods, %u rules, %u "
           "bindings\n",
           s.files, s.messages, s.compiled_messages, s.enums, s.services, rpcs, rules, bindings);
    printf("pool %.1f MiB, set %.1f MiB, peak RSS %.1f MiB\n", (double)s.memory_bytes / 1048576,
           (double)set.len / 1048576, (double)usage.ru_maxrss / 1024);
    return 0;
}

int main(int argc, char **argv)
{
    struct tr_buf set;
    tr_buf_init(&set);
    if (!read_set(argc, argv, &set)) {
        printf("no descriptor set: give a file, or set TRANSOM_VECTORS\n");
        return 0;
    }
    int rc = 0;
    for (int all = 0; all < 2 && !rc; all++) {
        struct tr_typepool *pool;
        if (tr_typepool_new(&pool) != TR_OK)
            return 1;
        rc = run(pool, tr_buf_span(&set), all != 0);
        tr_typepool_free(pool);
    }
    tr_buf_fini(&set);
    return rc;
}
