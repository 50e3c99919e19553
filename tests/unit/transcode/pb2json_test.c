#include "transcode/pb2json.h"

#include "pool.h"
#include "test.h"
#include "transcode/fields.h"
#include "wire_text.h"

#include <dirent.h>
#include <stdio.h>

static struct tr_typepool *pool;

struct rig {
    struct tr_arena arena;
    struct tr_buf wire, out;
    struct tr_status st;
    struct tr_pb2json_opts opts;
    uint64_t bad_utf8;
};

static void rig_init(struct rig *r)
{
    memset(r, 0, sizeof *r);
    tr_arena_init(&r->arena, NULL);
    r->opts.pool = pool;
    r->opts.bad_utf8 = &r->bad_utf8;
}

static void rig_fini(struct rig *r)
{
    tr_buf_fini(&r->wire);
    tr_buf_fini(&r->out);
    tr_arena_fini(&r->arena);
}

static const struct tr_msgtype *type_of(const char *name)
{
    const struct tr_msgtype *t = tr_typepool_find(pool, tr_span_cstr(name));
    assert_non_null(t);
    return t;
}

static enum tr_err print(struct rig *r, const char *type)
{
    return tr_pb2json(type_of(type), tr_buf_span(&r->wire), &r->opts, &r->out, &r->arena, &r->st);
}

static void expect(const char *type, const char *wire, const char *json)
{
    struct rig r;
    rig_init(&r);
    wire_text(&r.wire, tr_span_cstr(wire));
    enum tr_err err = print(&r, type);
    assert_int_equal(err, TR_OK);
    assert_span_equal(tr_buf_span(&r.out), json);
    rig_fini(&r);
}

/* -- case folders: tests/cases/pb2json/NAME/{case, in.wire, want.json | want.err}
 * ------------------------- */

struct setup {
    char type[128];
    char field[64];
    char fields[256];
};

static void read_setup(struct rig *r, struct setup *s, struct tr_span text)
{
    while (text.ptr) {
        struct tr_span line = tr_span_trim(tr_span_cut(&text, '\n'));
        struct tr_span word = tr_span_cut(&line, ' ');
        char *to = NULL;
        size_t cap = 0;
        if (tr_span_eq(word, TR_SPAN("type"))) {
            to = s->type;
            cap = sizeof s->type;
        } else if (tr_span_eq(word, TR_SPAN("field"))) {
            to = s->field;
            cap = sizeof s->field;
        } else if (tr_span_eq(word, TR_SPAN("fields"))) {
            to = s->fields;
            cap = sizeof s->fields;
        } else if (tr_span_eq(word, TR_SPAN("emit_defaults"))) {
            r->opts.emit_defaults = true;
        } else if (tr_span_eq(word, TR_SPAN("proto_names"))) {
            r->opts.proto_names = true;
        } else if (tr_span_eq(word, TR_SPAN("enums_as_numbers"))) {
            r->opts.enums_as_numbers = true;
        } else if (tr_span_eq(word, TR_SPAN("pretty"))) {
            r->opts.pretty = true;
        } else if (tr_span_eq(word, TR_SPAN("unknown_any_as_base64"))) {
            r->opts.unknown_any_as_base64 = true;
        } else if (word.len) {
            fail_msg("unknown word in case: %.*s", (int)word.len, word.ptr);
        }
        if (to) {
            assert_true(line.len < cap);
            memcpy(to, line.ptr, line.len);
            to[line.len] = '\0';
        }
    }
}

static bool read_part(const char *dir, const char *name, struct tr_buf *out)
{
    char path[512];
    (void)snprintf(path, sizeof path, "tests/cases/pb2json/%s/%s", dir, name);
    tr_buf_clear(out);
    return read_file(path, out);
}

