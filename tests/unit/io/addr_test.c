#include "io/listener.h"
#include "test.h"

#include <netinet/in.h>
#include <stdio.h>

static void expect_round_trip(const char *text, const char *want, const char *host)
{
    struct tr_addr addr;
    struct tr_status st;
    char out[TR_ADDR_TEXT_MAX];
    tr_status_clear(&st);
    assert_int_equal(tr_addr_parse(tr_span_cstr(text), &addr, &st), TR_OK);
    assert_span_equal(tr_addr_text(&addr, out), want);
    assert_span_equal(tr_addr_host(&addr, out), host);
}

static void addresses_parse_and_print(void **state)
{
    (void)state;
    expect_round_trip("127.0.0.1:80", "127.0.0.1:80", "127.0.0.1");
    expect_round_trip("0.0.0.0:0", "0.0.0.0:0", "0.0.0.0");
    expect_round_trip("[::1]:65535", "[::1]:65535", "::1");
    expect_round_trip("[2001:DB8:0::1]:443", "[2001:db8::1]:443", "2001:db8::1");
    expect_round_trip("localhost:8080", "127.0.0.1:8080", "127.0.0.1");
    expect_round_trip("unix:/run/x.sock", "unix:/run/x.sock", "/run/x.sock");
    expect_round_trip("unix:relative", "unix:relative", "relative");
}

static void malformed_addresses_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "127.0.0.1",
        ":80",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[]:80",
        "[127.0.0.1]:80",
        "[::1:80",
        "[::1x]:80",
        "unix:",
        "300.1.1.1:80",
        "a b:80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_addr addr;
        struct tr_status st;
        tr_status_clear(&st);
        if (tr_addr_parse(tr_span_cstr(bad[i]), &addr, &st) != TR_ERR_CONFIG)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(st.err, TR_ERR_CONFIG);
        assert_true(st.text_len > 0);
    }
}

static void long_texts_are_refused_or_cut_not_overrun(void **state)
{
    (void)state;
    char text[600], out[TR_ADDR_TEXT_MAX];
    struct tr_addr addr;
    memset(text, 'a', sizeof text);
    assert_int_equal(tr_addr_parse(tr_span(text, sizeof text), &addr, NULL), TR_ERR_CONFIG);
    memcpy(text + 590, ":80", 3);
    assert_int_equal(tr_addr_parse(tr_span(text, 593), &addr, NULL), TR_ERR_CONFIG);
    memcpy(text, "unix:", 5);
    assert_int_equal(tr_addr_parse(tr_span(text, 5 + 108), &addr, NULL), TR_ERR_CONFIG);
    assert_int_equal(tr_addr_parse(tr_span(text, 5 + 107), &addr, NULL), TR_OK);
    assert_int_equal(tr_addr_text(&addr, out).len, 5 + 107);
    assert_int_equal(tr_addr_host(&addr, out).len, 107);
    assert_int_equal(tr_addr_parse(tr_span("unix:a\0b", 8), &addr, NULL), TR_ERR_CONFIG);
    assert_int_equal(tr_addr_parse(tr_span("local\0host:80", 13), &addr, NULL), TR_ERR_CONFIG);
}

static void no_address_has_an_empty_text(void **state)
{
    (void)state;
    struct tr_addr addr = {.len = 0};
    char out[TR_ADDR_TEXT_MAX];
    assert_int_equal(tr_addr_text(&addr, out).len, 0);
    assert_int_equal(tr_addr_host(&addr, out).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_parse_and_print),
        cmocka_unit_test(malformed_addresses_are_refused_with_the_reason),
        cmocka_unit_test(long_texts_are_refused_or_cut_not_overrun),
        cmocka_unit_test(no_address_has_an_empty_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
