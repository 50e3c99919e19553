#include "transcode/fields.h"

#include "pool.h"
#include "test.h"

static struct tr_typepool *pool;

struct rig {
    struct tr_arena arena;
    struct tr_status st;
    const struct tr_msgtype *type;
    const struct tr_field_tree *tree;
};

static void rig_init(struct rig *r, const char *type)
{
    memset(r, 0, sizeof *r);
    tr_arena_init(&r->arena, NULL);
    r->type = tr_typepool_find(pool, tr_span_cstr(type));
    assert_non_null(r->type);
}

static enum tr_err compile(struct rig *r, const char *text)
{
    tr_status_clear(&r->st);
    return tr_field_tree_compile(&r->arena, r->type, NULL, tr_span_cstr(text), &r->tree, &r->st);
}

/* The tree kept for a field, with *ret_has whether it is kept at all. */
static const struct tr_field_tree *sub_of(const struct tr_field_tree *tree, const char *name,
                                          bool *ret_has)
{
    const struct tr_field *fd = tr_msgtype_field_by_name(tree->type, tr_span_cstr(name));
    assert_non_null(fd);
    uint32_t slot = tr_field_slot(tree->type, fd);
    *ret_has = tr_field_tree_has(tree, slot);
    return tree->sub ? tree->sub[slot] : NULL;
}

static bool whole(const struct tr_field_tree *tree, const char *name)
{
    bool has;
    return !sub_of(tree, name, &has) && has;
}

static bool absent(const struct tr_field_tree *tree, const char *name)
{
    bool has;
    (void)sub_of(tree, name, &has);
    return !has;
}

static const struct tr_field_tree *part(const struct tr_field_tree *tree, const char *name)
{
    bool has;
    const struct tr_field_tree *sub = sub_of(tree, name, &has);
    assert_true(has);
    assert_non_null(sub);
    return sub;
}

static void names_select_fields(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    assert_int_equal(compile(&r, "fInt32, r_string ,child"), TR_OK);
    assert_true(whole(r.tree, "fInt32"));
    assert_true(whole(r.tree, "rString"));
    assert_true(whole(r.tree, "child"));
    assert_true(absent(r.tree, "fInt64"));
    tr_arena_fini(&r.arena);
}

static void slashes_dots_and_parentheses_descend(void **state)
{
    (void)state;
    static const char *const same[] = {"child/child/fInt32,child/child/fBool",
                                       "child.child(fInt32,fBool)", "child(child(fInt32,fBool))",
                                       "child(child/fInt32,child.fBool)",
                                       " child ( child ( fInt32 , fBool ) ) "};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        struct rig r;
        rig_init(&r, "shapes.All");
        assert_int_equal(compile(&r, same[i]), TR_OK);
        const struct tr_field_tree *inner = part(part(r.tree, "child"), "child");
        assert_true(whole(inner, "fInt32"));
        assert_true(whole(inner, "fBool"));
        assert_true(absent(inner, "child"));
        assert_true(absent(r.tree, "fInt32"));
        tr_arena_fini(&r.arena);
    }
}

static void after_a_parenthesis_names_belong_to_the_level_outside(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    assert_int_equal(compile(&r, "child(child/child(fBool),fInt32),rAll/fInt64,fString"), TR_OK);
    assert_true(whole(part(part(part(r.tree, "child"), "child"), "child"), "fBool"));
    assert_true(whole(part(r.tree, "child"), "fInt32"));
    assert_true(whole(part(r.tree, "rAll"), "fInt64"));
    assert_true(whole(r.tree, "fString"));
    tr_arena_fini(&r.arena);
}

static void whole_wins_over_part_in_either_order(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    assert_int_equal(compile(&r, "child,child/fInt32"), TR_OK);
    assert_true(whole(r.tree, "child"));
    assert_int_equal(compile(&r, "child/fInt32,child"), TR_OK);
    assert_true(whole(r.tree, "child"));
    tr_arena_fini(&r.arena);
}

static void star_stands_for_every_field(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    r.tree = (const struct tr_field_tree *)&r;
    assert_int_equal(compile(&r, "*"), TR_OK);
    assert_null(r.tree);
    assert_int_equal(compile(&r, "*,fInt32"), TR_OK);
    assert_true(whole(r.tree, "child"));
    /* below: message fields that have one of the names */
    assert_int_equal(compile(&r, "*/fInt32"), TR_OK);
    assert_true(whole(part(r.tree, "child"), "fInt32"));
    assert_true(whole(part(r.tree, "rAll"), "fInt32"));
    assert_true(absent(r.tree, "fInt32"));
    assert_true(absent(r.tree, "time"));
    assert_true(absent(r.tree, "empty"));
    assert_int_equal(compile(&r, "child/*"), TR_OK);
    assert_true(whole(part(r.tree, "child"), "fInt32"));
    tr_arena_fini(&r.arena);
}

static void below_a_map_names_are_keys(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    const struct tr_field_tree *map, *sub;
    assert_int_equal(compile(&r, "mString(a,b),mBool/true/fInt32,mBool/*/fBool"), TR_OK);
    map = part(r.tree, "mString");
    assert_true(map->is_map);
    assert_true(tr_field_tree_key(map, TR_SPAN("a"), &sub));
    assert_null(sub);
    assert_false(tr_field_tree_key(map, TR_SPAN("c"), &sub));
    map = part(r.tree, "mBool");
    assert_true(tr_field_tree_key(map, TR_SPAN("true"), &sub));
    assert_true(whole(sub, "fInt32"));
    assert_true(whole(sub, "fBool")); /* the star holds for it too */
    assert_true(tr_field_tree_key(map, TR_SPAN("false"), &sub));
    assert_true(whole(sub, "fBool"));
    assert_true(absent(sub, "fInt32"));
    assert_int_equal(compile(&r, "mBool/*,mBool/true/fInt32"), TR_OK);
    assert_true(tr_field_tree_key(part(r.tree, "mBool"), TR_SPAN("true"), &sub));
    assert_null(sub);
    assert_int_equal(compile(&r, "struct/a/b"), TR_OK);
    assert_true(tr_field_tree_key(part(r.tree, "struct"), TR_SPAN("a"), &sub));
    assert_non_null(sub);
    assert_true(tr_field_tree_key(sub, TR_SPAN("b"), &sub));
    assert_null(sub);
    tr_arena_fini(&r.arena);
}

