/* Endpoints that are names: addresses come, go and fail. */
#include "test.h"
#include "upstream/eslot.h"
#include "upstream_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static struct world w;

/* A name server that is polled by the test: A records of one set of loopback addresses, or a
 * failure. */
static struct {
    int fd;
    char text[32];
    unsigned char last[4]; /* last bytes of 127.0.0.x */
    unsigned count, ttl, rcode, queries;
} ns;

static void ns_open(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    memset(&ns, 0, sizeof ns);
    ns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(ns.fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(ns.fd, (struct sockaddr *)&addr, &len), 0);
    (void)snprintf(ns.text, sizeof ns.text, "127.0.0.1:%u", ntohs(addr.sin_port));
}

static void ns_serve(void)
{
    unsigned char q[512], a[1024];
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    while (recvfrom(ns.fd, q, sizeof q, 0, (struct sockaddr *)&from, &from_len) > 12) {
        size_t end = 12; /* of the question */
        while (q[end])
            end += q[end] + 1u;
        bool is_a = q[end + 1] == 0 && q[end + 2] == 1;
        end += 5;
        size_t len = end;
        unsigned answers = is_a && !ns.rcode ? ns.count : 0;
        memcpy(a, q, end);
        a[2] = 0x81;
        a[3] = (unsigned char)(0x80 | ns.rcode);
        memset(a + 6, 0, 6);
        a[7] = (unsigned char)answers;
        for (unsigned i = 0; i < answers; i++) {
            const unsigned char record[16] = {
                0xc0, 12, 0, 1, 0, 1, 0, 0, 0, (unsigned char)ns.ttl, 0, 4, 127, 0, 0, ns.last[i]};
            memcpy(a + len, record, sizeof record);
            len += sizeof record;
        }
        ns.queries += is_a;
        (void)sendto(ns.fd, a, len, 0, (struct sockaddr *)&from, from_len);
    }
}

static void begin(void)
{
    w_init(&w);
    ns_open();
    ns.ttl = 1;
    assert_int_equal(tr_dns_new(w.loop, ns.text, &w.dns), TR_OK);
}

/* Two backends on 127.0.0.1 and 127.0.0.2 of the same port, behind one name. */
static void two_behind_a_name(void)
{
    struct backend *one = w_backend(&w, B_ECHO, 1), *two = w_backend(&w, B_ECHO, 1);
    struct sockaddr_in *addr = (void *)&two->addr.ss;
    backend_stop(two);
    addr->sin_port = ((struct sockaddr_in *)(void *)&one->addr.ss)->sin_port;
    addr->sin_addr.s_addr = htonl(0x7f000002);
    backend_listen(two, &two->addr);
    w.endpoints[0] = (struct tr_endpoint_conf){.host = TR_SPAN("name.test"),
                                               .port = ntohs(addr->sin_port),
                                               .authority = TR_SPAN("name.test"),
                                               .weight = 1};
    w.conf.endpoint_count = 1;
}

static void serve_for(unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        ns_serve();
        w_turns(&w, 4);
    }
}

static void serve_until_ended(unsigned count)
{
    for (unsigned i = 0; i < 3000 && w_until(&w, count, 0) < count; i++) {
        ns_serve();
        w_step(&w);
    }
}

static void finish(void)
{
    w_fini(&w);
    (void)close(ns.fd);
}