static void run_case(const char *dir)
{
    struct rig r;
    struct setup s = {0};
    struct tr_buf text, want;
    tr_buf_init(&text);
    tr_buf_init(&want);
    rig_init(&r);
    assert_true(read_part(dir, "case", &text));
    read_setup(&r, &s, tr_buf_span(&text));
    assert_true(read_part(dir, "in.wire", &text));
    wire_text(&r.wire, tr_buf_span(&text));
    const struct tr_msgtype *type = type_of(s.type);
    const struct tr_field *field = NULL;
    if (s.field[0]) {
        field = tr_msgtype_field_by_name(type, tr_span_cstr(s.field));
        assert_non_null(field);
    }
    if (s.fields[0]) {
        enum tr_err err = tr_field_tree_compile(&r.arena, type, field, tr_span_cstr(s.fields),
                                                &r.opts.fields, &r.st);
        assert_int_equal(err, TR_OK);
    }
    enum tr_err err = field ? tr_pb2json_field(type, field, tr_buf_span(&r.wire), &r.opts, &r.out,
                                               &r.arena, &r.st)
                            : print(&r, s.type);
    struct tr_span got = tr_buf_span(&r.out);
    if (read_part(dir, "want.json", &want)) {
        if (err)
            fail_msg("%s: %s: %.*s", dir, tr_err_info(err)->name, r.st.text_len, r.st.text);
    } else {
        assert_true(read_part(dir, "want.err", &want));
        assert_int_equal(got.len, 0);
        got = tr_span_cstr(tr_err_info(err)->name);
    }
    struct tr_span wanted = tr_span_trim(tr_buf_span(&want));
    while (wanted.len && wanted.ptr[wanted.len - 1] == '\n')
        wanted.len--;
    if (!tr_span_eq(got, wanted))
        fail_msg("%s:\n got %.*s\nwant %.*s", dir, (int)got.len, got.ptr, (int)wanted.len,
                 wanted.ptr);
    tr_buf_fini(&text);
    tr_buf_fini(&want);
    rig_fini(&r);
}

static void every_case_folder_prints_what_it_wants(void **state)
{
    (void)state;
    DIR *d = opendir("tests/cases/pb2json");
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        run_case(e->d_name);
        n++;
    }
    (void)closedir(d);
    assert_true(n >= 40);
}

/* -- properties
 * ------------------------------------------------------------------------------------------- */

/* A message that uses most of what there is, grouped. */
static const char big[] =
    "09 000000000000f83f 15 0000c03f 18 ffffffffffffffffff01 20 ffffffffffffffffff01 28 "
    "feffffffffffffffff01 31 0100000000000000 3d 01000000 40 01 4a {\"h\\i\" 0a} 52 {ff00fe} 60 02 "
    "8a01 {28 05 8a01 {48 00 4a {\"x\"}}} a201 {01 02 03} aa01 {\"a\"} aa01 {\"b\"} b201 {28 01} "
    "b201 {} "
    "f201 {0a {\"k\"} 10 07} f201 {0a {\"l\"} 10 08} 8202 {08 01 12 {28 02}} 9203 {08 01} "
    "9a03 {08 01 10 80cab5ee01} a203 {0a {\"a_b\"} 0a {\"c\"}} aa03 {0a {0a {\"x\"} 12 {32 {0a {20 "
    "01}}}}} "
    "c203 { 0a {\"type.googleapis.com/shapes.All\"} 12 {28 09} } d203 {08 05}";

static void errors_leave_the_output_as_it_was(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.wire, tr_span_cstr(big));
    assert_int_equal(tr_buf_append(&r.out, TR_SPAN("before")), TR_OK);
    unsigned malformed = 0;
    for (size_t cut = 0; cut < r.wire.len; cut++) {
        /* a copy of exactly that size, so that a read past it is found */
        char *exact = tr_malloc(cut ? cut : 1);
        memcpy(exact, r.wire.ptr, cut);
        enum tr_err err = tr_pb2json(type_of("shapes.All"), tr_span(exact, cut), &r.opts, &r.out,
                                     &r.arena, &r.st);
        if (err) {
            assert_int_equal(err, TR_ERR_PROTO_MALFORMED);
            assert_span_equal(tr_buf_span(&r.out), "before");
            malformed++;
        }
        r.out.len = 6;
        tr_free(exact);
    }
    assert_true(malformed > r.wire.len / 2);
    rig_fini(&r);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.wire, tr_span_cstr(big));
    wire_text(&r.wire, TR_SPAN("a201 {05} *40{ aa01 {\"c\"} a001 06 }")); /* and the index pass */
    enum tr_err err = TR_ERR_NOMEM;
    unsigned n = 0;
    while (err == TR_ERR_NOMEM) {
        tr_arena_reset(&r.arena);
        tr_buf_fini(&r.out);
        tr_alloc_fail_after(++n);
        err = print(&r, "shapes.All");
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK || r.out.len == 0);
    }
    assert_int_equal(err, TR_OK);
    assert_true(n > 3);
    rig_fini(&r);
}

