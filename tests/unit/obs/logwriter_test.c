#include "obs/logwriter.h"

#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char dir[64], path[96], other[96];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof dir, "/tmp/logwriter-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    (void)snprintf(path, sizeof path, "%s/log", dir);
    (void)snprintf(other, sizeof other, "%s/log.1", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(other);
    return rmdir(dir);
}

static struct tr_logwriter *open_writer(uint32_t producers, size_t ring)
{
    struct tr_logwriter *w = NULL;
    struct tr_status st;
    assert_int_equal(tr_logwriter_new(tr_span_cstr(path), producers, ring, &w, &st), TR_OK);
    return w;
}

static size_t read_all(const char *name, char *text, size_t cap)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t k;
    if (fd < 0)
        return 0;
    while (n < cap && (k = read(fd, text + n, cap - n)) > 0)
        n += (size_t)k;
    assert_int_equal(close(fd), 0);
    return n;
}

static struct tr_span text_of(char out[64], unsigned producer, unsigned i)
{
    int n = snprintf(out, 64, "%u %u %.*s\n", producer, i, (int)(i % 40),
                     "........................................");
    return tr_span(out, (size_t)n);
}

static void nap(void)
{
    const struct timespec ms = {0, 1000000};
    (void)nanosleep(&ms, NULL);
}

static void logwriter_writes_what_is_put_in_order(void **state)
{
    static char want[64 * 1024], got[64 * 1024];
    char line[64];
    size_t n = 0;
    (void)state;
    struct tr_logwriter *w = open_writer(1, 64 * 1024);
    for (unsigned i = 0; i < 1000; i++) {
        struct tr_span s = text_of(line, 0, i);
        assert_true(tr_logwriter_put(w, 0, s));
        memcpy(want + n, s.ptr, s.len);
        n += s.len;
    }
    assert_int_equal(tr_logwriter_dropped(w), 0);
    tr_logwriter_free(w);
    assert_int_equal(read_all(path, got, sizeof got), n);
    assert_memory_equal(got, want, n);
}

static void logwriter_appends(void **state)
{
    char got[64];
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct tr_logwriter *w = open_writer(1, 4096);
        assert_true(tr_logwriter_put(w, 0, TR_SPAN("line\n")));
        tr_logwriter_free(w);
    }
    assert_int_equal(read_all(path, got, sizeof got), 15);
    assert_memory_equal(got, "line\nline\nline\n", 15);
}

struct producer {
    struct tr_logwriter *writer;
    unsigned id, count, put;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    char line[64];
    for (unsigned i = 0; i < p->count; i++)
        p->put += tr_logwriter_put(p->writer, p->id, text_of(line, p->id, i));
    return NULL;
}

/* Small rings, several threads: each line whole, each producer's in order, none twice, and those
 * that are missing are counted. */
