/* Addresses, hops and networks. What is read is printed and read again as the same; a network has
 * its own base; an entry of x-forwarded-for that is an address is one as a hop too. */
#include "base/ip.h"
#include "fuzz.h"

static void check_print(const struct tr_ip *ip)
{
    char text[TR_IP_TEXT_MAX];
    struct tr_ip again;
    struct tr_span s = tr_ip_print(text, ip);
    FUZZ_CHECK(s.len > 0 && s.len < TR_IP_TEXT_MAX);
    FUZZ_CHECK(tr_ip_parse(s, &again) && tr_ip_cmp(ip, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1);
    FUZZ_CHECK(bytes);
    memcpy(bytes, data, size);
    struct tr_span text = tr_span(bytes, size);
    struct tr_ip ip, hop;
    struct tr_ip_net net;
    if (tr_ip_parse(text, &ip)) {
        check_print(&ip);
        FUZZ_CHECK(tr_ip_parse_hop(text, &hop) && tr_ip_cmp(&ip, &hop) == 0);
        FUZZ_CHECK(tr_ip_net_parse(text, &net) && tr_ip_net_has(&net, &ip));
    }
    if (tr_ip_parse_hop(text, &hop))
        check_print(&hop);
    if (tr_ip_net_parse(text, &net)) {
        FUZZ_CHECK(net.bits <= (net.base.v4 ? 32 : 128) && tr_ip_net_has(&net, &net.base));
        struct tr_ip_set set = tr_ip_set_make(&net, 1);
        FUZZ_CHECK(tr_ip_set_has(&set, &net.base));
    }
    free(bytes);
    return 0;
}
