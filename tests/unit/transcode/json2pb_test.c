/* Each folder of tests/cases/json2pb is a test:
 *   type        the message type; then lines of options: ignore_unknown, field NAME, max N, no_end
 *   in.json     the input
 *   want.txt    the wire as text, or
 *   want.err    "NAME line:column field" and the text of the error
 *   want.paths  what on_path was given, a line each (only where it matters)
 * It is run whole, one byte at a time, at random cuts, and with each allocation failing.
 * TR_CASES_UPDATE=1 writes what came out. */
#include "transcode/json2pb.h"

#include "json2pb_util.h"
#include "test.h"

#include <dirent.h>

#define CASES "tests/cases/json2pb"

struct run {
    enum tr_err err;
    struct tr_status st;
    struct tr_buf out, paths;
};

struct the_case {
    char name[256];
    const struct tr_msgtype *type;
    const struct tr_field *field;
    struct tr_json2pb_opts opts;
    struct tr_span in;
};

static void run_fini(struct run *r)
{
    tr_buf_fini(&r->out);
    tr_buf_fini(&r->paths);
}

static void on_path(void *ctx, struct tr_span path)
{
    (void)!tr_buf_append(ctx, path);
    (void)!tr_buf_push(ctx, '\n');
}

/* The input in chunks of the sizes that next_cut tells, each an exact copy on the heap so that a
 * sanitizer sees over-reads. */
static void run_cut(const struct the_case *c, size_t (*next_cut)(void *ctx, size_t left), void *ctx,
                    struct run *r)
{
    struct tr_arena arena;
    struct tr_buf spill;
    struct tr_json_scan scan;
    struct tr_json2pb_opts opts = c->opts;
    size_t at = 0;
    char *chunk = NULL;
    memset(r, 0, sizeof *r);
    opts.pool = j2p_pool();
    opts.on_path_ctx = &r->paths;
    tr_arena_init(&arena, NULL);
    tr_buf_init(&spill);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, SIZE_MAX);
    struct tr_json2pb *j = tr_json2pb_new(&arena, c->type, c->field, &opts, &r->out);
    r->err = j && !tr_buf_reserve(&r->paths, 4096) ? TR_ERR_AGAIN : TR_ERR_NOMEM;
    while (r->err == TR_ERR_AGAIN) {
        size_t n = next_cut(ctx, c->in.len - at);
        free(chunk);
        chunk = malloc(n ? n : 1);
        assert_non_null(chunk);
        memcpy(chunk, c->in.ptr + at, n);
        at += n;
        tr_json_scan_feed(&scan, tr_span(chunk, n), at == c->in.len);
        r->err = tr_json2pb_run(j, &scan, &r->st);
    }
    while (!r->err) {
        enum tr_json_tok tok = tr_json_scan_next(&scan);
        if (tok == TR_JSON_END)
            break;
        if (tok == TR_JSON_MORE) {
            tr_json_scan_feed(&scan, tr_span_from(c->in, at), true);
            at = c->in.len;
            continue;
        }
        r->err = scan.st.err;
        r->st = scan.st;
    }
    free(chunk);
    tr_buf_fini(&spill);
    tr_arena_fini(&arena);
}

static size_t cut_whole(void *ctx, size_t left)
{
    (void)ctx;
    return left;
}
static size_t cut_one(void *ctx, size_t left)
{
    (void)ctx;
    return left ? 1 : 0;
}
static size_t cut_random(void *ctx, size_t left)
{
    uint64_t n = tr_test_rand(ctx) % 24;
    return n < left ? (size_t)n : left;
}

static void assert_same_run(const struct run *a, const struct run *b)
{
    assert_int_equal(a->err, b->err);
    if (a->err) {
        assert_int_equal(a->st.line, b->st.line);
        assert_int_equal(a->st.column, b->st.column);
        assert_int_equal(a->st.offset, b->st.offset);
        assert_true(tr_span_eq(tr_span(a->st.field, a->st.field_len),
                               tr_span(b->st.field, b->st.field_len)));
        assert_true(tr_span_eq(tr_status_text(&a->st), tr_status_text(&b->st)));
        return;
    }
    assert_true(tr_span_eq(tr_buf_span(&a->out), tr_buf_span(&b->out)));
    assert_true(tr_span_eq(tr_buf_span(&a->paths), tr_buf_span(&b->paths)));
}

