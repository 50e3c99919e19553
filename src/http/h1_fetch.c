#include "http/h1_fetch.h"

#include "base/alloc.h"
#include "http/h1_answer.h"
#include "http/uri.h"
#include "io/stream.h"

#define READ_BYTES     ((size_t)16 * 1024)
#define READS_PER_TURN 16 /* so that a fast peer does not keep the loop for itself */
#define CONNECT_LEAST  UINT64_C(50000000)

struct tr_h1_fetch {
    struct tr_loop *loop;
    struct tr_tls_ctx *tls; /* NULL: plain */
    void (*fn)(void *ctx, const struct tr_h1_fetch_result *result);
    void *ctx;
    struct tr_dns_query *query;
    struct tr_stream *stream;
    struct tr_timer deadline, patience; /* patience: for one address */
    struct tr_dns_answer addrs;
    size_t addr_at; /* the one in use + 1 */
    uint64_t until_ns;
    struct tr_buf request;
    size_t sent;
    struct tr_h1_answer answer;
    struct tr_status st;
    size_t host_len;
    char host[]; /* to verify */
};

/* -- URLs ------------------------------------------------------------------------------------- */

enum tr_err tr_h1_url_parse(struct tr_span text, struct tr_h1_url *ret_url, struct tr_status *st)
{
    struct tr_uri uri;
    struct tr_span host, port;
    uint64_t number;
    if (text.len > TR_H1_FETCH_URL_MAX)
        return tr_fail(st, TR_ERR_CONFIG, "the URL is longer than %zu bytes", TR_H1_FETCH_URL_MAX);
    if (tr_uri_parse(text, &uri) != TR_OK)
        return tr_fail(st, TR_ERR_CONFIG, "not an http or https URL");
    tr_uri_split_authority(uri.authority, &host, &port);
    struct tr_h1_url url = {.https = tr_span_eq(uri.scheme, TR_SPAN("https")),
                            .host = host,
                            .authority = uri.authority,
                            .path = uri.path,
                            .query = uri.query};
    url.port = url.https ? 443 : 80;
    if (port.len == 0)
        url.authority = host;
    else if (!tr_span_u64(port, &number) || number == 0)
        return tr_fail(st, TR_ERR_CONFIG, "the port must be 1 to 65535");
    else
        url.port = (uint16_t)number;
    if (host.ptr[0] == '[')
        url.host = tr_span_sub(host, 1, host.len - 2);
    if (tr_span_find(url.host, '%') < url.host.len)
        return tr_fail(st, TR_ERR_CONFIG, "the host must be a name or an address");
    *ret_url = url;
    return TR_OK;
}

static enum tr_err make_request(struct tr_buf *out, const struct tr_h1_url *url,
                                struct tr_span accept)
{
    struct tr_span path = url->path.len ? url->path : TR_SPAN("/");
    bool query = url->query.ptr != NULL;
    if (accept.len == 0)
        accept = TR_SPAN("*/*");
    return tr_buf_printf(out,
                         "GET %.*s%s%.*s HTTP/1.1\r\nHost: %.*s\r\nAccept: %.*s\r\n"
                         "Accept-Encoding: identity\r\nUser-Agent: transom\r\n"
                         "Connection: close\r\n\r\n",
                         (int)path.len, path.ptr, query ? "?" : "", query ? (int)url->query.len : 0,
                         query ? url->query.ptr : "", (int)url->authority.len, url->authority.ptr,
                         (int)accept.len, accept.ptr);
}

/* -- the end ---------------------------------------------------------------------------------- */

static void drop(struct tr_h1_fetch *f, bool hard)
{
    if (f->query)
        tr_dns_cancel(f->query);
    if (f->stream)
        tr_stream_close(f->stream, hard);
    f->query = NULL;
    f->stream = NULL;
    tr_timer_stop(&f->deadline);
    tr_timer_stop(&f->patience);
}

static void fetch_free(struct tr_h1_fetch *f)
{
    tr_buf_fini(&f->request);
    tr_h1_answer_fini(&f->answer);
    tr_free(f);
}

void tr_h1_fetch_cancel(struct tr_h1_fetch *f)
{
    if (!f)
        return;
    drop(f, true);
    fetch_free(f);
}

static void finish(struct tr_h1_fetch *f, enum tr_err err)
{
    drop(f, err != TR_OK);
    struct tr_h1_fetch_result result = {
        .err = err, .http_status = f->answer.status, .max_age_s = -1, .st = &f->st};
    f->st.err = err;
    if (!err) {
        result.max_age_s = f->answer.max_age_s;
        result.body = tr_h1_answer_body(&f->answer);
    }
    f->fn(f->ctx, &result);
    fetch_free(f);
}

static void on_deadline(struct tr_timer *timer)
{
    struct tr_h1_fetch *f = tr_container_of(timer, struct tr_h1_fetch, deadline);
    const char *when = f->query                   ? "while the name was resolved"
                       : !f->stream               ? "before a connection was made"
                       : f->sent < f->request.len ? "while connecting"
                       : f->answer.status == 0    ? "before the server answered"
                                                  : "before the answer was complete";
    finish(f, tr_fail(&f->st, TR_ERR_DEADLINE, "time ran out %s", when));
}

/* -- the connection --------------------------------------------------------------------------- */

static void next_address(struct tr_h1_fetch *f);

/* This address is of no use; f->st says why. */
static void give_up_address(struct tr_h1_fetch *f)
{
    if (f->stream)
        tr_stream_close(f->stream, true);
    f->stream = NULL;
    tr_timer_stop(&f->patience);
    if (f->addr_at == f->addrs.count)
        finish(f, f->st.err);
    else
        next_address(f);
}

