/* Time of a look-up by number of routes: the same ten paths in routers of growing size, then paths
 * over all routes in random order. Prints only.
 *
 * Usage: router_bench [FILE]; FILE has lines of "VERB template". Without it the templates are those
 * of $TRANSOM_VECTORS/googleapis_templates.json. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct item {
    struct tr_span verb, path;
    enum tr_method method;
    struct tr_template tmpl;
};

static struct tr_arena arena;
static struct item *items;
static size_t item_count, item_cap;

static double now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static struct tr_span sample_path(const struct tr_template *t)
{
    char out[1024];
    size_t n = 0;
    static const char *const wild[] = {"", "my-resource-1", "some/deep/name"};
    for (unsigned i = 0; i < t->segment_count; i++) {
        const struct tr_segment *s = &t->segments[i];
        struct tr_span text =
            s->kind == TR_SEGMENT_LITERAL ? s->literal : tr_span_cstr(wild[s->kind]);
        n += (size_t)snprintf(out + n, sizeof out - n, "/%.*s", (int)text.len, text.ptr);
    }
    if (t->verb.len)
        n += (size_t)snprintf(out + n, sizeof out - n, ":%.*s", (int)t->verb.len, t->verb.ptr);
    return tr_arena_copy(&arena, tr_span(out, n));
}

static void add_item(struct tr_span verb, struct tr_span text)
{
    if (item_count == item_cap) {
        item_cap = item_cap ? item_cap * 2 : 1024;
        items = tr_realloc(items, item_cap * sizeof *items);
        TR_ASSERT(items);
    }
    struct item *it = &items[item_count];
    if (tr_template_parse(text, &arena, &it->tmpl, NULL) != TR_OK)
        return;
    char upper[16];
    size_t n = 0;
    for (; n < verb.len && n < sizeof upper; n++)
        upper[n] = tr_is_alpha(verb.ptr[n]) ? (char)(verb.ptr[n] & ~0x20) : verb.ptr[n];
    it->verb = tr_arena_copy(&arena, tr_span(upper, n));
    it->method = tr_method_from(it->verb);
    it->path = sample_path(&it->tmpl);
    item_count++;
}

static void read_lines(struct tr_span text)
{
    while (text.ptr) {
        struct tr_span line = tr_span_cut(&text, '\n'), verb = tr_span_cut(&line, ' ');
        if (line.ptr)
            add_item(verb, line);
    }
}

/* {"template": "...", "kinds": ["get", ...]}, as the file is written. */
static void read_json(const char *text)
{
    for (const char *p = text; (p = strstr(p, "\"template\": \"")) != NULL;) {
        p += 13;
        struct tr_span tmpl = tr_span(p, strcspn(p, "\""));
        const char *q = strstr(p, "\"kinds\": ["), *end = q ? strchr(q, ']') : NULL;
        TR_ASSERT(end);
        for (q += 9; q < end; q += strcspn(q, "\"") + 1) {
            q += strcspn(q, "\"]");
            if (*q == '"')
                add_item(tr_span(q + 1, strcspn(q + 1, "\"")), tmpl);
            q++;
        }
        p = end;
    }
}

static void load(int argc, char **argv)
{
    char name[4096];
    const char *dir = getenv("TRANSOM_VECTORS");
    (void)snprintf(name, sizeof name, "%s/googleapis_templates.json", dir ? dir : ".");
    FILE *f = fopen(argc > 1 ? argv[1] : name, "rb");
    if (!f) {
        printf("no routes: give a file or set TRANSOM_VECTORS\n");
        exit(2);
    }
    struct tr_buf b;
    tr_buf_init(&b);
    size_t n;
    do {
        TR_ASSERT(tr_buf_reserve(&b, 1 << 16) == TR_OK);
        n = fread(tr_buf_end(&b), 1, 1 << 16, f);
        b.len += n;
    } while (n);
    (void)fclose(f);
    TR_ASSERT(tr_buf_push(&b, '\0') == TR_OK);
    if (argc > 1)
        read_lines(tr_span(b.ptr, b.len - 1));
    else
        read_json(b.ptr);
    tr_buf_fini(&b);
}

static uint64_t seed = 1;

static size_t pick(size_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((seed >> 33) % below);
}

/* ns for each request: the path is checked, as every request's is, and looked up when r is not
 * NULL. */