static void walk_failures(const struct the_case *c, const struct run *want)
{
    for (uint64_t n = 1; n < 200; n++) {
        struct run r;
        tr_alloc_fail_after(n);
        run_cut(c, cut_whole, NULL, &r);
        tr_alloc_fail_after(0);
        bool through = r.err != TR_ERR_NOMEM;
        if (through)
            assert_same_run(&r, want);
        run_fini(&r);
        if (through)
            return;
    }
    fail_msg("%s: never enough memory", c->name);
}

/* -- the folder -- */

static struct tr_span case_file(const struct the_case *c, const char *file)
{
    char path[512];
    (void)snprintf(path, sizeof path, CASES "/%s/%s", c->name, file);
    return j2p_read_file(path);
}

static void compare(const struct the_case *c, const char *file, struct tr_span got)
{
    char path[512];
    struct tr_span want = case_file(c, file);
    if (getenv("TR_CASES_UPDATE")) {
        (void)snprintf(path, sizeof path, CASES "/%s/%s", c->name, file);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(got.ptr, 1, got.len, f), got.len);
        (void)fclose(f);
    } else if (!want.ptr || !tr_span_eq(want, got)) {
        fail_msg("%s: %s differs, got:\n%.*s", c->name, file, (int)got.len, got.ptr ? got.ptr : "");
    }
    free((void *)(uintptr_t)want.ptr);
}

static void read_type(struct the_case *c)
{
    struct tr_span text = case_file(c, "type"), rest = text;
    assert_non_null(text.ptr);
    struct tr_span name = tr_span_cut(&rest, '\n');
    c->type = tr_typepool_find(j2p_pool(), name);
    if (!c->type)
        fail_msg("%s: no type %.*s", c->name, (int)name.len, name.ptr);
    while (rest.ptr) {
        struct tr_span line = tr_span_cut(&rest, '\n');
        struct tr_span word = tr_span_cut(&line, ' ');
        uint64_t max;
        if (tr_span_eq(word, TR_SPAN("ignore_unknown"))) {
            c->opts.ignore_unknown = true;
        } else if (tr_span_eq(word, TR_SPAN("field"))) {
            c->field = tr_msgtype_field_by_name(c->type, line);
            assert_non_null(c->field);
        } else if (tr_span_eq(word, TR_SPAN("max"))) {
            assert_true(tr_span_u64(line, &max));
            c->opts.max_bytes = (size_t)max;
        } else if (word.len) {
            fail_msg("%s: no option %.*s", c->name, (int)word.len, word.ptr);
        }
    }
    free((void *)(uintptr_t)text.ptr);
}

static void check_want(const struct the_case *c, const struct run *r)
{
    struct tr_buf text;
    tr_buf_init(&text);
    if (r->err) {
        assert_int_equal(r->err, r->st.err);
        (void)tr_buf_printf(&text, "%s %u:%u", tr_err_info(r->err)->name, r->st.line, r->st.column);
        if (r->st.field_len)
            (void)tr_buf_printf(&text, " %.*s", (int)r->st.field_len, r->st.field);
        struct tr_span t = tr_status_text(&r->st);
        (void)tr_buf_printf(&text, "\n%.*s\n", (int)t.len, t.ptr);
        compare(c, "want.err", tr_buf_span(&text));
    } else {
        j2p_text(&text, c->type, tr_buf_span(&r->out));
        compare(c, "want.txt", tr_buf_span(&text));
    }
    tr_buf_fini(&text);
}

