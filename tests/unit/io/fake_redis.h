/* A server that speaks RESP2 as the test says, a link to it, and calls. */
#ifndef TR_TESTS_FAKE_REDIS_H
#define TR_TESTS_FAKE_REDIS_H

#include "io/kv_redis.h"
#include "io/listener.h"
#include "io/stream.h"
#include "test.h"
#include "turn.h"

#include <stdio.h>

#define SHA "0123456789abcdef0123456789abcdef01234567"

/* ---- a server that answers as the test says ----------------------------------------------------
 */

struct fake {
    struct tr_listener *l;
    struct tr_stream *s;
    int accepted, commands, greetings;
    char log[4096]; /* the names of commands, with a space each */
    char in[1 << 16];
    size_t in_len;
    char out[1 << 16];
    size_t out_len, out_pos;
    size_t piece; /* bytes a turn that it sends; 0: all; SIZE_MAX: as the seed says */
    uint64_t seed;
    bool mute;   /* reads and never answers */
    bool frozen; /* does not even read */
    const char *greeting_error;
    /* The answer of a call, the n-th of all; NULL: none. */
    const char *(*answer)(struct fake *f, int n, const struct tr_span *argv, int argc);
    const char *fixed;
};

static struct tr_loop *loop;
static struct fake fake;
static struct tr_kv_redis *link;
static char where[64];

static inline void fake_say(const char *text)
{
    size_t n = strlen(text);
    assert_true(fake.out_len + n <= sizeof fake.out);
    memcpy(fake.out + fake.out_len, text, n);
    fake.out_len += n;
}

static inline void on_command(const struct tr_span *argv, int argc)
{
    size_t at = strlen(fake.log);
    (void)snprintf(fake.log + at, sizeof fake.log - at, "%.*s ", (int)argv[0].len, argv[0].ptr);
    if (fake.mute)
        return;
    if (tr_span_eq(argv[0], TR_SPAN("EVALSHA")) || tr_span_eq(argv[0], TR_SPAN("EVAL"))) {
        int n = fake.commands++;
        const char *a = fake.answer ? fake.answer(&fake, n, argv, argc) : fake.fixed;
        if (a)
            fake_say(a);
    } else if (fake.greeting_error) {
        fake_say(fake.greeting_error);
    } else if (tr_span_eq(argv[0], TR_SPAN("SCRIPT"))) {
        assert_span_equal(argv[2], "return 1");
        fake.greetings++;
        fake_say("$40\r\n" SHA "\r\n");
    } else {
        fake_say("+OK\r\n");
    }
}

static inline bool number(size_t *at, char mark, size_t *ret)
{
    const char *end = memchr(fake.in + *at, '\n', fake.in_len - *at);
    if (!end)
        return false;
    assert_int_equal(fake.in[*at], mark);
    *ret = strtoul(fake.in + *at + 1, NULL, 10);
    *at = (size_t)(end - fake.in) + 1;
    return true;
}

static inline void take_commands(void)
{
    for (;;) {
        struct tr_span argv[64];
        size_t at = 0, argc, len;
        if (fake.in_len == 0 || !number(&at, '*', &argc))
            return;
        assert_true(argc >= 1 && argc <= 64);
        for (size_t i = 0; i < argc; i++) {
            if (at >= fake.in_len || !number(&at, '$', &len) || at + len + 2 > fake.in_len)
                return;
            argv[i] = tr_span(fake.in + at, len);
            at += len + 2;
        }
        on_command(argv, (int)argc);
        memmove(fake.in, fake.in + at, fake.in_len - at);
        fake.in_len -= at;
    }
}

static inline void fake_hang_up(bool hard)
{
    if (fake.s)
        tr_stream_close(fake.s, hard);
    fake.s = NULL;
    fake.in_len = fake.out_len = fake.out_pos = 0;
}

static inline void fake_on_readable(void *ctx)
{
    (void)ctx;
    if (fake.frozen) {
        tr_stream_want(fake.s, false, false);
        return;
    }
    ssize_t n = tr_stream_read(fake.s, fake.in + fake.in_len, sizeof fake.in - fake.in_len);
    if (n == TR_STREAM_AGAIN)
        return;
    if (n <= 0) {
        fake_hang_up(false);
        return;
    }
    fake.in_len += (size_t)n;
    take_commands();
}

static inline void fake_on_ready(void *ctx, enum tr_err err)
{
    (void)ctx;
    (void)err;
}

static inline void fake_on_writable(void *ctx)
{
    (void)ctx;
}

static const struct tr_stream_events fake_events = {fake_on_ready, fake_on_readable,
                                                    fake_on_writable};

static inline void fake_on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    (void)ctx;
    fake_hang_up(true);
    fake.accepted++;
    assert_int_equal(tr_stream_accept(loop, fd, NULL, peer, &fake_events, NULL, &fake.s), TR_OK);
    tr_stream_want(fake.s, true, false);
}

