#include "io/listener.h"

#include "base/alloc.h"
#include "base/counter.h"
#include "io/stream_int.h"
#include "io/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define PAUSE_NS         (UINT64_C(100) * 1000000)
#define BACKLOG          4096 /* the kernel cuts it to somaxconn */

/* A Unix path can be bound once only: the listeners of all workers on it are duplicates of one
 * descriptor, which this list, the only thing here that threads share, finds by path. Touched at
 * start and stop. */
struct shared_path {
    struct tr_list node;
    struct tr_addr addr;
    int fd;
    unsigned users;
};
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tr_list shared_paths = {&shared_paths, &shared_paths};

struct tr_listener {
    struct tr_watch watch;
    struct tr_timer pause;
    struct tr_addr addr;
    struct shared_path *shared; /* NULL: TCP */
    int fd;
    bool closed;
    uint64_t failures;
    uint64_t *counter; /* NULL: none */
    void (*on_accept)(void *ctx, int fd, const struct tr_addr *peer);
    void *ctx;
};

/* -- accepting -------------------------------------------------------------------------------- */
static bool out_of_descriptors(int err)
{
    return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static void on_watch(struct tr_watch *w, unsigned events)
{
    struct tr_listener *l = tr_container_of(w, struct tr_listener, watch);
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && !l->closed; i++) {
        struct tr_addr peer;
        peer.len = sizeof peer.ss;
        int fd =
            accept4(l->fd, (struct sockaddr *)&peer.ss, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->on_accept(l->ctx, fd, &peer);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (out_of_descriptors(errno)) {
            /* the connection stays in the backlog and the event level-triggered: without a pause
             * this would spin */
            l->failures++;
            if (l->counter)
                tr_count(l->counter);
            if (tr_timer_start(&l->pause, PAUSE_NS) == TR_OK)
                tr_watch_want(&l->watch, 0);
            return;
        }
        /* otherwise it is the error of a connection that has died in the backlog (accept(2)): the
         * next one */
    }
}

static void on_pause_end(struct tr_timer *timer)
{
    struct tr_listener *l = tr_container_of(timer, struct tr_listener, pause);
    tr_watch_want(&l->watch, TR_WATCH_READ);
}

/* -- opening ---------------------------------------------------------------------------------- */
static enum tr_err fail(int fd, const struct tr_addr *addr, const char *what, struct tr_status *st)
{
    int err = errno;
    char text[TR_ADDR_TEXT_MAX];
    if (fd >= 0)
        (void)close(fd);
    return tr_fail(st, TR_ERR_CONFIG, "%s: %s: %s", tr_addr_text(addr, text).ptr, what,
                   tr_stream_errno_text(err));
}

static enum tr_err open_tcp(const struct tr_addr *addr, int *ret_fd, struct tr_status *st)
{
    int one = 1;
    int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, addr, "socket", st);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) != 0)
        return fail(fd, addr, "SO_REUSEPORT", st);
    if (addr->ss.ss_family == AF_INET6) /* 0.0.0.0 may be another listener */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&addr->ss, addr->len) != 0)
        return fail(fd, addr, "bind", st);
    if (listen(fd, BACKLOG) != 0)
        return fail(fd, addr, "listen", st);
    *ret_fd = fd;
    return TR_OK;
}

enum tr_err tr_addr_probe(const struct tr_addr *addr, struct tr_status *st)
{
    int one = 1;
    if (addr->ss.ss_family == AF_UNIX)
        return TR_OK;
    int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(fd, addr, "socket", st);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (addr->ss.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)&addr->ss, addr->len) != 0)
        return fail(fd, addr, "bind", st);
    (void)close(fd);
    return TR_OK;
}

static const char *path_of(const struct tr_addr *addr)
{
    return ((const struct sockaddr_un *)&addr->ss)->sun_path;
}

/* Removes the socket that a process which is gone left behind; anything else at the path makes bind
 * fail. */
static void remove_stale(const struct tr_addr *addr)
{
    struct stat sb;
    if (lstat(path_of(addr), &sb) != 0 || !S_ISSOCK(sb.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)&addr->ss, addr->len) != 0 && errno == ECONNREFUSED)
        (void)unlink(path_of(addr));
    (void)close(fd);
}

