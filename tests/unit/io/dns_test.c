#include "io/dns.h"

#include "io/listener.h"
#include "test.h"
#include "turn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* -- a name server of our own, on a thread ---------------------------------------------------- */
struct name_server {
    int fd, tcp, quit[2];
    pthread_t thread;
    char text[32]; /* "127.0.0.1:port" */
    _Atomic int queries;
};

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28 };

/* "\4both\7example\0" as "both.example". */
static size_t read_name(const unsigned char *p, char *out)
{
    size_t at = 0, len = 0;
    while (p[at]) {
        if (len)
            out[len++] = '.';
        memcpy(out + len, p + at + 1, p[at]);
        len += p[at];
        at += p[at] + 1u;
    }
    out[len] = 0;
    return at + 1;
}

static void put16(unsigned char **p, unsigned v)
{
    *(*p)++ = (unsigned char)(v >> 8);
    *(*p)++ = (unsigned char)v;
}

static void put_record(unsigned char **p, unsigned name_at, unsigned type, unsigned ttl,
                       const void *data, size_t len)
{
    put16(p, 0xC000u | name_at);
    put16(p, type);
    put16(p, 1);
    put16(p, ttl >> 16);
    put16(p, ttl & 0xFFFF);
    put16(p, (unsigned)len);
    memcpy(*p, data, len);
    *p += len;
}

/* The zone. Answers or, with 0 returned, stays silent. */
static size_t answer(const unsigned char *query, size_t query_len, unsigned char *out,
                     bool over_tcp)
{
    char name[256];
    const unsigned char v4[4] = {192, 0, 2, 1};
    const unsigned char v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
    size_t name_len = read_name(query + 12, name);
    unsigned type = (unsigned)query[12 + name_len] << 8 | query[13 + name_len];
    if (12 + name_len + 4 > query_len || strcmp(name, "silent.example") == 0)
        return 0;
    memcpy(out, query, 12 + name_len + 4);
    unsigned char *p = out + 12 + name_len + 4;
    unsigned answers = 0, rcode = 0;
    bool truncated = false;
    if (strcmp(name, "both.example") == 0) {
        put_record(&p, 12, type, type == TYPE_A ? 300 : 30, type == TYPE_A ? v4 : v6,
                   type == TYPE_A ? 4 : 16);
        answers = 1;
    } else if (strcmp(name, "v4.example") == 0 || strcmp(name, "zero.example") == 0) {
        if (type == TYPE_A) {
            put_record(&p, 12, TYPE_A, name[0] == 'v' ? 120 : 0, v4, 4);
            answers = 1;
        }
    } else if (strcmp(name, "alias.example") == 0) {
        unsigned target = (unsigned)(p - out) + 12; /* where the name in the record's data stands */
        put_record(&p, 12, TYPE_CNAME, 17, "\4real\7example", 14);
        answers = 1;
        if (type == TYPE_A) {
            put_record(&p, target, TYPE_A, 500, v4, 4);
            answers = 2;
        }
    } else if (strcmp(name, "many.example") == 0) {
        for (unsigned char i = 0; i < (type == TYPE_A ? 26 : 16); i++, answers++) {
            const unsigned char ip[16] = {192, 0, 2, i, [15] = 1};
            put_record(&p, 12, type, 60, ip, type == TYPE_A ? 4 : 16);
        }
    } else if (strcmp(name, "big.example") == 0) {
        truncated = !over_tcp;
        for (unsigned char i = 0; i < 32 && type == TYPE_A && over_tcp; i++, answers++) {
            const unsigned char ip[4] = {192, 0, 2, i};
            put_record(&p, 12, TYPE_A, 60, ip, 4);
        }
    } else if (strcmp(name, "broken.example") == 0) {
        rcode = 2; /* SERVFAIL */
    } else {
        rcode = 3; /* NXDOMAIN */
    }
    out[2] = truncated ? 0x86 : 0x84; /* answer, authoritative */
    out[3] = (unsigned char)(0x80 | rcode);
    out[6] = 0, out[7] = (unsigned char)answers;
    memset(out + 8, 0, 4);
    return (size_t)(p - out);
}

static void serve_udp(struct name_server *ns)
{
    unsigned char in[512], out[2048];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(ns->fd, in, sizeof in, 0, (struct sockaddr *)&from, &from_len);
    if (n < 17)
        return;
    ns->queries++;
    size_t len = answer(in, (size_t)n, out, false);
    if (len)
        (void)sendto(ns->fd, out, len, 0, (struct sockaddr *)&from, from_len);
}

/* Each message behind its length; one connection until its end, as the tests have no two at once.
 */
static void serve_tcp(struct name_server *ns)
{
    unsigned char in[514], out[2050];
    int fd = accept(ns->tcp, NULL, NULL);
    while (recv(fd, in, 2, MSG_WAITALL) == 2) {
        size_t want = (size_t)in[0] << 8 | in[1];
        if (want < 17 || want > sizeof in - 2 || recv(fd, in, want, MSG_WAITALL) != (ssize_t)want)
            break;
        ns->queries++;
        size_t len = answer(in, want, out + 2, true);
        out[0] = (unsigned char)(len >> 8);
        out[1] = (unsigned char)len;
        if (send(fd, out, len + 2, MSG_NOSIGNAL) < 0)
            break;
    }
    (void)close(fd);
}

