#include "filters/apikey.h"

#include "base/arena.h"
#include "test.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* SHA-256 of "one" and of "two". */
#define ONE "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
#define TWO "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"

static struct tr_apikey_set *parse(const char *json)
{
    struct tr_apikey_set *set = NULL;
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_apikey_parse(tr_span_cstr(json), &set, &st);
    assert_int_equal(err, TR_OK);
    return set;
}

static void a_key_is_found_by_its_digest(void **state)
{
    (void)state;
    struct tr_apikey_set *set =
        parse("{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\"}, {\"sha256\": \"" TWO
              "\", \"consumer\": \"b\", \"tier\": \"gold\", \"scopes\": [\"r\", \"w\"]}]}");
    struct tr_credential c;
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    assert_int_equal(tr_apikey_count(set), 2);
    const struct tr_apikey *key = tr_apikey_find(set, TR_SPAN("two"));
    assert_non_null(key);
    assert_null(tr_apikey_find(set, TR_SPAN("three")));
    assert_null(tr_apikey_find(set, TR_SPAN("")));
    assert_null(tr_apikey_find(NULL, TR_SPAN("one")));
    assert_true(tr_apikey_credential(key, &arena, &c));
    tr_apikey_unref(set); /* the credential has its own words */
    assert_true(tr_span_eq(c.consumer, TR_SPAN("b")) && tr_span_eq(c.tier, TR_SPAN("gold")));
    assert_int_equal(c.scope_count, 2);
    assert_true(tr_span_eq(c.scopes[1], TR_SPAN("w")));
    tr_arena_fini(&arena);
}

static void a_key_that_is_too_long_is_nobodys(void **state)
{
    (void)state;
    static char text[TR_APIKEY_TEXT_MAX + 1];
    struct tr_apikey_set *set =
        parse("{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\"}]}");
    memset(text, 'x', sizeof text);
    assert_null(tr_apikey_find(set, tr_span(text, sizeof text)));
    tr_apikey_unref(set);
}

static void a_file_with_a_mistake_is_refused_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"keys\": {}}",
        "{\"keys\": [], \"more\": 1}",
        "{\"keys\": [1]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\"}]}",
        "{\"keys\": [{\"consumer\": \"a\"}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"\"}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a b\"}]}",
        "{\"keys\": [{\"sha256\": \"abc\", \"consumer\": \"a\"}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\", \"key\": \"one\"}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\", \"tier\": 1}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\", \"tier\": \"\"}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\", \"scopes\": \"r\"}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\", \"scopes\": [1]}]}",
        "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\"}, {\"sha256\": \"" ONE
        "\", \"consumer\": \"b\"}]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_apikey_set *set = NULL;
        struct tr_status st;
        tr_status_clear(&st);
        assert_int_equal(tr_apikey_parse(tr_span_cstr(bad[i]), &set, &st), TR_ERR_CONFIG);
        assert_null(set);
        assert_true(tr_status_text(&st).len > 0);
    }
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    const char *json = "{\"keys\": [{\"sha256\": \"" ONE
                       "\", \"consumer\": \"a\", \"tier\": \"t\", \"scopes\": [\"r\"]}]}";
    enum tr_err err = TR_ERR_NOMEM;
    uint64_t n = 0;
    while (err) {
        struct tr_apikey_set *set = NULL;
        struct tr_status st;
        tr_status_clear(&st);
        assert_true(++n < 100);
        tr_alloc_fail_after(n);
        err = tr_apikey_parse(tr_span_cstr(json), &set, &st);
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK ? set != NULL : err == TR_ERR_NOMEM || err == TR_ERR_CONFIG);
        assert_true(err == TR_OK || set == NULL);
        tr_apikey_unref(set);
    }
    assert_true(n > 2);
}

/* ---- the file changes ------------------------------------------------------------------------ */

static void put(const char *path, const char *text)
{
    char beside[128];
    (void)snprintf(beside, sizeof beside, "%s.new", path);
    FILE *f = fopen(beside, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(beside, path), 0);
}

static bool knows(const struct tr_apikey_view *v, const char *key)
{
    return tr_apikey_find(v->set, tr_span_cstr(key)) != NULL;
}

static void a_new_file_reaches_the_workers_and_a_bad_one_does_not(void **state)
{
    (void)state;
    char dir[] = "/tmp/transom-apikey-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/keys.json", dir);
    put(path, "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\"}]}");
    struct tr_loop *loop;
    struct tr_mailbox *box;
    assert_int_equal(tr_loop_new(&loop), TR_OK);
    assert_int_equal(tr_mailbox_new(loop, NULL, &box), TR_OK);
    struct tr_control control = {.loop = loop, .worker_count = 1};
    struct tr_cfg_api_keys cfg = {.file = tr_span_cstr(path), .reload_interval = 1000000};
    struct tr_apikey_store *store;
    struct tr_apikey_view view;
    struct tr_status st;
    tr_status_clear(&st);
    assert_int_equal(tr_apikey_store_new(&control, &cfg, &store, &st), TR_OK);
    assert_int_equal(tr_apikey_view_init(&view, store, box), TR_OK);
    assert_true(knows(&view, "one"));
    put(path, "{\"keys\": [{\"sha256\": \"" TWO "\", \"consumer\": \"b\"}]}");
    for (int i = 0; i < 5000 && !knows(&view, "two"); i++)
        tr_loop_turn(loop, true);
    assert_true(knows(&view, "two") && !knows(&view, "one"));
    put(path, "{\"keys\": [");
    for (int i = 0; i < 20; i++)
        tr_loop_turn(loop, true);
    assert_true(knows(&view, "two"));
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 20; i++)
        tr_loop_turn(loop, true);
    assert_true(knows(&view, "two"));
    put(path, "{\"keys\": [{\"sha256\": \"" ONE "\", \"consumer\": \"a\"}]}");
    for (int i = 0; i < 5000 && !knows(&view, "one"); i++)
        tr_loop_turn(loop, true);
    assert_true(knows(&view, "one"));
    uint64_t ok, failed;
    tr_apikey_store_reads(store, &ok, &failed);
    assert_int_equal(ok, 2);
    assert_int_equal(failed, 2); /* one that is no JSON, one that is gone: each once */
    assert_int_equal(unlink(path), 0);
    tr_apikey_store_free(store);
    tr_mailbox_free(box);
    tr_apikey_view_fini(&view);
    tr_loop_free(loop);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_by_its_digest),
        cmocka_unit_test(a_key_that_is_too_long_is_nobodys),
        cmocka_unit_test(a_file_with_a_mistake_is_refused_whole),
        cmocka_unit_test(without_memory_nothing_is_left),
        cmocka_unit_test(a_new_file_reaches_the_workers_and_a_bad_one_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
