#include "io/kv_redis.h"
#include "io/listener.h"
#include "test.h"

static void good(const char *text, const char *host, unsigned port, unsigned db, const char *user,
                 const char *password)
{
    struct tr_kv_redis_url url;
    struct tr_status st;
    tr_status_clear(&st);
    assert_int_equal(tr_kv_redis_parse(tr_span_cstr(text), &url, &st), TR_OK);
    assert_string_equal(url.host, host);
    assert_int_equal(url.port, port);
    assert_int_equal(url.db, db);
    assert_span_equal(tr_span(url.user, url.user_len), user);
    assert_span_equal(tr_span(url.password, url.password_len), password);
}

static void urls_say_where_the_store_is(void **state)
{
    (void)state;
    good("redis://127.0.0.1:6380/7", "127.0.0.1", 6380, 7, "", "");
    good("redis://cache.internal", "cache.internal", 6379, 0, "", "");
    good("redis://cache.internal/", "cache.internal", 6379, 0, "", "");
    good("redis://[::1]:6380/2", "::1", 6380, 2, "", "");
    good("redis://[::1]", "::1", 6379, 0, "", "");
    good("redis://:secret@h:1/0", "h", 1, 0, "", "secret");
    good("redis://gw:p%40ss%2Fword@h", "h", 6379, 0, "gw", "p@ss/word");
    good("redis://gw:a@b@h", "h", 6379, 0, "gw", "a@b");
    good("redis://gw:a:b@h", "h", 6379, 0, "gw", "a:b");
    good("unix:/run/redis.sock", "unix:/run/redis.sock", 0, 0, "", "");
    good("unix:///run/redis.sock?db=3", "unix:/run/redis.sock", 0, 3, "", "");
    good("unix://:pw@/run/redis.sock", "unix:/run/redis.sock", 0, 0, "", "pw");
    good("redis+unix:///run/redis.sock", "unix:/run/redis.sock", 0, 0, "", "");
}

static void addresses_need_no_look_up(void **state)
{
    (void)state;
    static const struct {
        const char *url, *addr;
    } cases[] = {{"redis://127.0.0.1:6380", "127.0.0.1:6380"},
                 {"redis://[::1]:6380", "[::1]:6380"},
                 {"unix:/x", "unix:/x"},
                 {"redis://localhost:1", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_kv_redis_url url;
        char text[TR_ADDR_TEXT_MAX];
        assert_int_equal(tr_kv_redis_parse(tr_span_cstr(cases[i].url), &url, NULL), TR_OK);
        assert_span_equal(tr_addr_text(&url.addr, text), cases[i].addr);
    }
}

static void mistakes_are_told_without_the_secret(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "redis:",
        "redis://",
        "http://hunter2@h",
        "hunter2",
        "redis://hunter2@h",
        "redis://:@h",
        "redis://u:hunter2%4@h",
        "redis://u:hunter2%zz@h",
        "redis://u:hunter2%@h",
        "redis://u:hunter2@",
        "redis://u:hunter2@h:0",
        "redis://u:hunter2@h:65536",
        "redis://u:hunter2@h:port",
        "redis://u:hunter2@h:1/x",
        "redis://u:hunter2@h:1/1/1",
        "redis://u:hunter2@h:1/9999999",
        "redis://u:hunter2@[::1",
        "redis://u:hunter2@[::1]6379",
        "redis://u:hunter2@[name]:1",
        "redis://u:hunter2@a b",
        "redis://u:hunter2@h?db=2",
        "redis://u:hunter2@h#2",
        "redis://u:hunter2@h,i:1",
        "redis://u:hunter2@h\xc3\xa9",
        "unix:",
        "unix://u:hunter2@/x?database=1",
        "unix://u:hunter2@/x?db=",
        "unix:/"
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
        "567890123456789012345678901234567890123456789",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_kv_redis_url url;
        struct tr_status st;
        tr_status_clear(&st);
        memset(&url, 0x5a, sizeof url);
        assert_int_equal(tr_kv_redis_parse(tr_span_cstr(bad[i]), &url, &st), TR_ERR_CONFIG);
        assert_int_equal(url.host[0], 0x5a);
        assert_true(st.text_len > 0);
        assert_null(memmem(st.text, st.text_len, "hunter2", 7));
    }
}

static void tls_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_status st;
    tr_status_clear(&st);
    assert_int_equal(tr_kv_redis_parse(TR_SPAN("rediss://h:1"), &url, &st), TR_ERR_CONFIG);
    assert_non_null(memmem(st.text, st.text_len, "no TLS", 6));
    assert_non_null(memmem(st.text, st.text_len, "stunnel", 7));
}

static void long_users_and_passwords_do_not_overflow(void **state)
{
    (void)state;
    char text[800];
    struct tr_kv_redis_url url;
    memset(text, 'p', sizeof text);
    memcpy(text, "redis://:", 9);
    for (size_t len = 510; len <= 514; len++) {
        memcpy(text + 9 + len, "@h", 2);
        enum tr_err err = tr_kv_redis_parse(tr_span(text, 9 + len + 2), &url, NULL);
        assert_int_equal(err, len <= 512 ? TR_OK : TR_ERR_CONFIG);
        memset(text + 9 + len, 'p', 2);
    }
    memset(text, 'u', sizeof text);
    memcpy(text, "redis://", 8);
    for (size_t len = 126; len <= 130; len++) {
        memcpy(text + 8 + len, ":p@h", 4);
        enum tr_err err = tr_kv_redis_parse(tr_span(text, 8 + len + 4), &url, NULL);
        assert_int_equal(err, len <= 128 ? TR_OK : TR_ERR_CONFIG);
        memset(text + 8 + len, 'u', 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_say_where_the_store_is),
        cmocka_unit_test(addresses_need_no_look_up),
        cmocka_unit_test(mistakes_are_told_without_the_secret),
        cmocka_unit_test(tls_is_refused_with_the_reason),
        cmocka_unit_test(long_users_and_passwords_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
