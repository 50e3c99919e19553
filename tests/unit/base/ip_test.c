#include "base/ip.h"

#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct tr_span span_of(const char *s)
{
    return tr_span_cstr(s);
}

static void check_ip(const char *text, const char *want)
{
    struct tr_ip ip;
    char out[TR_IP_TEXT_MAX];
    assert_true(tr_ip_parse(span_of(text), &ip));
    assert_span_equal(tr_ip_print(out, &ip), want);
}

static void ip_reads_and_prints_both_families(void **state)
{
    (void)state;
    check_ip("0.0.0.0", "0.0.0.0");
    check_ip("255.100.20.3", "255.100.20.3");
    check_ip("::", "::");
    check_ip("2001:DB8:0:0:0:0:0:1", "2001:db8::1");
    check_ip("fe80::1:2", "fe80::1:2");
    check_ip("64:ff9b::192.0.2.1", "64:ff9b::c000:201");
}

static void ip_takes_mapped_v6_for_v4(void **state)
{
    struct tr_ip a, b;
    (void)state;
    check_ip("::ffff:192.0.2.7", "192.0.2.7");
    check_ip("::FFFF:c000:0207", "192.0.2.7");
    assert_true(tr_ip_parse(TR_SPAN("::ffff:192.0.2.7"), &a));
    assert_true(tr_ip_parse(TR_SPAN("192.0.2.7"), &b));
    assert_int_equal(tr_ip_cmp(&a, &b), 0);
    assert_true(a.v4);
}

static void ip_refuses_what_is_no_address(void **state)
{
    static const char *const bad[] = {"",
                                      "1",
                                      "1.2.3",
                                      "1.2.3.4.5",
                                      "256.1.1.1",
                                      "01.2.3.4",
                                      "1.2.3.4 ",
                                      " 1.2.3.4",
                                      "1.2.3.-4",
                                      "0x1.2.3.4",
                                      "1.2.3.4/8",
                                      ":::",
                                      "1::2::3",
                                      "12345::",
                                      "fe80::1%lo",
                                      "[::1]",
                                      "localhost",
                                      "unknown",
                                      "1:2:3:4:5:6:7:8:9",
                                      "::1.2.3.400",
                                      "1.2.3.4:80",
                                      "g::1",
                                      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    struct tr_ip ip;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_ip_parse(span_of(bad[i]), &ip));
    assert_false(tr_ip_parse(tr_span("1.2.3.4\0", 8), &ip)); /* the NUL is part of it */
}

static void check_hop(const char *text, const char *want)
{
    struct tr_ip ip;
    char out[TR_IP_TEXT_MAX];
    bool ok = tr_ip_parse_hop(span_of(text), &ip);
    assert_int_equal(ok, want != NULL);
    if (want)
        assert_span_equal(tr_ip_print(out, &ip), want);
}

static void ip_hop_takes_brackets_and_ports(void **state)
{
    (void)state;
    check_hop("192.0.2.1", "192.0.2.1");
    check_hop("192.0.2.1:8080", "192.0.2.1");
    check_hop("2001:db8::1", "2001:db8::1");
    check_hop("[2001:db8::1]", "2001:db8::1");
    check_hop("[2001:db8::1]:443", "2001:db8::1");
    check_hop("[::ffff:192.0.2.1]:443", "192.0.2.1");
    check_hop("::1", "::1");
    check_hop("[192.0.2.1]", NULL);
    check_hop("[192.0.2.1]:80", NULL);
    check_hop("192.0.2.1:", NULL);
    check_hop("192.0.2.1:65536", NULL);
    check_hop("192.0.2.1:x", NULL);
    check_hop("[2001:db8::1", NULL);
    check_hop("[2001:db8::1]443", NULL);
    check_hop("[2001:db8::1]:", NULL);
    check_hop("[]", NULL);
    check_hop("[", NULL);
    check_hop("\"192.0.2.1\"", NULL);
    check_hop("", NULL);
    check_hop("_hidden", NULL);
    check_hop("unknown", NULL);
}

static bool same_site(const char *a, const char *b)
{
    struct tr_ip x, y;
    assert_true(tr_ip_parse(tr_span_cstr(a), &x) && tr_ip_parse(tr_span_cstr(b), &y));
    return tr_span_eq(tr_ip_site(&x), tr_ip_site(&y));
}

