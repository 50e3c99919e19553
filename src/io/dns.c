#include "io/dns.h"

#include "base/alloc.h"
#include "io/watch.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define NS_PER_S      UINT64_C(1000000000)
#define DEADLINE_NS   (5 * NS_PER_S)
#define TRY_MS        1500 /* the first try; c-ares doubles it */
#define TRIES         3
#define TTL_FAILED_S  5u
#define TTL_HOSTS_S   60u
#define TTL_NUMERIC_S 3600u
#define NAME_MAX_LEN  255u

struct tr_dns {
    struct tr_loop *loop;
    ares_channel channel;
    struct tr_timer timer;  /* c-ares' own time-outs */
    struct tr_list queries; /* all that c-ares or the caller still knows of */
    struct tr_list sockets;
};

struct tr_dns_query {
    struct tr_dns *dns;
    struct tr_list node;
    struct tr_task deliver;
    struct tr_timer deadline;
    void (*fn)(void *ctx, const struct tr_dns_answer *answer);
    void *ctx;
    uint16_t port;
    bool in_call;  /* inside ares_getaddrinfo: an answer that comes now is not from the network */
    bool in_ares;  /* c-ares will still call on_answer */
    bool detached; /* nobody waits: on_answer frees */
    struct tr_dns_answer answer;
};

/* -- sockets of c-ares ------------------------------------------------------------------------ */
struct dns_socket {
    struct tr_watch watch;
    struct tr_list node;
    struct tr_dns *dns;
    ares_socket_t fd;
};

/* When c-ares wants to be called next. */
static void arm(struct tr_dns *dns)
{
    struct timeval tv;
    if (!ares_timeout(dns->channel, NULL, &tv)) {
        tr_timer_stop(&dns->timer);
        return;
    }
    uint64_t ns = (uint64_t)tv.tv_sec * NS_PER_S + (uint64_t)tv.tv_usec * 1000u;
    /* without memory for the heap the deadline of each query, which was started before, still ends
     * it */
    (void)tr_timer_start(&dns->timer, ns);
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_dns *dns = tr_container_of(timer, struct tr_dns, timer);
    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(dns);
}

static void on_socket(struct tr_watch *w, unsigned events)
{
    struct dns_socket *sock = tr_container_of(w, struct dns_socket, watch);
    struct tr_dns *dns = sock->dns; /* sock may go during the call */
    ares_process_fd(dns->channel, events & TR_WATCH_READ ? sock->fd : ARES_SOCKET_BAD,
                    events & TR_WATCH_WRITE ? sock->fd : ARES_SOCKET_BAD);
    arm(dns);
}

static void on_socket_closed(struct tr_watch *w)
{
    tr_free(tr_container_of(w, struct dns_socket, watch));
}

static struct dns_socket *socket_find(struct tr_dns *dns, ares_socket_t fd)
{
    tr_list_for_each (node, next, &dns->sockets) {
        struct dns_socket *sock = tr_container_of(node, struct dns_socket, node);
        if (sock->fd == fd)
            return sock;
    }
    return NULL;
}

static struct dns_socket *socket_new(struct tr_dns *dns, ares_socket_t fd)
{
    struct dns_socket *sock = tr_calloc(1, sizeof *sock);
    if (!sock)
        return NULL;
    if (tr_watch_init(&sock->watch, dns->loop, fd, on_socket) != TR_OK) {
        tr_free(sock);
        return NULL;
    }
    sock->dns = dns;
    sock->fd = fd;
    tr_list_push_back(&dns->sockets, &sock->node);
    return sock;
}

/* c-ares tells what it waits for; neither: it is about to close fd. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct tr_dns *dns = arg;
    struct dns_socket *sock = socket_find(dns, fd);
    if (!readable && !writable) {
        if (sock) {
            tr_list_remove(&sock->node);
            tr_watch_close(&sock->watch, on_socket_closed);
        }
        return;
    }
    if (!sock)
        sock = socket_new(dns, fd);
    if (sock) /* else the query runs into its deadline */
        tr_watch_want(&sock->watch,
                      (readable ? TR_WATCH_READ : 0) | (writable ? TR_WATCH_WRITE : 0));
}

/* Sockets are made here, so that none is inherited by a child and a name server that hangs up
 * raises no SIGPIPE (c-ares itself uses writev). With these set, c-ares leaves all options to us.
 */