static void send_request(struct tr_h1_fetch *f)
{
    while (f->sent < f->request.len) {
        ssize_t n = tr_stream_write(f->stream, f->request.ptr + f->sent, f->request.len - f->sent);
        if (n < 0) {
            finish(f, tr_fail(&f->st, TR_ERR_UPSTREAM_CLOSED,
                              "the connection was lost before the request was sent"));
            return;
        }
        if (n == 0)
            break;
        f->sent += (size_t)n;
    }
    tr_stream_want(f->stream, true, f->sent < f->request.len);
}

static void on_ready(void *ctx, enum tr_err err)
{
    struct tr_h1_fetch *f = ctx;
    if (err) {
        struct tr_span why = tr_stream_error(f->stream);
        (void)tr_fail(&f->st, err, "%s: %.*s", err == TR_ERR_UPSTREAM_TLS ? "TLS" : "no connection",
                      (int)why.len, why.ptr);
        give_up_address(f);
        return;
    }
    tr_timer_stop(&f->patience);
    send_request(f);
}

static void on_patience(struct tr_timer *timer)
{
    struct tr_h1_fetch *f = tr_container_of(timer, struct tr_h1_fetch, patience);
    (void)tr_fail(&f->st, TR_ERR_UPSTREAM_CONNECT, "no connection: an address does not answer");
    give_up_address(f);
}

static void on_writable(void *ctx)
{
    send_request(ctx);
}

static void on_readable(void *ctx)
{
    struct tr_h1_fetch *f = ctx;
    char buf[READ_BYTES];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = tr_stream_read(f->stream, buf, sizeof buf);
        if (n == TR_STREAM_AGAIN)
            return;
        enum tr_err err;
        if (n == TR_STREAM_ERROR) {
            struct tr_span why = tr_stream_error(f->stream);
            err = tr_fail(&f->st, TR_ERR_UPSTREAM_CLOSED, "the connection was lost: %.*s",
                          (int)why.len, why.ptr);
        } else if (n == 0) {
            err = tr_h1_answer_end(&f->answer, &f->st);
        } else {
            err = tr_h1_answer_feed(&f->answer, tr_span(buf, (size_t)n), &f->st);
        }
        if (err != TR_ERR_AGAIN) {
            finish(f, err);
            return;
        }
    }
}

/* Those not tried yet share the time that is left. */
static enum tr_err connect_address(struct tr_h1_fetch *f)
{
    static const struct tr_stream_events events = {on_ready, on_readable, on_writable};
    uint64_t now = tr_loop_now_ns(f->loop), left = f->until_ns > now ? f->until_ns - now : 0;
    size_t untried = f->addrs.count - f->addr_at;
    const struct tr_addr *addr = &f->addrs.addrs[f->addr_at++];
    uint64_t share = left / (untried + (untried > 1));
    enum tr_err err = tr_stream_connect(f->loop, addr, f->tls, tr_span(f->host, f->host_len),
                                        &events, f, &f->stream);
    if (!err && untried > 1)
        err = tr_timer_start(&f->patience, share < CONNECT_LEAST ? CONNECT_LEAST : share);
    if (err)
        (void)tr_fail(&f->st, err, "no connection can be made");
    return err;
}

static void next_address(struct tr_h1_fetch *f)
{
    while (connect_address(f) != TR_OK) {
        if (f->stream)
            tr_stream_close(f->stream, true);
        f->stream = NULL;
        if (f->addr_at == f->addrs.count) {
            finish(f, f->st.err);
            return;
        }
    }
}

static void on_resolved(void *ctx, const struct tr_dns_answer *answer)
{
    struct tr_h1_fetch *f = ctx;
    f->query = NULL;
    if (answer->err || answer->count == 0) {
        finish(f, tr_fail(&f->st, TR_ERR_UPSTREAM_DNS, "the name does not resolve"));
        return;
    }
    f->addrs = *answer;
    next_address(f);
}

/* -- the beginning ---------------------------------------------------------------------------- */

enum tr_err tr_h1_fetch_start(const struct tr_h1_fetch_params *params,
                              void (*fn)(void *ctx, const struct tr_h1_fetch_result *result),
                              void *ctx, struct tr_h1_fetch **ret_fetch, struct tr_status *st)
{
    struct tr_h1_url url = {0};
    enum tr_err err = tr_h1_url_parse(params->url, &url, st);
    if (err)
        return err;
    if (url.https && !params->tls)
        return tr_fail(st, TR_ERR_CONFIG, "https without certificates to trust");
    struct tr_h1_fetch *f = tr_calloc(1, sizeof *f + url.host.len);
    if (!f)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    f->loop = params->loop;
    f->tls = url.https ? params->tls : NULL;
    f->fn = fn;
    f->ctx = ctx;
    f->host_len = url.host.len;
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a URL without a host is refused */
    memcpy(f->host, url.host.ptr, url.host.len);
    tr_buf_init(&f->request);
    tr_h1_answer_init(&f->answer, params->max_body);
    tr_timer_init(&f->deadline, f->loop, on_deadline);
    tr_timer_init(&f->patience, f->loop, on_patience);
    f->until_ns = tr_loop_now_ns(f->loop) + params->timeout_ns;
    err = make_request(&f->request, &url, params->accept);
    if (!err)
        err = tr_timer_start(&f->deadline, params->timeout_ns);
    struct tr_dns_query *query = NULL;
    if (!err)
        err = tr_dns_resolve(params->dns, url.host, url.port, on_resolved, f, &query);
    if (err) {
        tr_h1_fetch_cancel(f);
        return tr_fail(st, err, "the fetch cannot begin");
    }
    f->query = query;
    *ret_fetch = f;
    return TR_OK;
}