static void extensions_are_named_in_brackets(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.old.Old");
    assert_int_equal(compile(&r, "id,[shapes.old.ext_old]/[shapes.old.ext_int]"), TR_OK);
    assert_true(whole(r.tree, "id"));
    assert_true(whole(part(r.tree, "[shapes.old.ext_old]"), "[shapes.old.ext_int]"));
    assert_true(absent(r.tree, "[shapes.old.ext_int]"));
    tr_arena_fini(&r.arena);
}

static void a_response_body_is_the_root(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    const struct tr_field *list = tr_msgtype_field_by_name(r.type, TR_SPAN("rAll"));
    const struct tr_field *map = tr_msgtype_field_by_name(r.type, TR_SPAN("mString"));
    const struct tr_field *scalar = tr_msgtype_field_by_name(r.type, TR_SPAN("fInt32"));
    assert_int_equal(
        tr_field_tree_compile(&r.arena, r.type, list, TR_SPAN("fInt32"), &r.tree, &r.st), TR_OK);
    assert_true(whole(r.tree, "fInt32"));
    assert_int_equal(tr_field_tree_compile(&r.arena, r.type, map, TR_SPAN("key"), &r.tree, &r.st),
                     TR_OK);
    assert_true(r.tree->is_map);
    assert_int_equal(tr_field_tree_compile(&r.arena, r.type, scalar, TR_SPAN("x"), &r.tree, &r.st),
                     TR_ERR_SYSTEM_PARAMETER);
    assert_int_equal(tr_field_tree_compile(&r.arena, r.type, scalar, TR_SPAN("*"), &r.tree, &r.st),
                     TR_OK);
    tr_arena_fini(&r.arena);
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ",",
        "fInt32,",
        ",fInt32",
        "fInt32,,fBool",
        "child/",
        "child()",
        "child(",
        "child(fBool",
        "child)",
        "child(fBool))",
        "child(fBool)/fInt32",
        "child(fBool)fInt32",
        "(fBool)",
        "/child",
        "fInt32 fBool",
        "nothing",
        "child/nothing",
        "fInt32/x",
        "time/seconds",
        "any/x",
        "wInt64/value",
        "mString/a/b",
        "[unclosed",
        "[no.such]",
        "rAll/",
        "child(,fBool)",
        "child[0]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rig r;
        rig_init(&r, "shapes.All");
        const struct tr_field_tree *before = r.tree;
        if (compile(&r, bad[i]) != TR_ERR_SYSTEM_PARAMETER)
            fail_msg("accepted: %s", bad[i]);
        assert_ptr_equal(r.tree, before);
        assert_span_equal(tr_span(r.st.field, r.st.field_len), "$fields");
        assert_true(r.st.text_len > 0);
        tr_arena_fini(&r.arena);
    }
}

static void depth_and_size_are_bounded(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, "shapes.All");
    char text[8192];
    size_t n = 0;
    for (int i = 0; i < 33; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%schild", i ? "/" : "");
    assert_int_equal(compile(&r, text), TR_ERR_SYSTEM_PARAMETER);
    text[n - 6] = '\0';
    assert_int_equal(compile(&r, text), TR_OK);
    /* each star multiplies by the message fields of the type */
    assert_int_equal(compile(&r, "*/*/*/*/*/*/*/*/*/*/*/fInt32"), TR_ERR_SYSTEM_PARAMETER);
    assert_true(r.arena.used_bytes < 4 * TR_FIELDS_BYTES_MAX);
    n = 0;
    for (int i = 0; i < 1100; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "fInt32,");
    text[n - 1] = '\0';
    assert_int_equal(compile(&r, text), TR_ERR_SYSTEM_PARAMETER);
    tr_arena_fini(&r.arena);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    enum tr_err err = TR_ERR_NOMEM;
    unsigned n = 0;
    while (err == TR_ERR_NOMEM) {
        struct rig r;
        rig_init(&r, "shapes.All");
        tr_alloc_fail_after(++n);
        err = compile(
            &r,
            "*/fInt32,*/*/fBool,child(child(child(fInt32))),mString(a,b,c,d,e,f,g),mBool/*/fBool");
        tr_alloc_fail_after(0);
        tr_arena_fini(&r.arena);
    }
    assert_int_equal(err, TR_OK);
    assert_true(n > 2);
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
        cmocka_unit_test(names_select_fields),
        cmocka_unit_test(slashes_dots_and_parentheses_descend),
        cmocka_unit_test(after_a_parenthesis_names_belong_to_the_level_outside),
        cmocka_unit_test(whole_wins_over_part_in_either_order),
        cmocka_unit_test(star_stands_for_every_field),
        cmocka_unit_test(below_a_map_names_are_keys),
        cmocka_unit_test(extensions_are_named_in_brackets),
        cmocka_unit_test(a_response_body_is_the_root),
        cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(depth_and_size_are_bounded),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