static ares_socket_t dns_open(int family, int type, int protocol, void *arg)
{
    (void)arg;
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static int dns_close(ares_socket_t fd, void *arg)
{
    (void)arg;
    return close(fd);
}

static int dns_connect(ares_socket_t fd, const struct sockaddr *addr, ares_socklen_t len, void *arg)
{
    (void)arg;
    return connect(fd, addr, len);
}

static ares_ssize_t dns_receive(ares_socket_t fd, void *buf, size_t cap, int flags,
                                struct sockaddr *from, ares_socklen_t *from_len, void *arg)
{
    (void)arg;
    return recvfrom(fd, buf, cap, flags, from, from_len);
}

static ares_ssize_t dns_send(ares_socket_t fd, const struct iovec *iov, int count, void *arg)
{
    (void)arg;
    union {
        const struct iovec *in;
        struct iovec *out;
    } cast = {iov}; /* msghdr serves reads too and so has no const */
    struct msghdr msg = {.msg_iov = cast.out, .msg_iovlen = (size_t)count};
    return sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {
    dns_open, dns_close, dns_connect, dns_receive, dns_send,
};

/* -- answers ---------------------------------------------------------------------------------- */
static bool addr_eq(const struct tr_addr *a, const struct tr_addr *b)
{
    return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
}

static void answer_add(struct tr_dns_answer *answer, const struct tr_addr *addr)
{
    for (size_t i = 0; i < answer->count; i++)
        if (addr_eq(&answer->addrs[i], addr)) /* hosts files repeat themselves */
            return;
    if (answer->count < TR_DNS_ADDRS_MAX)
        answer->addrs[answer->count++] = *addr;
}

static struct tr_addr addr_v4(const struct in_addr *ip, uint16_t port)
{
    struct tr_addr addr = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = *ip};
    memcpy(&addr.ss, &in, sizeof in);
    return addr;
}

static struct tr_addr addr_v6(const struct in6_addr *ip, uint32_t scope, uint16_t port)
{
    struct tr_addr addr = {.len = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
                               .sin6_port = htons(port),
                               .sin6_addr = *ip,
                               .sin6_scope_id = scope};
    memcpy(&addr.ss, &in6, sizeof in6);
    return addr;
}

static void answer_fail(struct tr_dns_answer *answer)
{
    answer->err = TR_ERR_UPSTREAM_DNS;
    answer->count = 0;
    answer->ttl_s = TTL_FAILED_S;
}

static void answer_fill(struct tr_dns_query *q, const struct ares_addrinfo *found)
{
    struct tr_dns_answer *answer = &q->answer;
    int ttl = INT32_MAX;
    answer->count = 0;
    for (const struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next) {
        struct tr_addr addr = {.len = 0};
        if (n->ai_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, n->ai_addr, sizeof in);
            addr = addr_v4(&in.sin_addr, q->port);
        } else if (n->ai_family == AF_INET6) {
            struct sockaddr_in6 in6;
            memcpy(&in6, n->ai_addr, sizeof in6);
            addr = addr_v6(&in6.sin6_addr, in6.sin6_scope_id, q->port);
        } else {
            continue;
        }
        answer_add(answer, &addr);
        if (n->ai_ttl < ttl)
            ttl = n->ai_ttl;
    }
    for (const struct ares_addrinfo_cname *c = found->cnames; c; c = c->next)
        if (c->ttl < ttl)
            ttl = c->ttl;
    if (answer->count == 0) {
        answer_fail(answer);
        return;
    }
    answer->err = TR_OK;
    if (q->in_call) /* the hosts file, which has no TTL */
        answer->ttl_s = TTL_HOSTS_S;
    else
        answer->ttl_s = ttl < 1 ? 1u : (uint32_t)ttl;
}

static void query_free(struct tr_dns_query *q)
{
    tr_list_remove(&q->node);
    tr_task_cancel(&q->deliver);
    tr_timer_stop(&q->deadline);
    tr_free(q);
}

/* c-ares is in the middle of something when it calls this: the owner is told at the end of the
 * turn. */
static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct tr_dns_query *q = arg;
    (void)timeouts;
    q->in_ares = false;
    if (q->detached || status == ARES_EDESTRUCTION) {
        query_free(q);
    } else {
        if (status == ARES_SUCCESS && found)
            answer_fill(q, found);
        else
            answer_fail(&q->answer);
        tr_timer_stop(&q->deadline);
        tr_loop_defer(q->dns->loop, &q->deliver);
    }
    if (found)
        ares_freeaddrinfo(found);
}

static void on_deliver(struct tr_task *task)
{
    struct tr_dns_query *q = tr_container_of(task, struct tr_dns_query, deliver);
    tr_list_remove(&q->node); /* fn may free the resolver */
    q->fn(q->ctx, &q->answer);
    tr_free(q);
}