static struct shared_path *shared_find(const struct tr_addr *addr)
{
    tr_list_for_each (node, next, &shared_paths) {
        struct shared_path *p = tr_container_of(node, struct shared_path, node);
        if (p->addr.len == addr->len && strcmp(path_of(&p->addr), path_of(addr)) == 0)
            return p;
    }
    return NULL;
}

static enum tr_err shared_new(const struct tr_addr *addr, struct shared_path **ret,
                              struct tr_status *st)
{
    struct shared_path *p = tr_calloc(1, sizeof *p);
    if (!p)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    p->addr = *addr;
    remove_stale(addr);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr->ss, addr->len) != 0) {
        tr_free(p);
        return fail(fd, addr, "bind", st);
    }
    if (listen(fd, BACKLOG) != 0) {
        (void)unlink(path_of(addr));
        tr_free(p);
        return fail(fd, addr, "listen", st);
    }
    p->fd = fd;
    tr_list_push_back(&shared_paths, &p->node);
    *ret = p;
    return TR_OK;
}

/* With the lock held. */
static void shared_unref(struct shared_path *p)
{
    if (--p->users > 0)
        return;
    tr_list_remove(&p->node);
    (void)unlink(path_of(&p->addr));
    (void)close(p->fd);
    tr_free(p);
}

static enum tr_err open_unix(const struct tr_addr *addr, struct shared_path **ret_shared,
                             int *ret_fd, struct tr_status *st)
{
    enum tr_err err = TR_OK;
    (void)pthread_mutex_lock(&shared_lock);
    struct shared_path *p = shared_find(addr);
    if (!p)
        err = shared_new(addr, &p, st);
    if (p) {
        p->users++;
        int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            err = fail(-1, addr, "dup", st);
            shared_unref(p);
        } else {
            *ret_fd = fd;
            *ret_shared = p;
        }
    }
    (void)pthread_mutex_unlock(&shared_lock);
    return err;
}

static void release_fd(struct tr_listener *l)
{
    (void)close(l->fd);
    if (!l->shared)
        return;
    (void)pthread_mutex_lock(&shared_lock);
    shared_unref(l->shared);
    (void)pthread_mutex_unlock(&shared_lock);
}

enum tr_err tr_listener_open(struct tr_loop *loop, const struct tr_addr *addr,
                             void (*on_accept)(void *ctx, int fd, const struct tr_addr *peer),
                             void *ctx, struct tr_listener **ret_listener, struct tr_status *st)
{
    struct tr_listener *l = tr_calloc(1, sizeof *l);
    if (!l)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    enum tr_err err = addr->ss.ss_family == AF_UNIX ? open_unix(addr, &l->shared, &l->fd, st)
                                                    : open_tcp(addr, &l->fd, st);
    if (err) {
        tr_free(l);
        return err;
    }
    l->addr = *addr;
    if (!l->shared) {
        l->addr.len = sizeof l->addr.ss;
        (void)getsockname(l->fd, (struct sockaddr *)&l->addr.ss, &l->addr.len);
    }
    err = tr_watch_init(&l->watch, loop, l->fd, on_watch);
    if (err) {
        release_fd(l);
        tr_free(l);
        return tr_fail(st, err, "the event loop takes no more descriptors");
    }
    tr_timer_init(&l->pause, loop, on_pause_end);
    l->on_accept = on_accept;
    l->ctx = ctx;
    tr_watch_want(&l->watch, TR_WATCH_READ);
    *ret_listener = l;
    return TR_OK;
}

const struct tr_addr *tr_listener_addr(const struct tr_listener *l)
{
    return &l->addr;
}

uint64_t tr_listener_accept_failures(const struct tr_listener *l)
{
    return l->failures;
}

void tr_listener_count_failures(struct tr_listener *l, uint64_t *counter)
{
    l->counter = counter;
}

static void on_closed(struct tr_watch *w)
{
    tr_free(tr_container_of(w, struct tr_listener, watch));
}

void tr_listener_close(struct tr_listener *l)
{
    if (!l)
        return;
    l->closed = true;
    tr_timer_stop(&l->pause);
    tr_watch_close(&l->watch, on_closed);
    release_fd(l);
}