static void logwriter_threads_lose_nothing_that_is_not_counted(void **state)
{
    enum { THREADS = 3, LINES = 20000 };
    static char got[4 * 1024 * 1024];
    pthread_t threads[THREADS];
    struct producer producers[THREADS];
    unsigned next[THREADS] = {0}, put = 0, seen = 0;
    (void)state;
    struct tr_logwriter *w = open_writer(THREADS, 4096);
    for (unsigned i = 0; i < THREADS; i++) {
        producers[i] = (struct producer){w, i, LINES, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        put += producers[i].put;
    }
    assert_int_equal(tr_logwriter_dropped(w), THREADS * LINES - put);
    tr_logwriter_free(w);
    struct tr_span rest = tr_span(got, read_all(path, got, sizeof got));
    assert_true(rest.len > 0 && rest.ptr[rest.len - 1] == '\n');
    rest.len--;
    while (rest.ptr) {
        struct tr_span line = tr_span_cut(&rest, '\n');
        char want[64];
        unsigned id = (unsigned)(line.ptr[0] - '0'), i = (unsigned)strtoul(line.ptr + 2, NULL, 10);
        assert_true(id < THREADS && i < LINES && i >= next[id]);
        struct tr_span whole = text_of(want, id, i);
        assert_int_equal(line.len + 1, whole.len);
        assert_memory_equal(line.ptr, whole.ptr, line.len);
        next[id] = i + 1;
        seen++;
    }
    assert_int_equal(seen, put);
}

static void logwriter_a_slow_reader_costs_lines_and_no_time(void **state)
{
    static char got[256 * 1024];
    int fds[2];
    char line[64], name[64];
    unsigned put = 0;
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fds[1]);
    struct tr_logwriter *w = NULL;
    struct tr_status st;
    assert_int_equal(tr_logwriter_new(tr_span_cstr(name), 1, 8192, &w, &st), TR_OK);
    unsigned i = 0;
    while (tr_logwriter_dropped(w) < 100 && i < 10000000) /* nobody reads: pipe, batch, ring fill */
        put += tr_logwriter_put(w, 0, text_of(line, 0, i++));
    assert_true(tr_logwriter_dropped(w) >= 100);
    assert_int_equal(put, i - tr_logwriter_dropped(w));
    tr_logwriter_free(w); /* ends though the pipe is full */
    assert_int_equal(close(fds[1]), 0);
    size_t n = 0;
    ssize_t k;
    while ((k = read(fds[0], got + n, sizeof got - n)) > 0)
        n += (size_t)k;
    assert_int_equal(close(fds[0]), 0);
    assert_true(n > 0 && got[n - 1] == '\n');
    struct tr_span rest = tr_span(got, n - 1); /* no line is torn */
    for (unsigned next = 0; rest.ptr;) {
        struct tr_span one = tr_span_cut(&rest, '\n');
        unsigned index = (unsigned)strtoul(one.ptr + 2, NULL, 10);
        assert_true(index >= next && index < i);
        struct tr_span want = text_of(line, 0, index);
        assert_int_equal(one.len + 1, want.len);
        assert_memory_equal(one.ptr, want.ptr, one.len);
        next = index + 1;
    }
}

static void logwriter_follows_a_rotated_file(void **state)
{
    struct stat st;
    (void)state;
    struct tr_logwriter *w = open_writer(1, 4096);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("old\n")));
    for (unsigned i = 0; i < 20000 && (stat(path, &st) != 0 || st.st_size == 0); i++)
        nap();
    assert_int_equal(rename(path, other), 0);
    for (unsigned i = 0; i < 20000 && (stat(path, &st) != 0 || st.st_size == 0); i++) {
        (void)tr_logwriter_put(w, 0, TR_SPAN("new\n"));
        nap();
    }
    tr_logwriter_free(w);
    char got[8];
    assert_true(read_all(path, got, 4) == 4);
    assert_memory_equal(got, "new\n", 4);
    assert_true(read_all(other, got, 4) == 4);
    assert_memory_equal(got, "old\n", 4);
}

static void logwriter_lines_that_are_too_long_are_dropped(void **state)
{
    static char text[5000];
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\n';
    struct tr_logwriter *w = open_writer(1, 16384);
    assert_false(tr_logwriter_put(w, 0, tr_span(text, sizeof text)));
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("short\n")));
    assert_int_equal(tr_logwriter_dropped(w), 1);
    tr_logwriter_free(w);
    assert_int_equal(read_all(path, text, sizeof text), 6);
}

static void logwriter_full_disks_are_counted(void **state)
{
    struct tr_logwriter *w = NULL;
    struct tr_status st;
    (void)state;
    assert_int_equal(tr_logwriter_new(TR_SPAN("/dev/full"), 1, 4096, &w, &st), TR_OK);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("one\n")));
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("two\n")));
    for (unsigned i = 0; i < 20000 && tr_logwriter_dropped(w) < 2; i++)
        nap();
    assert_int_equal(tr_logwriter_dropped(w), 2);
    tr_logwriter_free(w);
}

static void await_dropped(const struct tr_logwriter *w, uint64_t want)
{
    for (unsigned i = 0; i < 20000 && tr_logwriter_dropped(w) < want; i++)
        nap();
    assert_int_equal(tr_logwriter_dropped(w), want);
}