static void interleaved_fields_print_as_grouped_ones(void **state)
{
    (void)state;
    static const char *const records[] = {
        "a001 01",
        "a001 02",
        "a201 {03 04}",
        "aa01 {\"a\"}",
        "aa01 {\"b\"}",
        "aa01 {\"c\"}",
        "b201 {28 01}",
        "b201 {4a {\"x\"} 28 02}",
        "b201 {}",
        "f201 {0a {\"k\"} 10 01}",
        "f201 {0a {\"l\"} 10 02}",
        "f201 {0a {\"m\"} 10 03}",
        "9a04 {28 01}",
    };
    static const uint8_t group[] = {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4};
    enum { N = sizeof records / sizeof *records };
    uint64_t seed = tr_test_seed();
    for (int round = 0; round < 300; round++) {
        struct rig grouped, mixed;
        rig_init(&grouped);
        rig_init(&mixed);
        for (int i = 0; i < N - 1; i++)
            wire_text(&grouped.wire, tr_span_cstr(records[i]));
        /* pick a group at random, take its next record */
        uint8_t taken[N] = {0};
        for (int left = N - 1; left;) {
            uint8_t g = (uint8_t)(tr_test_rand(&seed) % 4);
            for (int i = 0; i < N - 1; i++) {
                if (group[i] == g && !taken[i]) {
                    taken[i] = 1;
                    left--;
                    wire_text(&mixed.wire, tr_span_cstr(records[i]));
                    break;
                }
            }
        }
        /* comes back after another field whatever the order: the index pass sorts */
        wire_text(&grouped.wire, TR_SPAN("8a01 {28 01} 9001 01"));
        wire_text(&mixed.wire, TR_SPAN("9001 02 8a01 {28 01} 9001 01"));
        grouped.opts.max_bytes = mixed.opts.max_bytes = 4096;
        wire_text(&grouped.wire, TR_SPAN("8a01 {}"));
        assert_int_equal(print(&grouped, "shapes.All"), TR_OK);
        assert_int_equal(print(&mixed, "shapes.All"), TR_OK);
        assert_int_equal(grouped.out.len, mixed.out.len);
        assert_memory_equal(grouped.out.ptr, mixed.out.ptr, mixed.out.len);
        rig_fini(&grouped);
        rig_fini(&mixed);
    }
}

/* levels messages of All.child inside one another. */
static void nest(struct tr_buf *wire, int levels, struct tr_span tail)
{
    for (int i = 0; i < levels; i++) {
        struct tr_buf outer;
        tr_buf_init(&outer);
        wire_text(&outer, TR_SPAN("8a01"));
        size_t at = outer.len;
        assert_int_equal(tr_buf_append(&outer, tr_buf_span(wire)), TR_OK);
        wire_close(&outer, at);
        assert_int_equal(tr_buf_append(&outer, tail), TR_OK);
        tr_buf_fini(wire);
        *wire = outer;
    }
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    for (int levels = 99; levels <= 102; levels++) {
        struct rig r;
        rig_init(&r);
        nest(&r.wire, levels, tr_span("", 0));
        assert_int_equal(print(&r, "shapes.All"), levels <= 100 ? TR_OK : TR_ERR_PROTO_DEPTH);
        rig_fini(&r);
    }
}

/* Each level is printed twice by itself; without care that is 2^100. */
static void repeated_messages_in_repeated_messages_cost_no_more_than_their_depth(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    char tail[] = "\x28\x01\x28\x02"; /* f_int32 twice */
    nest(&r.wire, 99, tr_span(tail, 4));
    assert_int_equal(print(&r, "shapes.All"), TR_OK);
    assert_true(r.out.len > 99 * 20);
    rig_fini(&r);
}

/* Two halves of a child in each of the children: merging copies, and what it may copy is bounded.
 */
static void merging_is_bounded(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    for (int i = 0; i < 200000; i++)
        wire_text(&r.wire, TR_SPAN("a001 01"));
    char tail[] = "\x8a\x01\x02\x28\x01"; /* another half */
    nest(&r.wire, 90, tr_span(tail, 5));
    assert_int_equal(print(&r, "shapes.All"), TR_ERR_PROTO_UNPRINTABLE);
    rig_fini(&r);
}

static void max_bytes_bounds_the_output(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.wire, TR_SPAN("aa01 {\"0123456789\"} *100{ aa01 {\"0123456789\"} }"));
    r.opts.max_bytes = 1000;
    assert_int_equal(print(&r, "shapes.All"), TR_ERR_UPSTREAM_OVERSIZED);
    assert_int_equal(r.out.len, 0);
    r.opts.max_bytes = 2000;
    assert_int_equal(print(&r, "shapes.All"), TR_OK);
    tr_buf_clear(&r.wire);
    wire_text(&r.wire, TR_SPAN("a201 { *3000{ 01 } }"));
    tr_buf_clear(&r.out);
    assert_int_equal(print(&r, "shapes.All"), TR_ERR_UPSTREAM_OVERSIZED);
    rig_fini(&r);
}