static void *serve(void *arg)
{
    struct name_server *ns = arg;
    for (;;) {
        struct pollfd fds[3] = {
            {ns->fd, POLLIN, 0}, {ns->tcp, POLLIN, 0}, {ns->quit[0], POLLIN, 0}};
        if (poll(fds, 3, -1) < 0 || fds[2].revents)
            return NULL;
        if (fds[0].revents)
            serve_udp(ns);
        if (fds[1].revents)
            serve_tcp(ns);
    }
}

static struct name_server ns;
static struct tr_loop *loop;
static struct tr_dns *dns;

static int start_server(void **state)
{
    (void)state;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    ns.tcp = socket(AF_INET, SOCK_STREAM, 0);
    ns.fd = socket(AF_INET, SOCK_DGRAM, 0); /* both on the same port */
    if (bind(ns.tcp, (struct sockaddr *)&addr, len) ||
        getsockname(ns.tcp, (struct sockaddr *)&addr, &len) || listen(ns.tcp, 4) ||
        bind(ns.fd, (struct sockaddr *)&addr, len) || pipe(ns.quit))
        return -1;
    (void)snprintf(ns.text, sizeof ns.text, "127.0.0.1:%u", ntohs(addr.sin_port));
    return pthread_create(&ns.thread, NULL, serve, &ns);
}

static int stop_server(void **state)
{
    (void)state;
    (void)close(ns.quit[1]);
    (void)pthread_join(ns.thread, NULL);
    (void)close(ns.quit[0]);
    (void)close(ns.fd);
    (void)close(ns.tcp);
    return 0;
}

static int start(void **state)
{
    (void)state;
    ns.queries = 0;
    return tr_loop_new(&loop) || tr_dns_new(loop, ns.text, &dns) ? -1 : 0;
}

static int stop(void **state)
{
    (void)state;
    tr_dns_free(dns);
    tr_loop_free(loop);
    return 0;
}

/* -- asking ----------------------------------------------------------------------------------- */
struct asked {
    int calls;
    struct tr_dns_answer answer;
    struct tr_dns_query *query, *cancel;
    bool free_resolver;
};

static void on_answer(void *ctx, const struct tr_dns_answer *answer)
{
    struct asked *a = ctx;
    a->calls++;
    a->answer = *answer;
    tr_dns_cancel(a->cancel);
    if (a->free_resolver) {
        tr_dns_free(dns);
        dns = NULL;
    }
}

static void ask(struct asked *a, const char *name)
{
    memset(a, 0, sizeof *a);
    assert_int_equal(tr_dns_resolve(dns, tr_span_cstr(name), 8080, on_answer, a, &a->query), TR_OK);
    assert_int_equal(a->calls, 0);
}

static bool has(const struct asked *a, const char *text)
{
    char out[TR_ADDR_TEXT_MAX];
    for (size_t i = 0; i < a->answer.count; i++)
        if (tr_span_eq(tr_addr_text(&a->answer.addrs[i], out), tr_span_cstr(text)))
            return true;
    return false;
}

static void name_gives_both_families_and_the_least_ttl(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "both.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_OK);
    assert_int_equal(a.answer.count, 2);
    assert_true(has(&a, "192.0.2.1:8080"));
    assert_true(has(&a, "[2001:db8::7]:8080"));
    assert_int_equal(a.answer.ttl_s, 30);
    turn_idle(loop);
    assert_int_equal(a.calls, 1);
}

static void one_family_is_enough(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "v4.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.count, 1);
    assert_true(has(&a, "192.0.2.1:8080"));
    assert_int_equal(a.answer.ttl_s, 120);
}

static void ttl_of_zero_counts_as_one_second(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "zero.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_OK);
    assert_int_equal(a.answer.ttl_s, 1);
}

static void alias_is_followed_and_its_ttl_counts(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "alias.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_OK);
    assert_true(has(&a, "192.0.2.1:8080"));
    assert_int_equal(a.answer.ttl_s, 17);
}

static void more_addresses_than_fit_are_cut(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "many.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_OK);
    assert_int_equal(a.answer.count, TR_DNS_ADDRS_MAX);
}

static void truncated_answer_is_asked_for_again_over_tcp(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "big.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_OK);
    assert_int_equal(a.answer.count, 32);
    assert_true(has(&a, "192.0.2.31:8080"));
}

static void failures_are_answers(void **state)
{
    (void)state;
    static const char *const names[] = {"nobody.example", "broken.example", "", "bad..name"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct asked a;
        ask(&a, names[i]);
        TURN_UNTIL(loop, a.calls);
        assert_int_equal(a.answer.err, TR_ERR_UPSTREAM_DNS);
        assert_int_equal(a.answer.count, 0);
        assert_int_equal(a.answer.ttl_s, 5);
    }
}

