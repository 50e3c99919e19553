/* What the tests of this folder share: turning a loop until something holds, and owners of streams
 * that note events. */
#ifndef TR_TESTS_UNIT_IO_TURN_H
#define TR_TESTS_UNIT_IO_TURN_H

#include "io/listener.h"
#include "io/loop.h"
#include "io/stream.h"
#include "test.h"

#define MS UINT64_C(1000000)

static inline void turn_tick(struct tr_timer *timer)
{
    (void)timer;
}

/* Turns until cond; gives up after about ten seconds. */
#define TURN_UNTIL(loop, cond)                                                                     \
    do {                                                                                           \
        struct tr_timer tick_;                                                                     \
        tr_timer_init(&tick_, (loop), turn_tick);                                                  \
        for (int turn_ = 0; turn_ < 100000 && !(cond); turn_++) {                                  \
            assert_int_equal(tr_timer_start(&tick_, MS), TR_OK);                                   \
            tr_loop_turn((loop), true);                                                            \
        }                                                                                          \
        tr_timer_stop(&tick_);                                                                     \
        assert_true(cond);                                                                         \
    } while (0)

/* Turns without sleeping, for things that must not happen. */
static inline void turn_idle(struct tr_loop *loop)
{
    for (int i = 0; i < 20; i++)
        tr_loop_turn(loop, false);
}

struct end {
    struct tr_stream *s;
    int ready, readable, writable;
    enum tr_err err;
    bool read_all; /* read in on_readable until AGAIN */
    bool close_on_read, close_on_write, close_on_ready;
    bool ended, failed;
    size_t got;
    char in[1 << 16]; /* the first bytes that came */
    char error[128];
};

static inline void end_pull(struct end *e)
{
    char buf[5000];
    ssize_t n;
    while ((n = tr_stream_read(e->s, buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++, e->got++)
            if (e->got < sizeof e->in)
                e->in[e->got] = buf[i];
    }
    if (n == 0)
        e->ended = true;
    if (n == TR_STREAM_ERROR) {
        struct tr_span text = tr_stream_error(e->s);
        e->failed = true;
        memcpy(e->error, text.ptr, text.len < sizeof e->error ? text.len : sizeof e->error - 1);
    }
    if (n != TR_STREAM_AGAIN)
        tr_stream_want(e->s, false, false);
}

static inline void end_close(struct end *e, bool hard)
{
    if (e->s)
        tr_stream_close(e->s, hard);
    e->s = NULL;
}

static inline void end_on_ready(void *ctx, enum tr_err err)
{
    struct end *e = ctx;
    e->ready++;
    e->err = err;
    if (err) {
        struct tr_span text = tr_stream_error(e->s);
        memcpy(e->error, text.ptr, text.len < sizeof e->error ? text.len : sizeof e->error - 1);
    }
    if (e->close_on_ready)
        end_close(e, false);
}

static inline void end_on_readable(void *ctx)
{
    struct end *e = ctx;
    e->readable++;
    if (e->close_on_read) {
        end_close(e, false);
        return;
    }
    if (e->read_all)
        end_pull(e);
}

static inline void end_on_writable(void *ctx)
{
    struct end *e = ctx;
    e->writable++;
    if (e->close_on_write)
        end_close(e, false);
    else
        tr_stream_want(e->s, e->read_all, false);
}

static const struct tr_stream_events end_events = {end_on_ready, end_on_readable, end_on_writable};

/* A listener that takes one connection after the other into `to` and counts. */
struct door {
    struct tr_loop *loop;
    struct tr_listener *l;
    struct tr_tls_ctx *tls;
    struct end *to;
    int accepted;
};

static inline void door_on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct door *d = ctx;
    d->accepted++;
    enum tr_err err = tr_stream_accept(d->loop, fd, d->tls, peer, &end_events, d->to, &d->to->s);
    assert_int_equal(err, TR_OK);
}

static inline void door_open(struct door *d, struct tr_loop *loop, const char *text, struct end *to)
{
    struct tr_addr addr;
    struct tr_status st;
    tr_status_clear(&st);
    *d = (struct door){.loop = loop, .to = to};
    assert_int_equal(tr_addr_parse(tr_span_cstr(text), &addr, &st), TR_OK);
    assert_int_equal(tr_listener_open(loop, &addr, door_on_accept, d, &d->l, &st), TR_OK);
}

static inline void end_connect(struct end *e, struct tr_loop *loop, const struct tr_addr *addr,
                               struct tr_tls_ctx *tls, const char *name)
{
    assert_int_equal(tr_stream_connect(loop, addr, tls, tr_span_cstr(name), &end_events, e, &e->s),
                     TR_OK);
}

#endif
