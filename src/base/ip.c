#include "base/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static struct tr_ip from_v4(const void *bytes)
{
    struct tr_ip ip = {.v4 = true};
    memcpy(ip.bytes, bytes, 4);
    return ip;
}

static struct tr_ip from_v6(const uint8_t *bytes)
{
    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return from_v4(bytes + sizeof mapped);
    struct tr_ip ip = {.v4 = false};
    memcpy(ip.bytes, bytes, 16);
    return ip;
}

/* *ret_mapped: the text is an IPv6 address that stands for an IPv4 one. */
static bool parse(struct tr_span text, struct tr_ip *ret_ip, bool *ret_mapped)
{
    char copy[TR_IP_TEXT_MAX];
    uint8_t bytes[16];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, 0, text.len))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    bool v6 = memchr(copy, ':', text.len) != NULL;
    if (inet_pton(v6 ? AF_INET6 : AF_INET, copy, bytes) != 1)
        return false;
    *ret_ip = v6 ? from_v6(bytes) : from_v4(bytes);
    *ret_mapped = v6 && ret_ip->v4;
    return true;
}

bool tr_ip_parse(struct tr_span text, struct tr_ip *ret_ip)
{
    bool was_mapped;
    return parse(text, ret_ip, &was_mapped);
}

static bool is_port(struct tr_span s)
{
    uint64_t port;
    return s.len <= 5 && tr_span_u64(s, &port) && port <= 65535;
}

bool tr_ip_parse_hop(struct tr_span text, struct tr_ip *ret_ip)
{
    if (text.len && text.ptr[0] == '[') {
        size_t end = tr_span_find(text, ']');
        struct tr_span host = tr_span_sub(text, 1, end - 1), rest = tr_span_from(text, end + 1);
        if (end == text.len || tr_span_find(host, ':') == host.len)
            return false;
        if (rest.len && (rest.ptr[0] != ':' || !is_port(tr_span_from(rest, 1))))
            return false;
        return tr_ip_parse(host, ret_ip);
    }
    size_t colon = tr_span_find(text, ':');
    if (colon < text.len && tr_span_rfind(text, ':') == colon) /* one colon: no IPv6 address */
        return is_port(tr_span_from(text, colon + 1)) &&
               tr_ip_parse(tr_span_sub(text, 0, colon), ret_ip);
    return tr_ip_parse(text, ret_ip);
}

bool tr_ip_from_sockaddr(const struct sockaddr *addr, struct tr_ip *ret_ip)
{
    if (addr->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, addr, sizeof in);
        *ret_ip = from_v4(&in.sin_addr);
        return true;
    }
    if (addr->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, addr, sizeof in);
        *ret_ip = from_v6(in.sin6_addr.s6_addr);
        return true;
    }
    return false;
}

struct tr_span tr_ip_print(char out[TR_IP_TEXT_MAX], const struct tr_ip *ip)
{
    size_t n = 0;
    if (!ip->v4) {
        if (!inet_ntop(AF_INET6, ip->bytes, out, TR_IP_TEXT_MAX))
            out[0] = 0;
        return tr_span_cstr(out);
    }
    for (size_t i = 0; i < 4; i++) {
        unsigned v = ip->bytes[i];
        if (i)
            out[n++] = '.';
        if (v >= 100)
            out[n++] = (char)('0' + v / 100);
        if (v >= 10)
            out[n++] = (char)('0' + v / 10 % 10);
        out[n++] = (char)('0' + v % 10);
    }
    return tr_span(out, n);
}

int tr_ip_cmp(const struct tr_ip *a, const struct tr_ip *b)
{
    if (a->v4 != b->v4)
        return a->v4 ? -1 : 1;
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static bool has_prefix(const uint8_t *bytes, const uint8_t *prefix, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (whole && memcmp(bytes, prefix, whole) != 0)
        return false;
    return rest == 0 || ((bytes[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

bool tr_ip_net_parse(struct tr_span text, struct tr_ip_net *ret_net)
{
    struct tr_ip_net net;
    bool was_mapped;
    size_t slash = tr_span_find(text, '/');
    if (!parse(tr_span_sub(text, 0, slash), &net.base, &was_mapped))
        return false;
    uint64_t max = net.base.v4 ? 32 : 128, bits = max;
    if (slash < text.len) {
        struct tr_span digits = tr_span_from(text, slash + 1);
        if (digits.len > 3 || !tr_span_u64(digits, &bits))
            return false;
        if (was_mapped) { /* counted in the IPv6 form */
            if (bits < 96)
                return false;
            bits -= 96;
        }
        if (bits > max)
            return false;
    }
    net.bits = (uint8_t)bits;
    for (unsigned i = net.bits; i < max; i++)
        if (net.base.bytes[i / 8] & (0x80u >> i % 8))
            return false;
    *ret_net = net;
    return true;
}

bool tr_ip_net_has(const struct tr_ip_net *net, const struct tr_ip *ip)
{
    return net->base.v4 == ip->v4 && has_prefix(ip->bytes, net->base.bytes, net->bits);
}

static int by_place(const void *a, const void *b)
{
    const struct tr_ip_net *x = a, *y = b;
    int c = tr_ip_cmp(&x->base, &y->base);
    return c ? c : (int)x->bits - (int)y->bits;
}

struct tr_ip_set tr_ip_set_make(struct tr_ip_net *nets, uint32_t count)
{
    uint32_t kept = 0;
    if (count)
        qsort(nets, count, sizeof *nets, by_place);
    /* networks are apart or one lies in the other, and the larger comes first */
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || !tr_ip_net_has(&nets[kept - 1], &nets[i].base))
            nets[kept++] = nets[i];
    return (struct tr_ip_set){nets, kept};
}

bool tr_ip_set_has(const struct tr_ip_set *set, const struct tr_ip *ip)
{
    uint32_t lo = 0, hi = set->count; /* nets[lo - 1].base <= ip < nets[hi].base */
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (tr_ip_cmp(&set->nets[mid].base, ip) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo > 0 && tr_ip_net_has(&set->nets[lo - 1], ip);
}
