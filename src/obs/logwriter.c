#include "obs/logwriter.h"

#include "base/alloc.h"
#include "base/counter.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define GATHER_MS      10
#define PATIENCE_MS    100 /* between looks at `stop` while a pipe is full */
#define LAST_WORDS_NS  ((uint64_t)1000000000)
#define LOOK_NS        ((uint64_t)1000000000)
#define BATCH_BYTES    ((size_t)64 * 1024)
#define LINE_MAX_BYTES PIPE_BUF

struct ring {
    char *bytes;
    _Atomic uint64_t head; /* bytes ever put; the producer's */
    uint64_t tail_seen;    /* the producer's last look at tail */
    uint64_t dropped;
    char apart[64];        /* the two sides share no cache line */
    _Atomic uint64_t tail; /* bytes ever taken; the writer's */
    char apart_too[64];
};

struct tr_logwriter {
    struct ring *rings;
    uint32_t count;
    size_t mask;
    char *path; /* NULL: standard output or error */
    int fd, event;
    bool plain;  /* a regular file: writes do not wait for a reader */
    bool torn;   /* half a line stands at the end of the file */
    bool failed; /* and was logged */
    uint64_t looked_ns;
    uint64_t until_ns; /* after it the writer waits for no reader; 0: it is not to stop */
    uint64_t dropped;  /* by the writer */
    char *batch;
    pthread_t thread;
    _Atomic bool asleep, stop;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the producer ---------------------------------------------------------------------------- */

static void wake(struct tr_logwriter *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->event, &one, sizeof one); /* fails only when it is awake anyway */
    (void)n;
}

bool tr_logwriter_put(struct tr_logwriter *w, uint32_t producer, struct tr_span line)
{
    struct ring *r = &w->rings[producer];
    size_t size = w->mask + 1;
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (line.len > LINE_MAX_BYTES) {
        tr_count(&r->dropped);
        return false;
    }
    if (size - (head - r->tail_seen) < line.len) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (size - (head - r->tail_seen) < line.len) {
            tr_count(&r->dropped);
            return false;
        }
    }
    size_t at = (size_t)head & w->mask, first = size - at < line.len ? size - at : line.len;
    memcpy(r->bytes + at, line.ptr, first);
    memcpy(r->bytes, line.ptr + first, line.len - first);
    /* in one order for all, as the writer's `asleep` and its last look at the rings */
    atomic_store_explicit(&r->head, head + line.len, memory_order_seq_cst);
    if (atomic_load_explicit(&w->asleep, memory_order_seq_cst) &&
        atomic_exchange_explicit(&w->asleep, false, memory_order_seq_cst))
        wake(w);
    return true;
}

uint64_t tr_logwriter_dropped(const struct tr_logwriter *w)
{
    uint64_t n = tr_count_load(&w->dropped);
    for (uint32_t i = 0; i < w->count; i++)
        n += tr_count_load(&w->rings[i].dropped);
    return n;
}

/* ---- the file -------------------------------------------------------------------------------- */

static int open_path(const char *path)
{
    /* O_NONBLOCK: a FIFO without a reader is an error, not a wait */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static void take_fd(struct tr_logwriter *w, int fd)
{
    struct stat st;
    w->fd = fd;
    w->plain = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    w->torn = false;
}

/* Rotation: the name stands for another file, or for none. */
static void look(struct tr_logwriter *w)
{
    struct stat ours, named;
    uint64_t now = now_ns();
    if (!w->path || now - w->looked_ns < LOOK_NS)
        return;
    w->looked_ns = now;
    if (fstat(w->fd, &ours) != 0 ||
        (stat(w->path, &named) == 0 && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev))
        return;
    int fd = open_path(w->path);
    if (fd < 0) {
        if (!w->failed)
            tr_log(TR_LOG_ERROR, "the access log cannot be opened anew; the old file goes on");
        w->failed = true;
        return;
    }
    w->failed = false;
    (void)close(w->fd);
    take_fd(w, fd);
}

static uint64_t count_lines(const char *p, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += p[i] == '\n';
    return n;
}

/* false: it cannot be written, or the reader did not come before the last words were over. */
static bool wait_for_reader(struct tr_logwriter *w)
{
    struct pollfd p = {.fd = w->fd, .events = POLLOUT};
    for (;;) {
        bool over = w->until_ns && now_ns() >= w->until_ns;
        int n = poll(&p, 1, over ? 0 : PATIENCE_MS);
        if (n > 0)
            return (p.revents & POLLOUT) != 0;
        if (over || (n < 0 && errno != EINTR))
            return false;
        if (!w->until_ns && atomic_load_explicit(&w->stop, memory_order_relaxed))
            w->until_ns = now_ns() + LAST_WORDS_NS;
    }
}

/* Whole lines. Lines that do not go out are counted. */
static void write_lines(struct tr_logwriter *w, const char *p, size_t len)
{
    if (w->torn && write(w->fd, "\n", 1) == 1)
        w->torn = false;
    while (len) {
        if (!w->plain && !wait_for_reader(w))
            break;
        ssize_t n = write(w->fd, p, len);
        if (n < 0 && (errno == EINTR || (errno == EAGAIN && !w->plain)))
            continue;
        if (n <= 0)
            break;
        w->torn = p[n - 1] != '\n';
        p += n;
        len -= (size_t)n;
    }
    if (len)
        __atomic_store_n(&w->dropped, w->dropped + count_lines(p, len), __ATOMIC_RELAXED);
}

/* ---- the writer ------------------------------------------------------------------------------ */

/* Copies whole lines of the ring to the batch, at most `max` bytes; returns how many. A ring never
 * ends in half a line. */
static size_t take(struct tr_logwriter *w, struct ring *r, size_t max)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_seq_cst);
    size_t n = head - tail < max ? (size_t)(head - tail) : max;
    size_t at = (size_t)tail & w->mask, size = w->mask + 1, first = size - at < n ? size - at : n;
    memcpy(w->batch, r->bytes + at, first);
    memcpy(w->batch + first, r->bytes, n - first);
    while (n && w->batch[n - 1] != '\n')
        n--;
    atomic_store_explicit(&r->tail, tail + n, memory_order_release);
    return n;
}

