#include "io/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

static enum tr_err parse_unix(struct tr_span path, struct tr_addr *ret_addr, struct tr_status *st)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (path.len == 0 || path.len >= sizeof un.sun_path || memchr(path.ptr, 0, path.len))
        return tr_fail(st, TR_ERR_CONFIG, "a unix socket's path has 1 to %zu bytes",
                       sizeof un.sun_path - 1);
    memcpy(un.sun_path, path.ptr, path.len);
    memset(ret_addr, 0, sizeof *ret_addr);
    memcpy(&ret_addr->ss, &un, sizeof un);
    ret_addr->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return TR_OK;
}

/* Into host and port; false when the form is wrong. */
static bool split(struct tr_span text, struct tr_span *host, struct tr_span *port, bool *bracketed)
{
    *bracketed = text.len && text.ptr[0] == '[';
    size_t colon = tr_span_rfind(text, ':');
    if (colon == text.len)
        return false;
    *host = tr_span_sub(text, 0, colon);
    *port = tr_span_from(text, colon + 1);
    if (*bracketed) {
        if (host->len < 3 || host->ptr[host->len - 1] != ']')
            return false;
        *host = tr_span_sub(*host, 1, host->len - 2);
        return true;
    }
    return host->len > 0 && tr_span_find(*host, ':') == host->len;
}

enum tr_err tr_addr_parse(struct tr_span text, struct tr_addr *ret_addr, struct tr_status *st)
{
    struct tr_span host, port;
    bool v6;
    uint64_t number;
    char name[256], service[8];
    if (tr_span_starts(text, TR_SPAN("unix:")))
        return parse_unix(tr_span_from(text, 5), ret_addr, st);
    int shown = text.len > 200 ? 200 : (int)text.len;
    if (!split(text, &host, &port, &v6))
        return tr_fail(st, TR_ERR_CONFIG, "\"%.*s\" is not host:port, [v6]:port or unix:path",
                       shown, text.ptr);
    if (!tr_span_u64(port, &number) || number > 65535)
        return tr_fail(st, TR_ERR_CONFIG, "\"%.*s\": the port must be 0 to 65535", shown, text.ptr);
    if (host.len >= sizeof name || memchr(host.ptr, 0, host.len))
        return tr_fail(st, TR_ERR_CONFIG, "\"%.*s\": the host is too long", shown, text.ptr);
    memcpy(name, host.ptr, host.len);
    name[host.len] = 0;
    (void)snprintf(service, sizeof service, "%u", (unsigned)number);

    struct addrinfo hints = {.ai_family = v6 ? AF_INET6 : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV | (v6 ? AI_NUMERICHOST : 0)};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, service, &hints, &found);
    if (rc != 0 || !found)
        return tr_fail(st, TR_ERR_CONFIG, "\"%.*s\": %s", shown, text.ptr, gai_strerror(rc));
    /* a name with both families ("localhost") means IPv4 here, whatever order the system prefers */
    const struct addrinfo *best = found;
    for (const struct addrinfo *ai = found; ai; ai = ai->ai_next) {
        if (ai->ai_family == AF_INET) {
            best = ai;
            break;
        }
    }
    memset(ret_addr, 0, sizeof *ret_addr);
    memcpy(&ret_addr->ss, best->ai_addr, best->ai_addrlen);
    ret_addr->len = best->ai_addrlen;
    freeaddrinfo(found);
    return TR_OK;
}

static uint16_t port_of(const struct tr_addr *addr)
{
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    if (addr->ss.ss_family == AF_INET6) {
        memcpy(&in6, &addr->ss, sizeof in6);
        return ntohs(in6.sin6_port);
    }
    memcpy(&in, &addr->ss, sizeof in);
    return ntohs(in.sin_port);
}

static struct tr_span unix_text(const struct tr_addr *addr, char *out, const char *prefix)
{
    struct sockaddr_un un;
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t len = addr->len > head ? addr->len - head : 0;
    memcpy(&un, &addr->ss, sizeof un);
    len = strnlen(un.sun_path, len < sizeof un.sun_path ? len : sizeof un.sun_path);
    int n = snprintf(out, TR_ADDR_TEXT_MAX, "%s%.*s", prefix, (int)len, un.sun_path);
    return tr_span(out, n > 0 ? (size_t)n : 0);
}

struct tr_span tr_addr_host(const struct tr_addr *addr, char *out)
{
    const char *text = NULL;
    if (addr->len && addr->ss.ss_family == AF_UNIX)
        return unix_text(addr, out, "");
    if (addr->len && addr->ss.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &addr->ss, sizeof in);
        text = inet_ntop(AF_INET, &in.sin_addr, out, TR_ADDR_TEXT_MAX);
    } else if (addr->len && addr->ss.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &addr->ss, sizeof in6);
        text = inet_ntop(AF_INET6, &in6.sin6_addr, out, TR_ADDR_TEXT_MAX);
    }
    if (!text)
        out[0] = 0;
    return tr_span_cstr(out);
}

struct tr_span tr_addr_text(const struct tr_addr *addr, char *out)
{
    char host[TR_ADDR_TEXT_MAX];
    if (addr->len && addr->ss.ss_family == AF_UNIX)
        return unix_text(addr, out, "unix:");
    if (tr_addr_host(addr, host).len == 0) {
        out[0] = 0;
        return tr_span(out, 0);
    }
    int n = addr->ss.ss_family == AF_INET6
                ? snprintf(out, TR_ADDR_TEXT_MAX, "[%.64s]:%u", host, (unsigned)port_of(addr))
                : snprintf(out, TR_ADDR_TEXT_MAX, "%.64s:%u", host, (unsigned)port_of(addr));
    return tr_span(out, n > 0 ? (size_t)n : 0);
}