static void errors_name_the_way_to_the_field(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.wire, TR_SPAN("8a01 { b201 { 28 } }"));
    assert_int_equal(print(&r, "shapes.All"), TR_ERR_PROTO_MALFORMED);
    assert_span_equal(tr_span(r.st.field, r.st.field_len), "child.r_all");
    rig_fini(&r);
}

static void ill_formed_strings_are_counted(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.wire, TR_SPAN("4a {\"a\" ff \"b\" c0}"));
    assert_int_equal(print(&r, "shapes.All"), TR_OK);
    assert_span_equal(tr_buf_span(&r.out), "{\"fString\":\"a\xEF\xBF\xBD"
                                           "b\xEF\xBF\xBD\"}");
    assert_int_equal(r.bad_utf8, 2);
    rig_fini(&r);
}

static void long_maps_are_printed_and_deduplicated(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    /* 2,000 keys of int64, then key 7 again: its last value stands */
    for (unsigned i = 0; i < 2000; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "fa01 { 08 %02x%02x 12 {\"v\"} }", (i & 127) | 128,
                       i >> 7);
        wire_text(&r.wire, tr_span_cstr(text));
    }
    assert_int_equal(print(&r, "shapes.All"), TR_OK);
    size_t without = r.out.len;
    wire_text(&r.wire, TR_SPAN("fa01 { 08 07 12 {\"last\"} }"));
    tr_buf_clear(&r.out);
    assert_int_equal(print(&r, "shapes.All"), TR_OK);
    assert_int_equal(r.out.len, without + 3);
    assert_memory_equal(tr_buf_end(&r.out) - 12, "\"7\":\"last\"}}", 12);
    rig_fini(&r);
}

static void the_request_path_does_not_allocate(void **state)
{
    (void)state;
#ifndef TR_ARENA_EMULATE
    struct rig r;
    rig_init(&r);
    struct tr_block_cache cache;
    tr_block_cache_init(&cache, 16);
    tr_arena_init(&r.arena, &cache);
    wire_text(&r.wire, tr_span_cstr(big));
    uint64_t calls = 0;
    for (int i = 0; i < 3; i++) {
        calls = tr_alloc_stats().calls;
        tr_buf_clear(&r.out);
        assert_int_equal(print(&r, "shapes.All"), TR_OK);
        calls = tr_alloc_stats().calls - calls;
        tr_arena_reset(&r.arena);
    }
    assert_int_equal(calls, 0);
    rig_fini(&r);
    tr_block_cache_fini(&cache);
#endif
}

static void scalars_print_as_protojson_says(void **state)
{
    (void)state;
    expect("shapes.All", "", "{}");
    expect(
        "shapes.All", big,
        "{\"fDouble\":1.5,\"fFloat\":1.5,\"fInt64\":\"-1\",\"fUint64\":\"18446744073709551615\","
        "\"fInt32\":-2,\"fFixed64\":\"1\",\"fFixed32\":1,\"fBool\":true,\"fString\":\"h\\\\i\\n\","
        "\"fBytes\":\"/"
        "wD+\",\"fColor\":\"GREEN\",\"child\":{\"fInt32\":5,\"child\":{\"fString\":\"x\"}},"
        "\"rInt32\":[1,2,3],\"rString\":[\"a\",\"b\"],\"rAll\":[{\"fInt32\":1},{}],"
        "\"mString\":{\"k\":7,\"l\":8},\"mBool\":{\"true\":{\"fInt32\":2}},"
        "\"time\":\"1970-01-01T00:00:01Z\",\"duration\":\"1.500s\",\"mask\":\"aB,c\","
        "\"struct\":{\"x\":[true]},\"any\":{\"@type\":\"type.googleapis.com/"
        "shapes.All\",\"fInt32\":9},"
        "\"wInt64\":\"5\"}");
}

static int load(void **state)
{
    (void)state;
    pool = pool_load(TR_TEST_SET);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    tr_typepool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_print_as_protojson_says),
        cmocka_unit_test(every_case_folder_prints_what_it_wants),
        cmocka_unit_test(errors_leave_the_output_as_it_was),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(interleaved_fields_print_as_grouped_ones),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(repeated_messages_in_repeated_messages_cost_no_more_than_their_depth),
        cmocka_unit_test(merging_is_bounded),
        cmocka_unit_test(max_bytes_bounds_the_output),
        cmocka_unit_test(errors_name_the_way_to_the_field),
        cmocka_unit_test(ill_formed_strings_are_counted),
        cmocka_unit_test(long_maps_are_printed_and_deduplicated),
        cmocka_unit_test(the_request_path_does_not_allocate),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
