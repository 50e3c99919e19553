#include "test.h"
#include "turn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct tr_loop *loop;
static char dir[64], path[96], unix_text[112];

static int start(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/transom-listener-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof path, "%s/socket", dir);
    (void)snprintf(unix_text, sizeof unix_text, "unix:%s", path);
    return tr_loop_new(&loop) == TR_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    tr_loop_free(loop);
    (void)unlink(path);
    return rmdir(dir);
}

struct counter {
    int accepted;
    struct tr_addr peer;
    struct tr_listener *l;
    bool close_listener;
};

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct counter *c = ctx;
    c->accepted++;
    c->peer = *peer;
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    (void)close(fd);
    if (c->close_listener) {
        tr_listener_close(c->l);
        c->l = NULL;
    }
}

static enum tr_err open_at(struct counter *c, const struct tr_addr *addr, struct tr_status *st)
{
    memset(c, 0, sizeof *c);
    return tr_listener_open(loop, addr, on_accept, c, &c->l, st);
}

static struct tr_addr addr_of(const char *text)
{
    struct tr_addr addr;
    assert_int_equal(tr_addr_parse(tr_span_cstr(text), &addr, NULL), TR_OK);
    return addr;
}

static int dial(const struct tr_addr *addr)
{
    int fd = socket(addr->ss.ss_family, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&addr->ss, addr->len) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static void port_zero_is_resolved_and_may_be_shared(void **state)
{
    (void)state;
    struct counter a, b;
    struct tr_addr any = addr_of("127.0.0.1:0");
    assert_int_equal(open_at(&a, &any, NULL), TR_OK);
    char text[TR_ADDR_TEXT_MAX];
    assert_false(tr_span_ends(tr_addr_text(tr_listener_addr(a.l), text), TR_SPAN(":0")));
    assert_int_equal(open_at(&b, tr_listener_addr(a.l), NULL), TR_OK);
    int fds[32];
    for (int i = 0; i < 32; i++) {
        fds[i] = dial(tr_listener_addr(b.l));
        assert_true(fds[i] >= 0);
    }
    TURN_UNTIL(loop, a.accepted + b.accepted == 32);
    for (int i = 0; i < 32; i++)
        (void)close(fds[i]);
    assert_int_equal(a.accepted ? a.peer.ss.ss_family : b.peer.ss.ss_family, AF_INET);
    tr_listener_close(a.l);
    tr_listener_close(b.l);
}

static void address_in_use_is_told(void **state)
{
    (void)state;
    struct counter a;
    struct tr_status st;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct tr_addr addr = {.len = sizeof in};
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* a stranger without SO_REUSEPORT */
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr.ss, &addr.len), 0);
    tr_status_clear(&st);
    assert_int_equal(open_at(&a, &addr, &st), TR_ERR_CONFIG);
    assert_true(tr_span_ends(tr_status_text(&st), TR_SPAN(": bind: Address already in use")));
    (void)close(fd);
}

static void address_of_another_listener_is_not_shared_unasked(void **state)
{
    (void)state;
    struct counter c;
    struct tr_status st;
    const char *texts[] = {"127.0.0.1:0", "[::1]:0"};
    tr_status_clear(&st);
    for (size_t i = 0; i < 2; i++) {
        struct tr_addr addr = addr_of(texts[i]);
        assert_int_equal(tr_addr_probe(&addr, &st), TR_OK);
        assert_int_equal(open_at(&c, &addr, &st), TR_OK);
        addr = *tr_listener_addr(c.l);
        assert_int_equal(tr_addr_probe(&addr, &st), TR_ERR_CONFIG);
        assert_true(tr_span_ends(tr_status_text(&st), TR_SPAN(": bind: Address already in use")));
        tr_listener_close(c.l);
        assert_int_equal(tr_addr_probe(&addr, &st), TR_OK);
        tr_status_clear(&st);
    }
    struct tr_addr addr = addr_of(unix_text);
    assert_int_equal(tr_addr_probe(&addr, &st), TR_OK);
}

static void listener_may_be_closed_in_its_callback(void **state)
{
    (void)state;
    struct counter a;
    struct tr_addr any = addr_of("127.0.0.1:0");
    assert_int_equal(open_at(&a, &any, NULL), TR_OK);
    a.close_listener = true;
    int one = dial(tr_listener_addr(a.l)), two = dial(tr_listener_addr(a.l));
    TURN_UNTIL(loop, !a.l);
    turn_idle(loop);
    assert_int_equal(a.accepted, 1);
    (void)close(one);
    (void)close(two);
}