static void on_deadline(struct tr_timer *timer)
{
    static const struct tr_dns_answer late = {.err = TR_ERR_UPSTREAM_DNS, .ttl_s = TTL_FAILED_S};
    struct tr_dns_query *q = tr_container_of(timer, struct tr_dns_query, deadline);
    q->detached = true; /* c-ares cannot give up one query alone; it will come back some time */
    q->fn(q->ctx, &late);
}

/* -- calls ------------------------------------------------------------------------------------ */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status = ARES_ENOTINITIALIZED;

static void library_init(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

enum tr_err tr_dns_new(struct tr_loop *loop, const char *servers, struct tr_dns **ret_dns)
{
    static char lookups[] = "fb"; /* the hosts file, then servers */
    (void)pthread_once(&library_once, library_init);
    if (library_status != ARES_SUCCESS)
        return TR_ERR_NOMEM;
    struct tr_dns *dns = tr_calloc(1, sizeof *dns);
    if (!dns)
        return TR_ERR_NOMEM;
    dns->loop = loop;
    tr_timer_init(&dns->timer, loop, on_timer);
    tr_list_init(&dns->queries);
    tr_list_init(&dns->sockets);
    struct ares_options options = {
        .timeout = TRY_MS,
        .tries = TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = dns,
    };
    int rc = ares_init_options(&dns->channel, &options,
                               ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                   ARES_OPT_SOCK_STATE_CB);
    if (rc != ARES_SUCCESS) {
        tr_free(dns);
        return rc == ARES_ENOMEM ? TR_ERR_NOMEM : TR_ERR_CONFIG;
    }
    ares_set_socket_functions(dns->channel, &socket_functions, NULL);
    if (servers && ares_set_servers_ports_csv(dns->channel, servers) != ARES_SUCCESS) {
        tr_dns_free(dns);
        return TR_ERR_CONFIG;
    }
    *ret_dns = dns;
    return TR_OK;
}

void tr_dns_free(struct tr_dns *dns)
{
    if (!dns)
        return;
    ares_destroy(dns->channel); /* calls on_answer for each query that it has */
    while (!tr_list_empty(&dns->queries))
        query_free(tr_container_of(dns->queries.next, struct tr_dns_query, node));
    tr_timer_stop(&dns->timer);
    tr_free(dns);
}

/* Addresses need no resolver. */
static bool numeric(struct tr_dns_query *q, const char *name)
{
    struct in_addr v4;
    struct in6_addr v6;
    struct tr_addr addr;
    if (inet_pton(AF_INET, name, &v4) == 1)
        addr = addr_v4(&v4, q->port);
    else if (inet_pton(AF_INET6, name, &v6) == 1)
        addr = addr_v6(&v6, 0, q->port);
    else
        return false;
    answer_add(&q->answer, &addr);
    q->answer.ttl_s = TTL_NUMERIC_S;
    return true;
}

enum tr_err tr_dns_resolve(struct tr_dns *dns, struct tr_span name, uint16_t port,
                           void (*fn)(void *ctx, const struct tr_dns_answer *answer), void *ctx,
                           struct tr_dns_query **ret_query)
{
    char text[NAME_MAX_LEN + 1];
    struct tr_dns_query *q = tr_calloc(1, sizeof *q);
    if (!q)
        return TR_ERR_NOMEM;
    q->dns = dns;
    q->fn = fn;
    q->ctx = ctx;
    q->port = port;
    tr_task_init(&q->deliver, on_deliver);
    tr_timer_init(&q->deadline, dns->loop, on_deadline);
    tr_list_push_back(&dns->queries, &q->node);
    *ret_query = q;

    bool usable = name.len > 0 && name.len <= NAME_MAX_LEN && !memchr(name.ptr, 0, name.len);
    if (usable) {
        memcpy(text, name.ptr, name.len);
        text[name.len] = 0;
    }
    if (!usable || numeric(q, text)) {
        if (!usable)
            answer_fail(&q->answer);
        tr_loop_defer(dns->loop, &q->deliver);
        return TR_OK;
    }
    enum tr_err err = tr_timer_start(&q->deadline, DEADLINE_NS);
    if (err) {
        query_free(q);
        return err;
    }
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    q->in_ares = q->in_call = true;
    ares_getaddrinfo(dns->channel, text, NULL, &hints, on_answer, q);
    q->in_call = false;
    arm(dns);
    return TR_OK;
}

void tr_dns_cancel(struct tr_dns_query *q)
{
    if (!q)
        return;
    if (!q->in_ares) {
        query_free(q);
        return;
    }
    q->detached = true;
    tr_timer_stop(&q->deadline);
}