static void run_case(struct the_case *c)
{
    struct run whole, r;
    uint64_t seed = tr_test_seed();
    read_type(c);
    c->in = case_file(c, "in.json");
    assert_non_null(c->in.ptr);
    struct tr_span paths = case_file(c, "want.paths");
    c->opts.on_path = paths.ptr ? on_path : NULL;
    run_cut(c, cut_whole, NULL, &whole);
    check_want(c, &whole);
    if (paths.ptr)
        compare(c, "want.paths", tr_buf_span(&whole.paths));
    run_cut(c, cut_one, NULL, &r);
    assert_same_run(&whole, &r);
    run_fini(&r);
    for (int i = 0; i < 8; i++) {
        run_cut(c, cut_random, &seed, &r);
        assert_same_run(&whole, &r);
        run_fini(&r);
    }
    walk_failures(c, &whole);
    run_fini(&whole);
    free((void *)(uintptr_t)paths.ptr);
    free((void *)(uintptr_t)c->in.ptr);
}

static void json2pb_every_case_whole_cut_and_out_of_memory(void **state)
{
    (void)state;
    DIR *dir = opendir(CASES);
    assert_non_null(dir);
    struct dirent *e;
    int count = 0;
    while ((e = readdir(dir)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        struct the_case c = {0};
        (void)snprintf(c.name, sizeof c.name, "%s", e->d_name);
        run_case(&c);
        count++;
    }
    (void)closedir(dir);
    assert_true(count > 100);
}

/* -- what a folder cannot say -- */

static enum tr_err convert(const char *type, struct tr_span json, struct tr_buf *out)
{
    struct tr_arena arena;
    struct tr_json2pb_opts opts = {.pool = j2p_pool()};
    struct tr_status st;
    tr_arena_init(&arena, NULL);
    enum tr_err err = tr_json2pb(j2p_type(type), &opts, json, out, &arena, &st);
    tr_arena_fini(&arena);
    return err;
}

static void json2pb_leaves_what_stands_before_alone(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(tr_buf_append(&out, TR_SPAN("head")), TR_OK);
    assert_int_equal(convert("j2p.Author", TR_SPAN("{\"name\":\"x\"}"), &out), TR_OK);
    assert_span_equal(tr_buf_span(&out), "head\x0a\x01x");
    tr_buf_fini(&out);
}

/* Lengths around each size of a varint, nested, so that widening moves every stretch by another
 * distance. */
static void json2pb_widens_lengths_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,   1,   119, 120, 121,   122,   123,   124,   125,
                                   126, 127, 128, 129, 16370, 16380, 16383, 16384, 16390};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct tr_buf json, out;
        tr_buf_init(&json);
        tr_buf_init(&out);
        (void)tr_buf_printf(&json,
                            "{\"mentor\":{\"tags\":[\"a\"],\"mentor\":{\"mentor\":{\"name\":\"");
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(tr_buf_push(&json, 'x'), TR_OK);
        (void)tr_buf_printf(&json, "\"},\"name\":\"b\"},\"bornYear\":7},\"name\":\"c\"}");
        assert_int_equal(convert("j2p.Author", tr_buf_span(&json), &out), TR_OK);
        /* built inside out, with exact lengths */
        struct tr_buf want, in;
        tr_buf_init(&want);
        tr_buf_init(&in);
        char head[16];
        size_t n = 0;
        assert_int_equal(tr_buf_push(&in, 0x0A), TR_OK);
        n = tr_wire_put_varint(head, sizes[i]);
        assert_int_equal(tr_buf_append(&in, tr_span(head, n)), TR_OK);
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(tr_buf_push(&in, 'x'), TR_OK);
        static const char *const before[] = {"", "\032\001a", ""};
        static const char *const after[] = {"\012\001b", "\020\007", "\012\001c"};
        for (int level = 0; level < 3; level++) {
            tr_buf_clear(&want);
            assert_int_equal(tr_buf_append(&want, tr_span_cstr(before[level])), TR_OK);
            assert_int_equal(tr_buf_push(&want, 0x22), TR_OK);
            n = tr_wire_put_varint(head, in.len);
            assert_int_equal(tr_buf_append(&want, tr_span(head, n)), TR_OK);
            assert_int_equal(tr_buf_append(&want, tr_buf_span(&in)), TR_OK);
            assert_int_equal(tr_buf_append(&want, tr_span_cstr(after[level])), TR_OK);
            tr_buf_clear(&in);
            assert_int_equal(tr_buf_append(&in, tr_buf_span(&want)), TR_OK);
        }
        assert_true(tr_span_eq(tr_buf_span(&out), tr_buf_span(&want)));
        tr_buf_fini(&want);
        tr_buf_fini(&in);
        tr_buf_fini(&json);
        tr_buf_fini(&out);
    }
}

