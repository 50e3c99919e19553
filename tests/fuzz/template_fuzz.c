/* A template that parses is written anew from its parts and read to the same; a path made of it is
 * let in, matches it, and gives captures inside that path. */
#include "fuzz.h"
#include "route/router.h"

#include <string.h>

static void put(char *out, size_t *n, struct tr_span s)
{
    memcpy(out + *n, s.ptr, s.len);
    *n += s.len;
}

static struct tr_span sample(const struct tr_segment *s)
{
    return s->kind == TR_SEGMENT_LITERAL ? s->literal
           : s->kind == TR_SEGMENT_STAR  ? TR_SPAN("%20")
                                         : TR_SPAN("a//b");
}

static struct tr_span pattern(const struct tr_segment *s)
{
    return s->kind == TR_SEGMENT_LITERAL ? s->literal
           : s->kind == TR_SEGMENT_STAR  ? TR_SPAN("*")
                                         : TR_SPAN("**");
}

/* The template with every variable in its long form, or a path that matches it. */
static struct tr_span write_out(const struct tr_template *t, bool as_path, struct tr_arena *arena)
{
    char *out = tr_arena_alloc(arena, 4 * t->text.len + 1024);
    size_t n = 0;
    FUZZ_CHECK(out);
    if (!t->segment_count)
        out[n++] = '/';
    for (unsigned i = 0; i < t->segment_count; i++) {
        out[n++] = '/';
        for (unsigned v = 0; v < t->var_count && !as_path; v++) {
            if (t->vars[v].first == i) {
                put(out, &n, TR_SPAN("{"));
                put(out, &n, t->vars[v].field_path);
                put(out, &n, TR_SPAN("="));
            }
        }
        put(out, &n, as_path ? sample(&t->segments[i]) : pattern(&t->segments[i]));
        for (unsigned v = 0; v < t->var_count && !as_path; v++) {
            if ((unsigned)t->vars[v].first + t->vars[v].count == i + 1)
                put(out, &n, TR_SPAN("}"));
        }
    }
    if (t->verb.len) {
        put(out, &n, TR_SPAN(":"));
        put(out, &n, t->verb);
    }
    return tr_span(out, n);
}

static void check_same(const struct tr_template *a, const struct tr_template *b)
{
    FUZZ_CHECK(a->segment_count == b->segment_count && a->var_count == b->var_count &&
               a->deep == b->deep);
    FUZZ_CHECK(tr_span_eq(a->verb, b->verb));
    for (unsigned i = 0; i < a->segment_count; i++) {
        FUZZ_CHECK(a->segments[i].kind == b->segments[i].kind);
        FUZZ_CHECK(tr_span_eq(a->segments[i].literal, b->segments[i].literal));
    }
    for (unsigned i = 0; i < a->var_count; i++) {
        FUZZ_CHECK(tr_span_eq(a->vars[i].field_path, b->vars[i].field_path));
        FUZZ_CHECK(a->vars[i].first == b->vars[i].first && a->vars[i].count == b->vars[i].count);
        FUZZ_CHECK(a->vars[i].multi == b->vars[i].multi);
    }
}

static void check_match(const struct tr_template *t, struct tr_span path, struct tr_arena *arena)
{
    struct tr_router *r = NULL;
    struct tr_route_match m;
    void *conflict = NULL;
    FUZZ_CHECK(tr_path_check(path, NULL) == TR_OK);
    FUZZ_CHECK(tr_router_new(&r) == TR_OK);
    FUZZ_CHECK(tr_router_add(r, TR_SPAN("GET"), t, r, &conflict) == TR_OK && !conflict);
    FUZZ_CHECK(tr_router_freeze(r) == TR_OK);
    tr_router_match(r, TR_METHOD_GET, TR_SPAN("GET"), path, &m);
    FUZZ_CHECK(m.result == TR_MATCH_FOUND && m.tmpl == t && m.capture_count == t->var_count);
    for (uint32_t i = 0; i < m.capture_count; i++) {
        struct tr_span value;
        FUZZ_CHECK(m.captures[i].raw.ptr > path.ptr &&
                   m.captures[i].raw.ptr + m.captures[i].raw.len <= path.ptr + path.len);
        FUZZ_CHECK(tr_capture_decode(&m.captures[i], TR_UNESCAPE_ALL_EXCEPT_SLASH, arena, &value) ==
                   TR_OK);
        FUZZ_CHECK(value.len <= m.captures[i].raw.len);
    }
    tr_router_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_arena arena;
    struct tr_template t, again;
    struct tr_status st;
    tr_arena_init(&arena, NULL);
    tr_status_clear(&st);
    struct tr_span text = tr_span((const char *)data, size);
    if (tr_template_parse(text, &arena, &t, &st) == TR_OK) {
        FUZZ_CHECK(t.segment_count <= TR_TEMPLATE_SEGMENTS_MAX &&
                   t.var_count <= TR_TEMPLATE_VARS_MAX);
        FUZZ_CHECK(tr_template_parse(write_out(&t, false, &arena), &arena, &again, &st) == TR_OK);
        check_same(&t, &again);
        check_match(&t, write_out(&t, true, &arena), &arena);
    } else {
        FUZZ_CHECK(st.err == TR_ERR_CONFIG && st.offset <= size && st.text_len > 0);
    }
    tr_arena_fini(&arena);
    return 0;
}