static void unix_socket_is_bound_shared_and_removed(void **state)
{
    (void)state;
    struct counter a, b;
    struct tr_addr addr = addr_of(unix_text);
    struct stat sb;
    assert_int_equal(open_at(&a, &addr, NULL), TR_OK);
    assert_int_equal(open_at(&b, &addr, NULL), TR_OK); /* another worker's */
    int fd = dial(&addr);
    assert_true(fd >= 0);
    TURN_UNTIL(loop, a.accepted + b.accepted == 1);
    (void)close(fd);
    tr_listener_close(a.l);
    fd = dial(&addr);
    assert_true(fd >= 0);
    int before = b.accepted;
    TURN_UNTIL(loop, b.accepted == before + 1);
    (void)close(fd);
    tr_listener_close(b.l);
    assert_int_not_equal(lstat(path, &sb), 0);
    assert_int_equal(errno, ENOENT);
}

static void stale_unix_socket_is_replaced(void **state)
{
    (void)state;
    struct counter a;
    struct tr_addr addr = addr_of(unix_text);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr.ss, addr.len), 0);
    (void)close(fd); /* the file stays */
    assert_int_equal(open_at(&a, &addr, NULL), TR_OK);
    tr_listener_close(a.l);
}

static void living_unix_socket_is_not_replaced(void **state)
{
    (void)state;
    struct counter a;
    struct tr_addr addr = addr_of(unix_text);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr.ss, addr.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(open_at(&a, &addr, NULL), TR_ERR_CONFIG);
    assert_int_equal(access(path, F_OK), 0);
    (void)close(fd);
}

static void file_in_the_way_is_not_removed(void **state)
{
    (void)state;
    struct counter a;
    struct tr_addr addr = addr_of(unix_text);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(open_at(&a, &addr, NULL), TR_ERR_CONFIG);
    assert_int_equal(access(path, F_OK), 0);
}

static void without_descriptors_it_pauses_and_goes_on(void **state)
{
    (void)state;
    struct counter a;
    struct tr_addr any = addr_of("127.0.0.1:0");
    struct rlimit old, tight;
    assert_int_equal(open_at(&a, &any, NULL), TR_OK);
    int fd = dial(tr_listener_addr(a.l));
    assert_true(fd >= 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    tight = old;
    tight.rlim_cur = (rlim_t)fd + 1; /* descriptors are given out lowest first: none is left */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    TURN_UNTIL(loop, tr_listener_accept_failures(a.l) == 1);
    turn_idle(loop);
    uint64_t failures = tr_listener_accept_failures(a.l);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(failures, 1); /* no spinning */
    assert_int_equal(a.accepted, 0);
    TURN_UNTIL(loop, a.accepted == 1);
    (void)close(fd);
    tr_listener_close(a.l);
}

static void opening_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct tr_addr addrs[2] = {addr_of("127.0.0.1:0"), addr_of(unix_text)};
    for (int k = 0; k < 2; k++) {
        for (uint64_t n = 1;; n++) {
            struct counter a;
            tr_alloc_fail_after(n);
            enum tr_err err = open_at(&a, &addrs[k], NULL);
            tr_alloc_fail_after(0);
            if (!err) {
                tr_listener_close(a.l);
                break;
            }
            assert_int_equal(err, TR_ERR_NOMEM);
            assert_true(n < 100);
        }
    }
}

#define LISTENER_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(port_zero_is_resolved_and_may_be_shared),
        LISTENER_TEST(address_in_use_is_told),
        LISTENER_TEST(address_of_another_listener_is_not_shared_unasked),
        LISTENER_TEST(listener_may_be_closed_in_its_callback),
        LISTENER_TEST(unix_socket_is_bound_shared_and_removed),
        LISTENER_TEST(stale_unix_socket_is_replaced),
        LISTENER_TEST(living_unix_socket_is_not_replaced),
        LISTENER_TEST(file_in_the_way_is_not_removed),
        LISTENER_TEST(without_descriptors_it_pauses_and_goes_on),
        LISTENER_TEST(opening_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