static void name_is_resolved_before_the_first_call(void **state)
{
    (void)state;
    begin();
    two_behind_a_name();
    ns.count = 2;
    ns.last[0] = 1;
    ns.last[1] = 2;
    w_cluster(&w);
    for (unsigned i = 0; i < 20; i++)
        (void)w_call(&w, "x"); /* they wait for the name */
    serve_until_ended(20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(w.calls[i].err, TR_OK);
    assert_int_equal(w.backends[0].requests + w.backends[1].requests, 20);
    assert_true(w.backends[1].requests > 0);
    assert_int_equal(tr_cluster_stats(w.cluster)->endpoints, 2);
    finish();
}

static void name_that_moves_is_followed(void **state)
{
    (void)state;
    begin();
    two_behind_a_name();
    w.backends[0].kind = B_HOLD;
    ns.count = 1;
    ns.last[0] = 1;
    w_cluster(&w);
    struct test_call *first = w_call(&w, "x");
    serve_for(50);
    assert_int_equal(w.backends[0].requests, 1);
    ns.last[0] = 2; /* moves; the TTL is a second */
    unsigned before = ns.queries;
    for (unsigned i = 0; i < 3000 && ns.queries == before; i++)
        serve_for(1);
    serve_for(20);
    struct test_call *second = w_call(&w, "y");
    serve_until_ended(1);
    assert_int_equal(second->err, TR_OK);
    assert_int_equal(w.backends[1].requests, 1);
    /* the old address finishes what it has, then its connection goes */
    assert_int_equal(first->ends, 0);
    backend_answer(w.backends[0].held[0], false);
    serve_until_ended(2);
    assert_int_equal(first->err, TR_OK);
    serve_for(20);
    assert_int_equal(tr_cluster_stats(w.cluster)->connections, 1);
    finish();
}

/* Whatever hangs on an address comes and goes with it: its place on the ring, its slot, its checks.
 */
static void name_that_moves_takes_all_it_has_along(void **state)
{
    (void)state;
    static const struct tr_health_conf health = {10000000, 1000000000, {NULL, 0}};
    static const struct tr_outlier_conf outlier = {5, 1000000000, 50};
    static struct tr_eslot slots[4];
    memset(slots, 0, sizeof slots);
    begin();
    two_behind_a_name();
    w.backends[0].kind = w.backends[1].kind = B_SERVING;
    w.conf.balance = TR_BALANCE_RING_HASH;
    w.conf.health = &health;
    w.conf.outlier = &outlier;
    w.conf.slow_start_ns = 1000000000;
    w.shared.slots = slots;
    w.shared.slot_count = 4;
    ns.count = 1;
    ns.last[0] = 1;
    w_cluster(&w);
    const unsigned counts[] = {2, 1, 2};
    for (unsigned round = 0; round < 4; round++) {
        unsigned before = ns.queries, held = 0, first = w.call_count;
        for (unsigned i = 0; i < 3000 && ns.queries == before; i++)
            serve_for(1);
        serve_for(50);
        for (uint64_t i = 0; i < 16; i++) {
            struct test_call *tc = w_call_prepare(&w, "x");
            tc->call.hash = i << 60;
            tc->call.hashed = true;
            assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
            tr_ucall_commit(&tc->call, true);
        }
        serve_until_ended(first + 16);
        for (unsigned i = first; i < first + 16; i++)
            assert_int_equal(w.calls[i].err, TR_OK);
        for (unsigned i = 0; i < 4; i++)
            held += tr_eslot_held(&slots[i]);
        assert_int_equal(held, ns.count);
        if (round < 3) {
            ns.count = counts[round];
            ns.last[0] = round == 1 ? 2 : 1;
            ns.last[1] = 2;
        }
    }
    assert_true(w.backends[1].requests > 0);
    tr_cluster_free(w.cluster);
    w.cluster = NULL;
    for (unsigned i = 0; i < 4; i++)
        assert_false(tr_eslot_held(&slots[i]));
    finish();
}

static void name_that_fails_keeps_its_addresses(void **state)
{
    (void)state;
    begin();
    two_behind_a_name();
    ns.count = 1;
    ns.last[0] = 1;
    w_cluster(&w);
    (void)w_call(&w, "x");
    serve_until_ended(1);
    ns.rcode = 3;
    unsigned before = ns.queries;
    for (unsigned i = 0; i < 3000 && ns.queries == before; i++)
        serve_for(1);
    serve_for(20);
    assert_int_equal(tr_cluster_stats(w.cluster)->dns_failures, 1);
    struct test_call *tc = w_call(&w, "y");
    serve_until_ended(2);
    assert_int_equal(tc->err, TR_OK);
    finish();
}

static void name_that_does_not_exist_is_said(void **state)
{
    (void)state;
    begin();
    two_behind_a_name();
    ns.rcode = 3;
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    serve_until_ended(1);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_DNS);
    tc = w_call(&w, "y"); /* known not to exist: no wait */
    serve_until_ended(2);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_DNS);
    finish();
}

static void name_server_that_is_silent_costs_no_more_than_the_connect_timeout(void **state)
{
    (void)state;
    begin();
    two_behind_a_name();
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(w_until(&w, 1, 2000), 1);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_DNS);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_is_resolved_before_the_first_call),
        cmocka_unit_test(name_that_moves_is_followed),
        cmocka_unit_test(name_that_moves_takes_all_it_has_along),
        cmocka_unit_test(name_that_fails_keeps_its_addresses),
        cmocka_unit_test(name_that_does_not_exist_is_said),
        cmocka_unit_test(name_server_that_is_silent_costs_no_more_than_the_connect_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
