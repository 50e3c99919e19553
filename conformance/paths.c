/* The router behind a line protocol, for paths.py: one command a line on stdin, one answer a line
 * on stdout. Fields are separated by tabs; templates, paths and values are in hexadecimal.
 *
 *   T template            ok <segment;...> <verb> <field:first:end;...> | no <offset> <reason>
 *   N                     a new router: ok
 *   A id verb template    ok | no <offset> <reason> | conflict <id>
 *   F                     freezes it: ok <number of shadowed routes>
 *   M verb mode path      400 <reason> | none | 405 <allow> | <id> <field=value;...>     mode:
 * slash, reserved or all */
#include "base/assert.h"
#include "route/router.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUTES_MAX 65536

struct entry {
    struct tr_template tmpl;
    struct tr_span id, verb;
};

static struct tr_router *router;
static struct tr_arena arena;
static struct entry *entries;
static size_t entry_count;
static unsigned shadowed;

static void put_hex(struct tr_span s)
{
    for (size_t i = 0; i < s.len; i++)
        (void)printf("%02x", (unsigned)(unsigned char)s.ptr[i]);
}

static struct tr_span from_hex(struct tr_span hex)
{
    char *out = tr_arena_alloc(&arena, hex.len / 2 + 1);
    TR_ASSERT(out && hex.len % 2 == 0);
    for (size_t i = 0; i < hex.len / 2; i++)
        out[i] = (char)((unsigned)tr_hex_value(hex.ptr[2 * i]) << 4 |
                        (unsigned)tr_hex_value(hex.ptr[2 * i + 1]));
    return tr_span(out, hex.len / 2);
}

static bool parse(struct tr_span hex, struct tr_template *ret_template)
{
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_template_parse(from_hex(hex), &arena, ret_template, &st);
    TR_ASSERT(err == TR_OK || err == TR_ERR_CONFIG);
    if (err)
        (void)printf("no\t%zu\t%.*s\n", st.offset, (int)st.text_len, st.text);
    return err == TR_OK;
}

static void do_template(struct tr_span hex)
{
    struct tr_template t;
    if (!parse(hex, &t))
        return;
    (void)printf("ok\t");
    for (unsigned i = 0; i < t.segment_count; i++) {
        static const struct tr_span wild[] = {TR_SPAN_INIT(""), TR_SPAN_INIT("*"),
                                              TR_SPAN_INIT("**")};
        const struct tr_segment *s = &t.segments[i];
        put_hex(s->kind == TR_SEGMENT_LITERAL ? s->literal : wild[s->kind]);
        (void)printf(";");
    }
    (void)printf("\t");
    put_hex(t.verb);
    (void)printf("\t");
    for (unsigned i = 0; i < t.var_count; i++)
        (void)printf("%.*s:%u:%u;", (int)t.vars[i].field_path.len, t.vars[i].field_path.ptr,
                     t.vars[i].first, t.vars[i].first + t.vars[i].count);
    (void)printf("\n");
}

static void do_new(void)
{
    tr_router_free(router);
    tr_arena_reset(&arena);
    entry_count = 0;
    TR_ASSERT(tr_router_new(&router) == TR_OK);
    (void)printf("ok\n");
}

static void do_add(struct tr_span id, struct tr_span verb, struct tr_span hex)
{
    TR_ASSERT(entry_count < ROUTES_MAX);
    struct entry *e = &entries[entry_count];
    if (!parse(hex, &e->tmpl))
        return;
    e->id = tr_arena_copy(&arena, id);
    e->verb = tr_arena_copy(&arena, verb);
    void *conflict = NULL;
    TR_ASSERT(tr_router_add(router, e->verb, &e->tmpl, e, &conflict) == TR_OK);
    if (conflict) {
        const struct entry *other = conflict;
        (void)printf("conflict\t%.*s\n", (int)other->id.len, other->id.ptr);
        return;
    }
    entry_count++;
    (void)printf("ok\n");
}

static void count_shadowed(void *ctx, void *target, void *by)
{
    (void)ctx, (void)target, (void)by;
    shadowed++;
}

static void do_match(struct tr_span verb, struct tr_span mode_name, struct tr_span hex)
{
    enum tr_path_unescape mode =
        tr_span_eq(mode_name, TR_SPAN("slash")) ? TR_UNESCAPE_ALL_EXCEPT_SLASH
        : tr_span_eq(mode_name, TR_SPAN("all")) ? TR_UNESCAPE_ALL
                                                : TR_UNESCAPE_ALL_EXCEPT_RESERVED;
    struct tr_span path = from_hex(hex);
    struct tr_status st;
    tr_status_clear(&st);
    if (tr_path_check(path, &st)) {
        (void)printf("400\t%.*s\n", (int)st.text_len, st.text);
        return;
    }
    struct tr_route_match m;
    tr_router_match(router, tr_method_from(verb), verb, path, &m);
    if (m.result == TR_MATCH_NOT_FOUND) {
        (void)printf("none\n");
        return;
    }
    if (m.result == TR_MATCH_METHOD) {
        struct tr_span allow = tr_router_allow(router, path, &arena);
        (void)printf("405\t%.*s\n", (int)allow.len, allow.ptr);
        return;
    }
    const struct entry *e = m.target;
    (void)printf("%.*s\t", (int)e->id.len, e->id.ptr);
    for (uint32_t i = 0; i < m.capture_count; i++) {
        struct tr_span value;
        TR_ASSERT(tr_capture_decode(&m.captures[i], mode, &arena, &value) == TR_OK);
        (void)printf("%.*s=", (int)m.captures[i].var->field_path.len,
                     m.captures[i].var->field_path.ptr);
        put_hex(value);
        (void)printf(";");
    }
    (void)printf("\n");
}

static void run(struct tr_span line)
{
    struct tr_span field[4] = {{0}};
    for (int i = 0; i < 4 && line.ptr; i++)
        field[i] = tr_span_cut(&line, '\t');
    TR_ASSERT(field[0].len == 1);
    switch (field[0].ptr[0]) {
    case 'T':
        do_template(field[1]);
        break;
    case 'N':
        do_new();
        break;
    case 'A':
        do_add(field[1], field[2], field[3]);
        break;
    case 'F':
        TR_ASSERT(tr_router_freeze(router) == TR_OK);
        shadowed = 0;
        tr_router_shadowed(router, count_shadowed, NULL);
        (void)printf("ok\t%u\n", shadowed);
        break;
    case 'M':
        do_match(field[1], field[2], field[3]);
        break;
    default:
        (void)fprintf(stderr, "unknown command '%c'\n", field[0].ptr[0]);
        exit(2);
    }
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    entries = calloc(ROUTES_MAX, sizeof *entries);
    TR_ASSERT(entries);
    tr_arena_init(&arena, NULL);
    while ((len = getline(&line, &cap, stdin)) > 0) {
        if (line[len - 1] == '\n')
            len--;
        run(tr_span(line, (size_t)len));
    }
    free(line);
    tr_router_free(router);
    tr_arena_fini(&arena);
    free(entries);
    return 0;
}
