#include "pipeline/client_addr.h"

#include "test.h"

/* lines: values of x-forwarded-for, first to last, NULL at the end. want NULL: the peer. */
static void check(uint32_t hops, const char *const *lines, const char *want)
{
    struct tr_header items[8];
    struct tr_headers headers = {.items = items};
    struct tr_ip ip;
    char text[TR_IP_TEXT_MAX];
    for (; *lines; lines++) {
        items[headers.count++] = (struct tr_header){TR_SPAN("x-forwarded-for"),
                                                    tr_span_cstr(*lines), TR_TOKEN_X_FORWARDED_FOR};
        items[headers.count++] =
            (struct tr_header){TR_SPAN("x-other"), TR_SPAN("9.9.9.9"), TR_TOKEN_NONE};
    }
    bool found = tr_client_addr_walk(&headers, hops, &ip);
    assert_int_equal(found, want != NULL);
    if (want)
        assert_span_equal(tr_ip_print(text, &ip), want);
}
#define LINES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void client_addr_counts_hops_from_the_right(void **state)
{
    (void)state;
    check(1, LINES("1.1.1.1, 2.2.2.2,3.3.3.3"), "3.3.3.3");
    check(2, LINES("1.1.1.1, 2.2.2.2,3.3.3.3"), "2.2.2.2");
    check(3, LINES("1.1.1.1, 2.2.2.2,3.3.3.3"), "1.1.1.1");
}

static void client_addr_takes_all_lines_as_one_list(void **state)
{
    (void)state;
    check(1, LINES("1.1.1.1", "2.2.2.2, 3.3.3.3"), "3.3.3.3");
    check(3, LINES("1.1.1.1", "2.2.2.2, 3.3.3.3"), "1.1.1.1");
    check(3, LINES("0.0.0.0, 1.1.1.1", "2.2.2.2", "3.3.3.3"), "1.1.1.1");
}

static void client_addr_stops_at_the_last_trustworthy_entry(void **state)
{
    (void)state;
    check(5, LINES("1.1.1.1, 2.2.2.2"), "1.1.1.1"); /* too few */
    check(3, LINES("1.1.1.1, bad, 3.3.3.3"), "3.3.3.3");
    check(3, LINES("1.1.1.1, , 3.3.3.3"), "3.3.3.3");
    check(2, LINES("1.1.1.1, 3.3.3.3,"), NULL);
    check(1, LINES("unknown"), NULL);
    check(1, LINES(""), NULL);
    check(2, LINES("1.1.1.1", "", "3.3.3.3"), "3.3.3.3");
    check(1, ((const char *const[]){NULL}), NULL);
}

static void client_addr_reads_brackets_ports_and_mapped_addresses(void **state)
{
    (void)state;
    check(1, LINES("[2001:db8::1]:4711"), "2001:db8::1");
    check(1, LINES("2001:DB8::1"), "2001:db8::1");
    check(1, LINES("192.0.2.1:99"), "192.0.2.1");
    check(1, LINES("::ffff:192.0.2.1"), "192.0.2.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(client_addr_counts_hops_from_the_right),
        cmocka_unit_test(client_addr_takes_all_lines_as_one_list),
        cmocka_unit_test(client_addr_stops_at_the_last_trustworthy_entry),
        cmocka_unit_test(client_addr_reads_brackets_ports_and_mapped_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