/* One batch of each ring, so that a busy one does not keep the others waiting; returns the bytes.
 */
static size_t empty_rings(struct tr_logwriter *w)
{
    size_t max = w->plain ? BATCH_BYTES : PIPE_BUF, all = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        size_t n = take(w, &w->rings[i], max);
        if (n == 0)
            continue;
        if (all == 0)
            look(w);
        all += n;
        write_lines(w, w->batch, n);
    }
    return all;
}

static void rest(struct tr_logwriter *w, int ms)
{
    struct pollfd p = {.fd = w->event, .events = POLLIN};
    uint64_t counted;
    if (poll(&p, 1, ms) > 0) {
        ssize_t n = read(w->event, &counted, sizeof counted);
        (void)n;
    }
}

static void *run(void *arg)
{
    struct tr_logwriter *w = arg;
    while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
        size_t n = empty_rings(w);
        if (n) {
            if (n < (w->plain ? BATCH_BYTES : PIPE_BUF) / 2) /* else there may be more at once */
                rest(w, GATHER_MS);
            continue;
        }
        atomic_store_explicit(&w->asleep, true, memory_order_seq_cst);
        if (empty_rings(w) == 0 && !atomic_load_explicit(&w->stop, memory_order_acquire))
            rest(w, -1);
        atomic_store_explicit(&w->asleep, false, memory_order_seq_cst);
    }
    if (!w->until_ns)
        w->until_ns = now_ns() + LAST_WORDS_NS;
    while (empty_rings(w))
        ;
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_parts(struct tr_logwriter *w)
{
    if (w->path && w->fd >= 0)
        (void)close(w->fd);
    if (w->event >= 0)
        (void)close(w->event);
    for (uint32_t i = 0; w->rings && i < w->count; i++)
        tr_free(w->rings[i].bytes);
    tr_free(w->rings);
    tr_free(w->batch);
    tr_free(w->path);
    tr_free(w);
}

static enum tr_err open_output(struct tr_logwriter *w, struct tr_span output, struct tr_status *st)
{
    bool out = tr_span_eq(output, TR_SPAN("stdout"));
    if (out || tr_span_eq(output, TR_SPAN("stderr"))) {
        take_fd(w, out ? STDOUT_FILENO : STDERR_FILENO);
        return TR_OK;
    }
    w->path = tr_malloc(output.len + 1);
    if (!w->path)
        return TR_ERR_NOMEM;
    memcpy(w->path, output.ptr, output.len);
    w->path[output.len] = 0;
    int fd = open_path(w->path);
    if (fd < 0)
        return tr_fail(st, TR_ERR_IO, "the access log %.*s cannot be opened: %s",
                       (int)(output.len < 200 ? output.len : 200), output.ptr,
                       strerrordesc_np(errno));
    take_fd(w, fd);
    w->looked_ns = now_ns();
    return TR_OK;
}

static enum tr_err start_thread(struct tr_logwriter *w)
{
    sigset_t all, old;
    (void)sigfillset(&all); /* signals are the main thread's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&w->thread, NULL, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed ? TR_ERR_NOMEM : TR_OK;
}

enum tr_err tr_logwriter_new(struct tr_span output, uint32_t producers, size_t ring_bytes,
                             struct tr_logwriter **ret_writer, struct tr_status *st)
{
    struct tr_logwriter *w = tr_calloc(1, sizeof *w);
    if (!w)
        return TR_ERR_NOMEM;
    w->fd = w->event = -1;
    w->mask = ring_bytes - 1;
    w->count = producers;
    w->rings = tr_calloc(producers, sizeof *w->rings);
    w->batch = tr_malloc(BATCH_BYTES);
    bool ok = w->rings && w->batch;
    for (uint32_t i = 0; ok && i < producers; i++)
        ok = (w->rings[i].bytes = tr_malloc(ring_bytes)) != NULL;
    enum tr_err err = ok ? open_output(w, output, st) : TR_ERR_NOMEM;
    if (!err) {
        w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        err = w->event < 0 ? TR_ERR_IO : start_thread(w);
    }
    if (err) {
        free_parts(w);
        return err;
    }
    *ret_writer = w;
    return TR_OK;
}

void tr_logwriter_free(struct tr_logwriter *w)
{
    if (!w)
        return;
    atomic_store_explicit(&w->stop, true, memory_order_release);
    wake(w);
    (void)pthread_join(w->thread, NULL);
    free_parts(w);
}
