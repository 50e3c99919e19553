#include "pipeline/client_addr.h"

bool tr_client_addr_walk(const struct tr_headers *headers, uint32_t hops, struct tr_ip *ret_ip)
{
    bool found = false;
    for (uint32_t i = headers->count; i-- > 0;) {
        if (headers->items[i].token != TR_TOKEN_X_FORWARDED_FOR)
            continue;
        struct tr_span line = headers->items[i].value;
        for (;;) {
            size_t comma = tr_span_rfind(line, ',');
            struct tr_span entry = comma < line.len ? tr_span_from(line, comma + 1) : line;
            if (!tr_ip_parse_hop(tr_span_trim(entry), ret_ip))
                return found;
            found = true;
            if (--hops == 0)
                return true;
            if (comma == line.len)
                break;
            line.len = comma;
        }
    }
    return found;
}

static void find(struct tr_exchange *x)
{
    const struct tr_peer *peer = x->hs->conn->user;
    uint32_t hops = x->snap->config.trusted_hops;
    x->client_known = true;
    if (peer && peer->addr.len)
        x->client_has_ip =
            tr_ip_from_sockaddr((const struct sockaddr *)&peer->addr.ss, &x->client_ip);
    if (hops && tr_client_addr_walk(&x->hs->head.headers, hops, &x->client_ip))
        x->client_has_ip = true;
}

const struct tr_ip *tr_client_addr(struct tr_exchange *x)
{
    if (!x->client_known)
        find(x);
    return x->client_has_ip ? &x->client_ip : NULL;
}

struct tr_span tr_client_addr_text(struct tr_exchange *x)
{
    const struct tr_ip *ip = tr_client_addr(x);
    if (ip && !x->client_text.ptr) {
        char *p = tr_arena_alloc(&x->hs->arena, TR_IP_TEXT_MAX);
        if (p)
            x->client_text = tr_ip_print(p, ip);
    }
    return x->client_text;
}

struct tr_span tr_client_network_text(struct tr_exchange *x)
{
    const struct tr_ip *ip = tr_client_addr(x);
    char *p = ip ? tr_arena_alloc(&x->hs->arena, TR_IP_TEXT_MAX) : NULL;
    if (!p)
        return TR_SPAN("");
    struct tr_ip first = {.v4 = ip->v4};
    struct tr_span site = tr_ip_site(ip);
    memcpy(first.bytes, site.ptr, site.len);
    return tr_ip_print(p, &first);
}
