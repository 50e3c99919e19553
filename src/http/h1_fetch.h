/* One GET over HTTP/1.1 on the loop, for documents that the gateway itself needs (key sets).
 *
 * A name is resolved, its addresses are tried in turn, with https the certificate is verified
 * against the context's roots and the URL's host (a name or an address), and the answer is read as
 * http/h1_answer.h says: 200 or a failure, no redirects, nothing compressed. The connection serves
 * this one request (`Connection: close`).
 *
 * Ownership: a fetch is its starter's until `fn` is called (once, from the loop, never from inside
 * tr_h1_fetch_start) or tr_h1_fetch_cancel. Thread: the loop's. */
#ifndef TR_HTTP_H1_FETCH_H
#define TR_HTTP_H1_FETCH_H

#include "base/span.h"
#include "base/status.h"
#include "io/dns.h"
#include "io/loop.h"
#include "io/tls_ctx.h"

#define TR_H1_FETCH_URL_MAX ((size_t)2048)

/* Parts of an absolute http or https URL; they point into it. */
struct tr_h1_url {
    bool https;
    uint16_t port;
    struct tr_span host;      /* without brackets */
    struct tr_span authority; /* for Host: without an empty port */
    struct tr_span path;      /* empty: "/" */
    struct tr_span query;     /* without "?"; ptr NULL when there is none */
};
/* No user information, no fragment, port 1 to 65535. CONFIG with text. */
enum tr_err tr_h1_url_parse(struct tr_span text, struct tr_h1_url *ret_url,
                            struct tr_status *st) TR_MUST_USE;

struct tr_h1_fetch_params {
    struct tr_loop *loop;
    struct tr_dns *dns;
    struct tr_tls_ctx *tls; /* for https: of tr_tls_client_new without require_h2; outlives it */
    struct tr_span url, accept; /* copied; accept empty: any type */
    size_t max_body;            /* bytes */
    uint64_t timeout_ns;        /* from the start to the last byte of the body */
};

struct tr_h1_fetch_result {
    enum tr_err err; /* those of h1_answer.h, UPSTREAM_DNS, UPSTREAM_CONNECT, UPSTREAM_TLS,
                        UPSTREAM_CLOSED, DEADLINE */
    uint16_t http_status;
    int64_t max_age_s;          /* as in h1_answer.h */
    struct tr_span body;        /* lives as long as the call */
    const struct tr_status *st; /* why it failed; no part of the answer */
};

struct tr_h1_fetch;

/* fn may start another. CONFIG (the URL, or https without tls), NOMEM, IO: nothing was begun. */
enum tr_err tr_h1_fetch_start(const struct tr_h1_fetch_params *params,
                              void (*fn)(void *ctx, const struct tr_h1_fetch_result *result),
                              void *ctx, struct tr_h1_fetch **ret_fetch,
                              struct tr_status *st) TR_MUST_USE;
/* fn will not be called. NULL is accepted. Not from inside fn. */
void tr_h1_fetch_cancel(struct tr_h1_fetch *f);

#endif
