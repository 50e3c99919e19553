/* A scripted HTTP/1.1 server in the test's own loop. It reads a head, asks the script for the bytes
 * of the answer, sends them as told, and closes. */
#ifndef TR_TESTS_UNIT_HTTP_PEER_H
#define TR_TESTS_UNIT_HTTP_PEER_H

#include "io/certs.h"
#include "io/listener.h"
#include "io/stream.h"
#include "io/tls_ctx.h"
#include "io/turn.h"

struct peer;

struct peer_conn {
    struct tr_list node;
    struct peer *peer;
    struct tr_stream *s;
    char req[4096];
    size_t req_len;
    const char *out;
    size_t out_len, at;
    bool answered;
};

struct peer {
    struct tr_loop *loop;
    struct tr_listener *l;
    struct tr_tls_ctx *tls;
    struct tr_list conns;
    /* The whole answer; NULL: none, the connection stays open. `target` ends in NUL. */
    const char *(*answer)(struct peer *p, const char *target);
    void *ctx;
    size_t step;  /* bytes a write; 0: at random */
    bool endless; /* after the answer, filler until the client leaves */
    bool stay;    /* the connection stays open after the answer */
    uint64_t seed;
    int accepted, requests;
    uint64_t sent;
    char last[4096]; /* the last request */
    int port;
};

static inline void peer_conn_close(struct peer_conn *c, bool hard)
{
    tr_list_remove(&c->node);
    tr_stream_close(c->s, hard);
    free(c);
}

static inline void peer_push(struct peer_conn *c)
{
    static const char filler[8192] = {'x'};
    struct peer *p = c->peer;
    if (c->at < c->out_len || p->endless) {
        bool more = c->at < c->out_len;
        const char *from = more ? c->out + c->at : filler;
        size_t left = more ? c->out_len - c->at : sizeof filler,
               n = p->step ? p->step : 1 + (size_t)(tr_test_rand(&p->seed) % 64);
        ssize_t took = tr_stream_write(c->s, from, more && n < left ? n : left);
        if (took < 0) {
            peer_conn_close(c, true);
            return;
        }
        c->at += more ? (size_t)took : 0;
        p->sent += (uint64_t)took;
    }
    bool done = c->at == c->out_len && !p->endless;
    if (done && !p->stay)
        peer_conn_close(c, false);
    else
        tr_stream_want(c->s, true, !done);
}

static inline void peer_on_readable(void *ctx)
{
    struct peer_conn *c = ctx;
    struct peer *p = c->peer;
    char spill[256];
    bool room = c->req_len < sizeof c->req - 1;
    ssize_t n = room ? tr_stream_read(c->s, c->req + c->req_len, sizeof c->req - 1 - c->req_len)
                     : tr_stream_read(c->s, spill, sizeof spill);
    if (n == TR_STREAM_AGAIN)
        return;
    if (n <= 0) {
        peer_conn_close(c, n < 0);
        return;
    }
    if (c->answered || !room)
        return;
    c->req_len += (size_t)n;
    c->req[c->req_len] = 0;
    if (!strstr(c->req, "\r\n\r\n"))
        return;
    c->answered = true;
    p->requests++;
    memcpy(p->last, c->req, c->req_len + 1);
    char target[1024] = "";
    (void)sscanf(c->req, "GET %1023s", target);
    c->out = p->answer(p, target);
    if (!c->out)
        return;
    c->out_len = strlen(c->out);
    peer_push(c);
}

static inline void peer_on_writable(void *ctx)
{
    peer_push(ctx);
}

static inline void peer_on_ready(void *ctx, enum tr_err err)
{
    struct peer_conn *c = ctx;
    if (err)
        peer_conn_close(c, true);
}

static const struct tr_stream_events peer_events = {peer_on_ready, peer_on_readable,
                                                    peer_on_writable};

static inline void peer_on_accept(void *ctx, int fd, const struct tr_addr *from)
{
    struct peer *p = ctx;
    struct peer_conn *c = calloc(1, sizeof *c);
    assert_non_null(c);
    p->accepted++;
    c->peer = p;
    if (tr_stream_accept(p->loop, fd, p->tls, from, &peer_events, c, &c->s) != TR_OK) {
        free(c);
        return;
    }
    tr_list_push_back(&p->conns, &c->node);
    tr_stream_want(c->s, true, false);
}

/* port 0: any. */
static inline void peer_open(struct peer *p, struct tr_loop *loop, int port,
                             const char *(*answer)(struct peer *p, const char *target))
{
    struct tr_addr addr;
    char text[TR_ADDR_TEXT_MAX];
    memset(p, 0, sizeof *p);
    p->loop = loop;
    p->answer = answer;
    p->step = SIZE_MAX;
    p->seed = tr_test_seed();
    tr_list_init(&p->conns);
    (void)snprintf(text, sizeof text, "127.0.0.1:%d", port);
    assert_int_equal(tr_addr_parse(tr_span_cstr(text), &addr, NULL), TR_OK);
    assert_int_equal(tr_listener_open(loop, &addr, peer_on_accept, p, &p->l, NULL), TR_OK);
    struct tr_span bound = tr_addr_text(tr_listener_addr(p->l), text);
    text[bound.len] = 0;
    p->port = atoi(strrchr(text, ':') + 1); /* NOLINT(cert-err34-c) */
}

static inline void peer_close(struct peer *p)
{
    while (!tr_list_empty(&p->conns))
        peer_conn_close(tr_container_of(p->conns.next, struct peer_conn, node), true);
    tr_listener_close(p->l);
    tr_tls_ctx_unref(p->tls);
    p->l = NULL;
    p->tls = NULL;
}

/* Certificate and key of certs.h by their base name. */
static inline void peer_secure(struct peer *p, const char *base)
{
    char crt[32], key[32];
    (void)snprintf(crt, sizeof crt, "%s.crt", base);
    (void)snprintf(key, sizeof key, "%s.key", base);
    struct tr_tls_certificate cert = {certs_span(crt), certs_span(key)};
    struct tr_tls_server_params params = {&cert, 1, TR_SPAN(""), TR_TLS_CLIENT_NONE};
    assert_int_equal(tr_tls_server_new(&params, &p->tls, NULL), TR_OK);
}

#endif
