/* Lines of "VERB template", an empty line, then a path. What matches is held against a plain
 * reading of the template, and against the canonical path, which must be served alike. */
#include "fuzz.h"
#include "route/router.h"

#include <string.h>

#define ROUTES_MAX 32

struct route {
    struct tr_template tmpl;
    struct tr_span verb;
};

static bool plain_segment(const struct tr_segment *s, struct tr_span text)
{
    return s->kind == TR_SEGMENT_STAR ? text.len > 0 : tr_path_normal_eq(text, s->literal);
}

/* path is without its ':verb' where the template has one. */
static bool plain_match(const struct tr_template *t, struct tr_span path, struct tr_arena *arena)
{
    struct tr_span *segs = tr_arena_alloc(arena, (path.len + 1) * sizeof *segs);
    struct tr_span rest = tr_span_from(path, 1);
    size_t n = 0, deep = t->deep < t->segment_count;
    FUZZ_CHECK(segs);
    while (path.len > 1 && rest.ptr)
        segs[n++] = tr_span_cut(&rest, '/');
    if (deep ? n + 1 < t->segment_count : n != t->segment_count)
        return false;
    for (size_t i = 0; i < t->deep; i++) {
        if (!plain_segment(&t->segments[i], segs[i]))
            return false;
    }
    for (size_t i = 1; deep && i < (size_t)(t->segment_count - t->deep); i++) {
        if (!plain_segment(&t->segments[t->segment_count - i], segs[n - i]))
            return false;
    }
    return true;
}

static bool matches(const struct tr_template *t, struct tr_span path, struct tr_arena *arena)
{
    if (t->verb.len) {
        size_t colon = tr_span_rfind(path, ':');
        if (colon == path.len || !tr_path_normal_eq(tr_span_from(path, colon + 1), t->verb))
            return false;
        path.len = colon;
    }
    return plain_match(t, path, arena);
}

static void ignore_shadow(void *ctx, void *target, void *by)
{
    (void)ctx;
    FUZZ_CHECK(target != by);
}

static void check_reason(void *ctx, void *target, struct tr_span reason)
{
    unsigned *count = ctx;
    FUZZ_CHECK(target && reason.len > 0 && ++*count <= TR_NEAR_MISSES_MAX);
}

static void check(const struct tr_router *r, const struct route *routes, size_t count,
                  struct tr_span path, struct tr_arena *arena)
{
    struct tr_route_match m, again;
    struct tr_span canonical, get = TR_SPAN("GET"), head = TR_SPAN("HEAD");
    unsigned misses = 0;
    bool any = false;
    if (tr_path_check(path, NULL))
        return;
    tr_router_match(r, TR_METHOD_GET, get, path, &m);
    FUZZ_CHECK(tr_path_canonical(path, arena, &canonical) == TR_OK);
    FUZZ_CHECK(tr_path_check(canonical, NULL) == TR_OK);
    tr_router_match(r, TR_METHOD_GET, get, canonical, &again);
    FUZZ_CHECK(m.result == again.result && m.target == again.target);
    for (size_t i = 0; i < count; i++)
        any |= matches(&routes[i].tmpl, path, arena);
    FUZZ_CHECK(any == (m.result != TR_MATCH_NOT_FOUND));
    FUZZ_CHECK(any == (tr_router_allow(r, path, arena).len > 0));
    if (m.result == TR_MATCH_FOUND) {
        FUZZ_CHECK(matches(m.tmpl, path, arena));
        tr_router_match(r, TR_METHOD_HEAD, head, path, &again);
        FUZZ_CHECK(again.result == TR_MATCH_FOUND);
        for (uint32_t i = 0; i < m.capture_count; i++) {
            struct tr_span raw = m.captures[i].raw;
            FUZZ_CHECK(raw.ptr > path.ptr && raw.ptr + raw.len <= path.ptr + path.len);
        }
    }
    tr_router_near_misses(r, TR_METHOD_GET, get, path, check_reason, &misses);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_arena arena;
    struct tr_router *r = NULL;
    struct route routes[ROUTES_MAX];
    size_t count = 0;
    tr_arena_init(&arena, NULL);
    struct tr_span text = tr_arena_copy(&arena, tr_span((const char *)data, size));
    FUZZ_CHECK(text.ptr && tr_router_new(&r) == TR_OK);
    while (text.ptr) {
        struct tr_span line = tr_span_cut(&text, '\n');
        if (line.len == 0)
            break;
        struct tr_span verb = tr_span_cut(&line, ' ');
        void *conflict = NULL;
        if (count == ROUTES_MAX || !line.ptr ||
            tr_template_parse(line, &arena, &routes[count].tmpl, NULL) != TR_OK)
            continue;
        routes[count].verb = verb;
        FUZZ_CHECK(tr_router_add(r, verb, &routes[count].tmpl, &routes[count], &conflict) == TR_OK);
        count += !conflict;
    }
    FUZZ_CHECK(tr_router_freeze(r) == TR_OK);
    if (text.ptr)
        check(r, routes, count, text, &arena);
    tr_router_shadowed(r, ignore_shadow, NULL);
    tr_router_free(r);
    tr_arena_fini(&arena);
    return 0;
}