static void json2pb_takes_one_value_of_many(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_buf spill, out;
    struct tr_json_scan scan;
    struct tr_status st;
    struct tr_json2pb_opts opts = {.pool = j2p_pool()};
    tr_arena_init(&arena, NULL);
    tr_buf_init(&spill);
    tr_buf_init(&out);
    tr_json_scan_init(&scan, TR_JSON_MULTI, 100, &spill, SIZE_MAX);
    tr_json_scan_feed(&scan, TR_SPAN("{\"name\":\"a\"} {\"bornYear\":2}\n"), true);
    for (int i = 0; i < 2; i++) {
        struct tr_arena_mark mark = tr_arena_mark(&arena);
        struct tr_json2pb *j = tr_json2pb_new(&arena, j2p_type("j2p.Author"), NULL, &opts, &out);
        assert_non_null(j);
        assert_int_equal(tr_json2pb_run(j, &scan, &st), TR_OK);
        tr_arena_rewind(&arena, mark);
    }
    assert_span_equal(tr_buf_span(&out), "\012\001a\020\002");
    struct tr_json2pb *j = tr_json2pb_new(&arena, j2p_type("j2p.Author"), NULL, &opts, &out);
    assert_non_null(j);
    assert_int_equal(tr_json2pb_run(j, &scan, &st), TR_ERR_EOF);
    assert_int_equal(tr_json2pb_run(j, &scan, &st), TR_ERR_EOF);
    tr_buf_fini(&out);
    tr_buf_fini(&spill);
    tr_arena_fini(&arena);
}

/* Offsets of open lengths would point elsewhere. */
static void json2pb_refuses_output_that_was_moved_meanwhile(void **state)
{
    (void)state;
    struct tr_arena arena;
    struct tr_buf spill, out;
    struct tr_json_scan scan;
    struct tr_status st;
    struct tr_json2pb_opts opts = {.pool = j2p_pool()};
    tr_arena_init(&arena, NULL);
    tr_buf_init(&spill);
    tr_buf_init(&out);
    assert_int_equal(tr_buf_append(&out, TR_SPAN("front")), TR_OK);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, SIZE_MAX);
    tr_json_scan_feed(&scan, TR_SPAN("{\"mentor\":{\"name\":\"a\""), false);
    struct tr_json2pb *j = tr_json2pb_new(&arena, j2p_type("j2p.Author"), NULL, &opts, &out);
    assert_non_null(j);
    assert_int_equal(tr_json2pb_run(j, &scan, &st), TR_ERR_AGAIN);
    tr_buf_consume(&out, 5);
    tr_json_scan_feed(&scan, TR_SPAN("}}"), true);
    assert_int_equal(tr_json2pb_run(j, &scan, &st), TR_ERR_INTERNAL);
    tr_buf_fini(&out);
    tr_buf_fini(&spill);
    tr_arena_fini(&arena);
}

static void json2pb_refuses_more_than_one_value(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(convert("j2p.Author", TR_SPAN("{} {}"), &out), TR_ERR_JSON_SYNTAX);
    assert_int_equal(convert("j2p.Author", TR_SPAN(""), &out), TR_ERR_JSON_TRUNCATED);
    tr_buf_fini(&out);
}

static void json2pb_nests_to_the_depth_of_the_scanner(void **state)
{
    (void)state;
    for (int depth = 99; depth <= 101; depth++) {
        struct tr_buf json, out;
        tr_buf_init(&json);
        tr_buf_init(&out);
        for (int i = 1; i < depth; i++)
            (void)tr_buf_printf(&json, "{\"mentor\":");
        (void)tr_buf_printf(&json, "{}");
        for (int i = 1; i < depth; i++)
            (void)tr_buf_printf(&json, "}");
        assert_int_equal(convert("j2p.Author", tr_buf_span(&json), &out),
                         depth <= 100 ? TR_OK : TR_ERR_JSON_DEPTH);
        tr_buf_fini(&json);
        tr_buf_fini(&out);
    }
}

