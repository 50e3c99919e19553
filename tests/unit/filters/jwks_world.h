/* An issuer in the test's loop, a refresh, and views of two workers. Both sides share one loop,
 * which mail crosses as it would cross threads. */
#ifndef TR_TESTS_JWKS_WORLD_H
#define TR_TESTS_JWKS_WORLD_H

#include "filters/jwks_refresh.h"
#include "http/peer.h"
#include "io/dns.h"
#include "test.h"

#define SECOND UINT64_C(1000000000)
#define VIEWS  2

/* A set of one key with this id. */
#define WORLD_DOC(kid)                                                                             \
    "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" kid                               \
    "\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"
#define WORLD_KEYS(kid) "HTTP/1.1 200 OK\r\n\r\n" WORLD_DOC(kid)
#define WORLD_BROKEN    "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

static struct tr_loop *loop;
static struct peer issuer;
static struct tr_mailbox *control_box, *worker_boxes[VIEWS];
static struct tr_control control;
static struct tr_jwks_source source;
static char source_uri[128];
static struct tr_jwks_refresh *refresh;
static struct tr_jwks_view views[VIEWS];

static const char *keys_answer;     /* of every target but the document's; NULL: none comes */
static const char *document_answer; /* of the discovery document */
static int keys_requests, document_requests;

struct asker { /* a request that waits */
    struct tr_jwks_waiter waiter;
    int woken;
};

static inline void asker_woken(struct tr_jwks_waiter *waiter)
{
    tr_container_of(waiter, struct asker, waiter)->woken++;
}

static inline enum tr_jwks_wait ask_by(struct asker *a, int view, enum tr_jwks_ask what)
{
    return tr_jwks_view_wait(&views[view], &a->waiter, what, asker_woken, tr_loop_now_ns(loop));
}

static inline bool knows(const struct tr_jwks_view *view, const char *kid)
{
    const struct tr_jwt_key *found[TR_JWKS_TRIES_MAX];
    bool known = false;
    if (view->set)
        (void)tr_jwks_find(view->set, true, tr_span_cstr(kid), TR_JWA_EDDSA, found, &known);
    return known;
}

static inline const char *world_answer(struct peer *p, const char *target)
{
    (void)p;
    if (strstr(target, "/.well-known/openid-configuration")) {
        document_requests++;
        return document_answer;
    }
    keys_requests++;
    return keys_answer;
}

static inline int world_open(void **state)
{
    (void)state;
    keys_answer = WORLD_KEYS("a");
    document_answer = NULL;
    keys_requests = document_requests = 0;
    refresh = NULL;
    memset(views, 0, sizeof views);
    memset(&control, 0, sizeof control);
    if (tr_loop_new(&loop) || tr_mailbox_new(loop, NULL, &control_box))
        return -1;
    for (int i = 0; i < VIEWS; i++)
        if (tr_mailbox_new(loop, NULL, &worker_boxes[i]))
            return -1;
    control = (struct tr_control){.loop = loop,
                                  .mailbox = control_box,
                                  .worker_mailboxes = worker_boxes,
                                  .worker_count = VIEWS};
    if (tr_dns_new(loop, "127.0.0.1:1", &control.dns))
        return -1;
    peer_open(&issuer, loop, 0, world_answer);
    (void)snprintf(source_uri, sizeof source_uri, "http://127.0.0.1:%d/keys", issuer.port);
    source = (struct tr_jwks_source){.name = TR_SPAN("accounts"),
                                     .uri = tr_span_cstr(source_uri),
                                     .timeout_ns = 10 * SECOND,
                                     .max_bytes = 1 << 20,
                                     .schedule = {.refresh_interval_ns = 300 * SECOND,
                                                  .max_stale_ns = 3600 * SECOND,
                                                  .unknown_kid_interval_ns = 10 * SECOND}};
    return 0;
}

static inline void world_begin(void)
{
    assert_int_equal(tr_jwks_refresh_new(&control, &source, &refresh, NULL), TR_OK);
    for (int i = 0; i < VIEWS; i++)
        assert_int_equal(tr_jwks_view_init(&views[i], refresh, worker_boxes[i], control_box),
                         TR_OK);
}

/* The order of the server's end. */
static inline int world_close(void **state)
{
    (void)state;
    tr_mailbox_free(control_box);
    tr_jwks_refresh_free(refresh);
    for (int i = 0; i < VIEWS; i++) {
        tr_mailbox_free(worker_boxes[i]);
        tr_jwks_view_fini(&views[i]);
    }
    peer_close(&issuer);
    tr_dns_free(control.dns);
    tr_loop_free(loop);
    return 0;
}

#endif