static inline void fake_pump(void)
{
    if (!fake.s || fake.out_pos == fake.out_len)
        return;
    size_t n = fake.out_len - fake.out_pos, piece = fake.piece;
    if (piece == SIZE_MAX)
        piece = 1 + (size_t)(tr_test_rand(&fake.seed) % 9);
    if (piece && n > piece)
        n = piece;
    ssize_t sent = tr_stream_write(fake.s, fake.out + fake.out_pos, n);
    if (sent > 0)
        fake.out_pos += (size_t)sent;
}

#define UNTIL(cond)                                                                                \
    do {                                                                                           \
        struct tr_timer tick_;                                                                     \
        tr_timer_init(&tick_, loop, turn_tick);                                                    \
        for (int turn_ = 0; turn_ < 20000 && !(cond); turn_++) {                                   \
            fake_pump();                                                                           \
            assert_int_equal(tr_timer_start(&tick_, MS), TR_OK);                                   \
            tr_loop_turn(loop, true);                                                              \
        }                                                                                          \
        tr_timer_stop(&tick_);                                                                     \
        assert_true(cond);                                                                         \
    } while (0)

/* ---- calls ----------------------------------------------------------------------------------- */

struct ask {
    struct tr_kv_call call;
    int ended;
    enum tr_kv_failure failure;
    int64_t ints[TR_KV_INTS_MAX];
    uint32_t count;
    uint64_t arg;
    struct ask *then_cancel, *then_start;
    enum tr_kv_failure started;
};

static inline enum tr_err ask_encode(struct tr_kv_call *call, struct tr_buf *out)
{
    struct ask *a = tr_container_of(call, struct ask, call);
    enum tr_err err = tr_kv_put(out, TR_SPAN("key"));
    return err ? err : tr_kv_put_u64(out, a->arg);
}

static inline enum tr_kv_failure ask(struct ask *a);

static inline void ask_ended(struct tr_kv_call *call, enum tr_kv_failure failure,
                             const int64_t *ints, uint32_t count)
{
    struct ask *a = tr_container_of(call, struct ask, call);
    assert_false(tr_kv_under_way(call));
    a->ended++;
    a->failure = failure;
    a->count = count;
    if (count)
        memcpy(a->ints, ints, count * sizeof *ints);
    if (a->then_cancel)
        tr_kv_cancel(&a->then_cancel->call);
    if (a->then_start)
        a->then_start->started = ask(a->then_start);
}

static inline enum tr_kv_failure ask(struct ask *a)
{
    a->call.keys = 1;
    a->call.args = 1;
    a->call.encode = ask_encode;
    a->call.fn = ask_ended;
    int before = a->ended;
    enum tr_kv_failure failure = tr_kv_redis_call(link, &a->call);
    assert_int_equal(a->ended, before); /* never inside */
    assert_int_equal(tr_kv_under_way(&a->call), failure == TR_KV_OK);
    return failure;
}

/* ---- the world ------------------------------------------------------------------------------- */

static inline int start(void **state)
{
    (void)state;
    struct tr_addr addr;
    char text[TR_ADDR_TEXT_MAX];
    memset(&fake, 0, sizeof fake);
    fake.fixed = "*1\r\n:1\r\n";
    fake.seed = tr_test_seed();
    if (tr_loop_new(&loop) || tr_addr_parse(TR_SPAN("127.0.0.1:0"), &addr, NULL) ||
        tr_listener_open(loop, &addr, fake_on_accept, NULL, &fake.l, NULL))
        return -1;
    struct tr_span bound = tr_addr_text(tr_listener_addr(fake.l), text);
    (void)snprintf(where, sizeof where, "%.*s", (int)bound.len, bound.ptr);
    return 0;
}

static inline int stop(void **state)
{
    (void)state;
    tr_kv_redis_free(link);
    link = NULL;
    fake_hang_up(false);
    if (fake.l)
        tr_listener_close(fake.l);
    tr_loop_free(loop);
    return 0;
}

static inline struct tr_kv_redis_options options(struct tr_kv_redis_url *url, const char *user,
                                                 const char *path)
{
    char text[200];
    (void)snprintf(text, sizeof text, "redis://%s%s%s", user, where, path);
    assert_int_equal(tr_kv_redis_parse(tr_span_cstr(text), url, NULL), TR_OK);
    return (struct tr_kv_redis_options){.loop = loop,
                                        .url = url,
                                        .script = TR_SPAN("return 1"),
                                        .timeout_ns = 5000 * MS,
                                        .silence_ns = 20000 * MS,
                                        .connect_timeout_ns = 20000 * MS,
                                        .backoff_ns = 2 * MS};
}

static inline void open_link(void)
{
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
}

static inline bool up(void)
{
    return tr_kv_redis_counters(link)->up == 1;
}

static inline void open_and_wait(void)
{
    open_link();
    UNTIL(up());
}

#endif