static void ip_site_is_an_address_or_64_bits(void **state)
{
    (void)state;
    assert_true(same_site("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
    assert_false(same_site("2001:db8:1:2::1", "2001:db8:1:3::1"));
    assert_true(same_site("192.0.2.1", "::ffff:192.0.2.1"));
    assert_false(same_site("192.0.2.1", "192.0.2.2"));
    assert_false(same_site("192.0.2.1", "c000:201::")); /* the same bytes */
}

static void ip_comes_from_socket_addresses(void **state)
{
    struct sockaddr_storage ss = {0};
    struct tr_ip ip;
    char out[TR_IP_TEXT_MAX];
    (void)state;
    struct sockaddr_in in = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, "198.51.100.9", &in.sin_addr), 1);
    memcpy(&ss, &in, sizeof in);
    assert_true(tr_ip_from_sockaddr((const struct sockaddr *)&ss, &ip));
    assert_span_equal(tr_ip_print(out, &ip), "198.51.100.9");
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, "::ffff:198.51.100.9", &in6.sin6_addr), 1);
    memcpy(&ss, &in6, sizeof in6);
    assert_true(tr_ip_from_sockaddr((const struct sockaddr *)&ss, &ip));
    assert_true(ip.v4);
    ss.ss_family = AF_UNIX;
    assert_false(tr_ip_from_sockaddr((const struct sockaddr *)&ss, &ip));
}

static bool net_has(const char *net, const char *ip)
{
    struct tr_ip_net n;
    struct tr_ip i;
    assert_true(tr_ip_net_parse(span_of(net), &n));
    assert_true(tr_ip_parse(span_of(ip), &i));
    return tr_ip_net_has(&n, &i);
}

static void ip_net_matches_its_prefix(void **state)
{
    (void)state;
    assert_true(net_has("10.0.0.0/8", "10.255.255.255"));
    assert_false(net_has("10.0.0.0/8", "11.0.0.0"));
    assert_true(net_has("0.0.0.0/0", "203.0.113.1"));
    assert_false(net_has("0.0.0.0/0", "::1"));
    assert_false(net_has("::/0", "10.0.0.1")); /* the families are apart */
    assert_true(net_has("192.0.2.128/25", "192.0.2.200"));
    assert_false(net_has("192.0.2.128/25", "192.0.2.127"));
    assert_true(net_has("192.0.2.1", "192.0.2.1"));
    assert_false(net_has("192.0.2.1", "192.0.2.2"));
    assert_true(net_has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(net_has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(net_has("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_true(net_has("::1/128", "::1"));
}

static void ip_net_refuses_mistakes(void **state)
{
    static const char *const bad[] = {"",
                                      "/",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0.1/8",
                                      "::/129",
                                      "2001:db8::1/64",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/8/8",
                                      "10.0.0.0/ 8",
                                      "10/8",
                                      "::ffff:10.0.0.0/95",
                                      "::ffff:10.0.0.0/129",
                                      "10.0.0.0/0008",
                                      "[::1]/128"};
    struct tr_ip_net net;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_ip_net_parse(span_of(bad[i]), &net));
}

/* A set answers as its networks do one by one. */
static void ip_set_agrees_with_each_network(void **state)
{
    uint64_t seed = tr_test_seed();
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct tr_ip_net nets[40], sorted[40];
        uint32_t count = (uint32_t)(tr_test_rand(&seed) % 40);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t r = tr_test_rand(&seed);
            nets[i] = (struct tr_ip_net){.base.v4 = r & 1};
            nets[i].bits = (uint8_t)((r >> 1) % 20);
            uint64_t bits = tr_test_rand(&seed) & 0x3F; /* few values: they nest and meet */
            for (unsigned b = 0; b < nets[i].bits; b++)
                if (bits >> (b % 6) & 1)
                    nets[i].base.bytes[b / 8] |= (uint8_t)(0x80u >> b % 8);
        }
        memcpy(sorted, nets, sizeof nets);
        struct tr_ip_set set = tr_ip_set_make(sorted, count);
        assert_true(set.count <= count);
        for (unsigned k = 0; k < 200; k++) {
            struct tr_ip ip = {.v4 = tr_test_rand(&seed) & 1};
            uint64_t bits = tr_test_rand(&seed);
            for (size_t b = 0; b < 4; b++)
                ip.bytes[b] = (uint8_t)(bits >> (8 * b));
            bool want = false;
            for (uint32_t i = 0; i < count; i++)
                want = want || tr_ip_net_has(&nets[i], &ip);
            assert_int_equal(tr_ip_set_has(&set, &ip), want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ip_reads_and_prints_both_families),
        cmocka_unit_test(ip_takes_mapped_v6_for_v4),
        cmocka_unit_test(ip_refuses_what_is_no_address),
        cmocka_unit_test(ip_hop_takes_brackets_and_ports),
        cmocka_unit_test(ip_site_is_an_address_or_64_bits),
        cmocka_unit_test(ip_comes_from_socket_addresses),
        cmocka_unit_test(ip_net_matches_its_prefix),
        cmocka_unit_test(ip_net_refuses_mistakes),
        cmocka_unit_test(ip_set_agrees_with_each_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