static void numeric_names_need_no_query(void **state)
{
    (void)state;
    struct asked a, b;
    ask(&a, "192.0.2.77");
    ask(&b, "2001:db8::9");
    TURN_UNTIL(loop, a.calls && b.calls);
    assert_int_equal(a.answer.count, 1);
    assert_true(has(&a, "192.0.2.77:8080"));
    assert_int_equal(b.answer.count, 1);
    assert_true(has(&b, "[2001:db8::9]:8080"));
    assert_int_equal(ns.queries, 0);
}

static void hosts_file_comes_first(void **state)
{
    (void)state;
    struct asked a;
    ask(&a, "localhost");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_OK);
    assert_true(has(&a, "127.0.0.1:8080") || has(&a, "[::1]:8080"));
    assert_int_equal(a.answer.ttl_s, 60);
    assert_int_equal(ns.queries, 0);
}

static void cancelled_query_never_answers(void **state)
{
    (void)state;
    struct asked a, b, c;
    ask(&a, "both.example");
    ask(&b, "192.0.2.1");
    tr_dns_cancel(a.query);
    tr_dns_cancel(b.query);
    ask(&c, "v4.example");
    TURN_UNTIL(loop, c.calls);
    turn_idle(loop);
    assert_int_equal(a.calls + b.calls, 0);
}

static void one_answer_may_cancel_another_query(void **state)
{
    (void)state;
    struct asked a, b, c;
    ask(&a, "v4.example");
    ask(&b, "silent.example");
    ask(&c, "192.0.2.1"); /* its answer stands ready in the same turn */
    a.cancel = b.query;
    TURN_UNTIL(loop, a.calls && c.calls);
    turn_idle(loop);
    assert_int_equal(b.calls, 0);
}

static void resolver_may_go_inside_an_answer_and_with_queries_open(void **state)
{
    (void)state;
    struct asked a, b;
    ask(&a, "v4.example");
    ask(&b, "silent.example");
    a.free_resolver = true;
    TURN_UNTIL(loop, a.calls);
    turn_idle(loop);
    assert_int_equal(b.calls, 0);
}

static void silence_ends_after_five_seconds(void **state)
{
    (void)state;
    struct asked a;
    uint64_t from = tr_loop_now_ns(loop);
    ask(&a, "silent.example");
    TURN_UNTIL(loop, a.calls);
    uint64_t took = tr_loop_now_ns(loop) - from;
    assert_int_equal(a.answer.err, TR_ERR_UPSTREAM_DNS);
    assert_true(took >= 4000 * MS && took < 9000 * MS);
    assert_true(ns.queries >= 4); /* both families, and again */
}

static void server_that_is_not_there_fails(void **state)
{
    (void)state;
    struct asked a;
    tr_dns_free(dns);
    assert_int_equal(tr_dns_new(loop, "nonsense", &dns), TR_ERR_CONFIG);
    assert_int_equal(tr_dns_new(loop, "127.0.0.1:1", &dns), TR_OK);
    ask(&a, "both.example");
    TURN_UNTIL(loop, a.calls);
    assert_int_equal(a.answer.err, TR_ERR_UPSTREAM_DNS);
}

static void resolving_survives_each_failing_allocation(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 100; n++) {
        struct tr_dns *d = NULL;
        struct asked a = {.calls = 0};
        tr_alloc_fail_after(n);
        enum tr_err err = tr_dns_new(loop, ns.text, &d);
        if (!err)
            err = tr_dns_resolve(d, TR_SPAN("v4.example"), 1, on_answer, &a, &a.query);
        tr_alloc_fail_after(0);
        if (!err && n > 20) {
            TURN_UNTIL(loop, a.calls);
            assert_int_equal(a.answer.err, TR_OK);
            tr_dns_free(d);
            return;
        }
        assert_true(err == TR_OK || err == TR_ERR_NOMEM);
        tr_dns_free(d);
    }
    fail();
}

#define DNS_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DNS_TEST(name_gives_both_families_and_the_least_ttl),
        DNS_TEST(one_family_is_enough),
        DNS_TEST(ttl_of_zero_counts_as_one_second),
        DNS_TEST(alias_is_followed_and_its_ttl_counts),
        DNS_TEST(more_addresses_than_fit_are_cut),
        DNS_TEST(truncated_answer_is_asked_for_again_over_tcp),
        DNS_TEST(failures_are_answers),
        DNS_TEST(numeric_names_need_no_query),
        DNS_TEST(hosts_file_comes_first),
        DNS_TEST(cancelled_query_never_answers),
        DNS_TEST(one_answer_may_cancel_another_query),
        DNS_TEST(resolver_may_go_inside_an_answer_and_with_queries_open),
        DNS_TEST(silence_ends_after_five_seconds),
        DNS_TEST(server_that_is_not_there_fails),
        DNS_TEST(resolving_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