/* Many members in the wrong order and many messages of a type with more fields than the frame has
 * bits for. */
static void json2pb_bounds_memory_of_many_wide_messages(void **state)
{
    (void)state;
    struct tr_buf json, out;
    struct tr_arena arena;
    struct tr_status st;
    struct tr_json2pb_opts opts = {.pool = j2p_pool()};
    tr_buf_init(&json);
    tr_buf_init(&out);
    tr_arena_init(&arena, NULL);
    (void)tr_buf_printf(&json, "{\"mBook\":{\"");
    for (int i = 0; i < 2000; i++)
        (void)tr_buf_printf(&json,
                            "%d\":{\"name\":\"n\",\"authors\":[{\"name\":\"a\"}],\"paper\":\"\"}%s",
                            i, i < 1999 ? ",\"" : "}}");
    assert_int_equal(tr_json2pb(j2p_type("j2p.All"), &opts, tr_buf_span(&json), &out, &arena, &st),
                     TR_OK);
    assert_true(arena.used_bytes < 8192);
    tr_buf_clear(&json);
    tr_buf_clear(&out);
    tr_arena_reset(&arena);
    (void)tr_buf_printf(&json,
                        "{\"f70\":1,\"next\":{\"f140\":1,\"f139\":2,\"b\":1},\"f71\":1,\"a\":3}");
    assert_int_equal(
        tr_json2pb(j2p_type("j2p2.Wide"), &opts, tr_buf_span(&json), &out, &arena, &st), TR_OK);
    tr_arena_fini(&arena);
    tr_buf_fini(&json);
    tr_buf_fini(&out);
}

/* A long Any whose type comes last, with Anys inside whose types come last: each byte is held once.
 */
static void json2pb_holds_a_late_any_once(void **state)
{
    (void)state;
    struct tr_buf json, out;
    struct tr_arena arena;
    struct tr_status st;
    struct tr_json2pb_opts opts = {.pool = j2p_pool()};
    tr_buf_init(&json);
    tr_buf_init(&out);
    tr_arena_init(&arena, NULL);
    for (int i = 0; i < 48; i++)
        (void)tr_buf_printf(&json, "{\"any\":");
    (void)tr_buf_printf(&json, "{\"name\":\"");
    for (int i = 0; i < 100000; i++)
        assert_int_equal(tr_buf_push(&json, 'x'), TR_OK);
    (void)tr_buf_printf(&json, "\",\"@type\":\"t/j2p.Author\"}");
    for (int i = 0; i < 47; i++)
        (void)tr_buf_printf(&json, ",\"@type\":\"t/j2p.All\"}");
    (void)tr_buf_printf(&json, "}");
    assert_int_equal(tr_json2pb(j2p_type("j2p.All"), &opts, tr_buf_span(&json), &out, &arena, &st),
                     TR_OK);
    assert_true(arena.used_bytes < 4 * json.len);
    tr_arena_reset(&arena);
    opts.max_bytes = 20000;
    tr_buf_clear(&out);
    assert_int_equal(tr_json2pb(j2p_type("j2p.All"), &opts, tr_buf_span(&json), &out, &arena, &st),
                     TR_ERR_BODY_TOO_LARGE);
    tr_arena_fini(&arena);
    tr_buf_fini(&json);
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json2pb_every_case_whole_cut_and_out_of_memory),
        cmocka_unit_test(json2pb_leaves_what_stands_before_alone),
        cmocka_unit_test(json2pb_widens_lengths_of_every_size),
        cmocka_unit_test(json2pb_takes_one_value_of_many),
        cmocka_unit_test(json2pb_refuses_output_that_was_moved_meanwhile),
        cmocka_unit_test(json2pb_refuses_more_than_one_value),
        cmocka_unit_test(json2pb_nests_to_the_depth_of_the_scanner),
        cmocka_unit_test(json2pb_bounds_memory_of_many_wide_messages),
        cmocka_unit_test(json2pb_holds_a_late_any_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