/* The disk fills up in the middle of a line: that line is counted, the next one begins on a line of
 * its own. */
static void logwriter_half_a_line_ends_before_the_next(void **state)
{
    struct rlimit old, low;
    char got[64];
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 10;
    struct tr_logwriter *w = open_writer(1, 4096);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("12345\n")));
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("abcdefgh\n")));
    for (unsigned i = 0; i < 20000 && tr_logwriter_dropped(w) < 1; i++)
        nap();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    await_dropped(w, 1);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("next\n")));
    tr_logwriter_free(w);
    assert_span_equal(tr_span(got, read_all(path, got, sizeof got)), "12345\nabcd\nnext\n");
}

/* Reads until a line has come. */
static void read_line(int fd, const char *want)
{
    char got[64];
    size_t n = 0;
    for (unsigned i = 0; i < 20000 && (n == 0 || got[n - 1] != '\n'); i++) {
        ssize_t k = read(fd, got + n, sizeof got - n);
        n += k > 0 ? (size_t)k : 0;
        nap();
    }
    assert_span_equal(tr_span(got, n), want);
}

static void logwriter_a_reader_may_leave_and_come_back(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct tr_logwriter *w = open_writer(1, 4096);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("one\n")));
    read_line(fd, "one\n");
    assert_int_equal(close(fd), 0);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("two\n")));
    await_dropped(w, 1);
    fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(tr_logwriter_put(w, 0, TR_SPAN("three\n")));
    read_line(fd, "three\n");
    tr_logwriter_free(w);
    assert_int_equal(close(fd), 0);
}

static bool ends_with_in(const char *name, const char *line)
{
    static char text[65536];
    return tr_span_ends(tr_span(text, read_all(name, text, sizeof text)), tr_span_cstr(line));
}

static void logwriter_goes_on_with_the_old_file_where_no_new_one_opens(void **state)
{
    (void)state;
    struct tr_logwriter *w = open_writer(1, 4096);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < 1500; i++) { /* longer than it waits before it looks */
        (void)tr_logwriter_put(w, 0, TR_SPAN("old\n"));
        nap();
    }
    for (unsigned i = 0; i < 20000 && !ends_with_in(other, "old\n"); i++)
        nap();
    assert_true(ends_with_in(other, "old\n"));
    assert_int_equal(rmdir(path), 0);
    for (unsigned i = 0; i < 20000 && !ends_with_in(path, "new\n"); i++) {
        (void)tr_logwriter_put(w, 0, TR_SPAN("new\n"));
        nap();
    }
    assert_true(ends_with_in(path, "new\n"));
    assert_int_equal(tr_logwriter_dropped(w), 0);
    tr_logwriter_free(w);
}

static void logwriter_what_cannot_be_opened_is_told(void **state)
{
    struct tr_logwriter *w = NULL;
    struct tr_status st;
    (void)state;
    tr_status_clear(&st);
    assert_int_equal(tr_logwriter_new(TR_SPAN("/nowhere/log"), 1, 4096, &w, &st), TR_ERR_IO);
    assert_int_equal(st.err, TR_ERR_IO);
    for (uint64_t n = 1;; n++) {
        tr_alloc_fail_after(n);
        enum tr_err err = tr_logwriter_new(tr_span_cstr(path), 2, 4096, &w, &st);
        tr_alloc_fail_after(0);
        if (err == TR_OK)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
    }
    tr_logwriter_free(w);
    tr_logwriter_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(logwriter_writes_what_is_put_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(logwriter_appends, setup, teardown),
        cmocka_unit_test_setup_teardown(logwriter_threads_lose_nothing_that_is_not_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(logwriter_a_slow_reader_costs_lines_and_no_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(logwriter_follows_a_rotated_file, setup, teardown),
        cmocka_unit_test_setup_teardown(logwriter_lines_that_are_too_long_are_dropped, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(logwriter_full_disks_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(logwriter_half_a_line_ends_before_the_next, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(logwriter_a_reader_may_leave_and_come_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(logwriter_goes_on_with_the_old_file_where_no_new_one_opens,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(logwriter_what_cannot_be_opened_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