static double pass(const struct tr_router *r, struct item *const *which, size_t count, size_t times)
{
    struct tr_route_match m = {.result = TR_MATCH_FOUND};
    double best = 1e9;
    for (int round = 0; round < 7; round++) {
        double start = now_ns();
        for (size_t i = 0; i < times; i++) {
            const struct item *it = which[i % count];
            TR_ASSERT(tr_path_check(it->path, NULL) == TR_OK);
            if (r)
                tr_router_match(r, it->method, it->verb, it->path, &m);
            TR_ASSERT(m.result == TR_MATCH_FOUND);
        }
        double ns = (now_ns() - start) / (double)times;
        best = ns < best ? ns : best;
    }
    return best;
}

/* ns of the look-up alone: what fetching the path from memory costs is the check's. */
static double look_up(const struct tr_router *r, struct item *const *which, size_t count)
{
    return pass(r, which, count, 300000) - pass(NULL, which, count, 300000);
}

/* The first `same` items are routed in every size, so that the same paths are looked up. */
static void run(size_t size, size_t same)
{
    struct tr_router *r = NULL;
    void *conflict = NULL;
    size_t added = 0;
    double start = now_ns();
    TR_ASSERT(tr_router_new(&r) == TR_OK);
    for (size_t i = 0; i < size; i++) {
        TR_ASSERT(tr_router_add(r, items[i].verb, &items[i].tmpl, &items[i], &conflict) == TR_OK);
        added += !conflict;
    }
    TR_ASSERT(tr_router_freeze(r) == TR_OK);
    double built = now_ns() - start;
    struct item **which = tr_malloc(size * sizeof *which);
    TR_ASSERT(which);
    for (size_t i = 0; i < size; i++)
        which[i] = &items[i];
    double same_ns = look_up(r, which, same);
    for (size_t i = size; i > 1; i--) {
        size_t k = pick(i);
        struct item *t = which[i - 1];
        which[i - 1] = which[k];
        which[k] = t;
    }
    double all_ns = look_up(r, which, size);
    printf("%6zu routes: built in %6.1f ms, the same %zu paths %5.1f ns, all in random order %5.1f "
           "ns\n",
           added, built / 1e6, same, same_ns, all_ns);
    tr_free(which);
    tr_router_free(r);
}

static void hostile(void)
{
    static const char *const templates[] = {"/**/a", "/*/**/a/a", "/*/*/**/*/b", "/{x=**}:v"};
    struct tr_router *r = NULL;
    struct tr_template t[4];
    struct tr_route_match m;
    void *conflict;
    char path[8192];
    TR_ASSERT(tr_router_new(&r) == TR_OK);
    for (size_t i = 0; i < 4; i++) {
        TR_ASSERT(tr_template_parse(tr_span_cstr(templates[i]), &arena, &t[i], NULL) == TR_OK);
        TR_ASSERT(tr_router_add(r, TR_SPAN("GET"), &t[i], r, &conflict) == TR_OK);
    }
    TR_ASSERT(tr_router_freeze(r) == TR_OK);
    for (size_t i = 0; i < sizeof path; i++)
        path[i] = i % 2 ? 'a' : '/';
    path[sizeof path - 1] = 'c';
    double start = now_ns();
    for (int i = 0; i < 1000; i++)
        tr_router_match(r, TR_METHOD_GET, TR_SPAN("GET"), tr_span(path, sizeof path), &m);
    printf("a path of 4,096 segments that no route takes: %.1f us\n", (now_ns() - start) / 1e6);
    start = now_ns();
    for (int i = 0; i < 1000; i++)
        TR_ASSERT(tr_path_check(tr_span(path, sizeof path), NULL) == TR_OK);
    printf("its check: %.1f us\n", (now_ns() - start) / 1e6);
    tr_router_free(r);
}

int main(int argc, char **argv)
{
    tr_arena_init(&arena, NULL);
    load(argc, argv);
    size_t same = item_count < 10 ? item_count : 10;
    /* ten from all over, in front */
    for (size_t i = 0; i < same; i++) {
        size_t k = i + pick(item_count - i);
        struct item t = items[i];
        items[i] = items[k];
        items[k] = t;
    }
    for (size_t size = 10; size < item_count; size *= 10)
        run(size, same);
    run(item_count, same);
    hostile();
    tr_free(items);
    tr_arena_fini(&arena);
    return 0;
}
