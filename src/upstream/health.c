#include "upstream/health.h"

#include "base/alloc.h"
#include "base/log.h"
#include "http/grpc_timeout.h"
#include "proto/wire.h"
#include "upstream/upstream_int.h"

#define ANSWER_MAX 256 /* bytes of an answer that are kept: a frame with one enum */
#define SERVING    1

#define GRPC_NOT_FOUND     5
#define GRPC_UNIMPLEMENTED 12

enum check_state {
    CHECK_IDLE,    /* the timer says when it may be this worker's turn */
    CHECK_WAITING, /* for a connection or room on it; the timer is the time-out */
    CHECK_SENT,
};

struct tr_hcheck {
    struct tr_uendpoint *e;
    const struct tr_health_conf *conf;
    struct tr_timer timer;
    struct tr_h2_req *req; /* when sent */
    struct tr_arena arena; /* of one check */
    struct tr_buf body, answer;
    size_t body_pos;
    uint64_t until_ns; /* of a check under way */
    unsigned http_status;
    enum check_state state;
};

int tr_health_status(struct tr_span frame)
{
    const char *p = frame.ptr + 5, *end = frame.ptr + frame.len;
    uint64_t status = 0;
    uint32_t number, type;
    if (frame.len < 5 || frame.ptr[0] != 0)
        return -1;
    const unsigned char *n = (const unsigned char *)frame.ptr + 1;
    if (((uint64_t)n[0] << 24 | (uint64_t)n[1] << 16 | (uint64_t)n[2] << 8 | n[3]) != frame.len - 5)
        return -1;
    while (p < end) {
        if (!tr_wire_tag(&p, end, &number, &type))
            return -1;
        if (number == 1 && type == TR_WIRE_VARINT) {
            if (!tr_wire_varint(&p, end, &status))
                return -1;
        } else if (!tr_wire_skip(&p, end, number, type)) {
            return -1;
        }
    }
    return status <= INT32_MAX ? (int)status : -1;
}

/* ---- results --------------------------------------------------------------------------------- */

static uint64_t jittered(struct tr_cluster *c, uint64_t ns)
{
    uint64_t tenth = ns / 10;
    return ns - tenth + (uint64_t)((double)(2 * tenth) * (tr_cluster_random(c) * 0x1p-32));
}

/* Back to waiting for this worker's turn. */
static void rest(struct tr_hcheck *check)
{
    struct tr_cluster *c = check->e->cluster;
    uint64_t now = tr_cluster_now(c);
    uint64_t next = atomic_load_explicit(&check->e->slot->next_check_ns, memory_order_relaxed);
    if (check->req)
        tr_h2_req_cancel(check->req);
    check->req = NULL;
    check->state = CHECK_IDLE;
    tr_arena_reset(&check->arena);
    /* whoever is first takes the turn */
    (void)tr_timer_start(&check->timer, next > now ? next - now : 0);
}

static void result(struct tr_hcheck *check, bool healthy, const char *why)
{
    struct tr_uendpoint *e = check->e;
    struct tr_cluster *c = e->cluster;
    struct tr_span name = c->upstream->conf->name;
    char text[TR_ENDPOINT_TEXT_MAX];
    uint32_t now = healthy ? TR_HEALTH_HEALTHY : TR_HEALTH_UNHEALTHY;
    uint32_t was = atomic_exchange_explicit(&e->slot->health, now, memory_order_acq_rel);
    if (was == TR_HEALTH_UNHEALTHY && healthy)
        atomic_store_explicit(&e->slot->healthy_ns, tr_cluster_now(c), memory_order_relaxed);
    if (healthy)
        TR_STAT_ADD(c->stats.checks_healthy, 1);
    else
        TR_STAT_ADD(c->stats.checks_unhealthy, 1);
    if (was != now)
        tr_cluster_changed(c);
    if (was != now && !healthy)
        tr_log(TR_LOG_WARN, "upstream %.*s: endpoint %s is unhealthy: %s", (int)name.len, name.ptr,
               tr_uendpoint_text(e, text), why);
    else if (was == TR_HEALTH_UNHEALTHY && healthy)
        tr_log(TR_LOG_INFO, "upstream %.*s: endpoint %s is healthy again", (int)name.len, name.ptr,
               tr_uendpoint_text(e, text));
    rest(check);
}

static void warn_unimplemented(struct tr_cluster *c)
{
    struct tr_span name = c->upstream->conf->name;
    if (!atomic_exchange_explicit(&c->upstream->shared->health_warned, true, memory_order_relaxed))
        tr_log(TR_LOG_WARN,
               "upstream %.*s: a backend does not implement grpc.health.v1 and counts as healthy",
               (int)name.len, name.ptr);
}

static void judge(struct tr_hcheck *check, const struct tr_headers *trailers)
{
    const struct tr_header *h = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS, NULL);
    uint64_t code;
    if (!h || !tr_span_u64(h->value, &code))
        code = check->http_status == 404 ? GRPC_UNIMPLEMENTED : 2;
    if (code == GRPC_UNIMPLEMENTED) {
        warn_unimplemented(check->e->cluster);
        result(check, true, "");
    } else if (code == 0 && tr_health_status(tr_buf_span(&check->answer)) == SERVING) {
        result(check, true, "");
    } else {
        result(check, false,
               code == 0                ? "it is not serving"
               : code == GRPC_NOT_FOUND ? "it does not know the service that is asked for"
                                        : "its answer is an error");
    }
}

/* ---- the call -------------------------------------------------------------------------------- */

static void on_sent(void *ctx)
{
    (void)ctx;
}

static void on_head(void *ctx, unsigned status, const struct tr_headers *headers, bool end)
{
    struct tr_hcheck *check = ctx;
    (void)headers;
    (void)end;
    check->http_status = status;
}

static void on_data(void *ctx, struct tr_span data)
{
    struct tr_hcheck *check = ctx;
    size_t room = ANSWER_MAX - check->answer.len;
    /* too much, or no memory: then it is not SERVING */
    (void)!tr_buf_append(&check->answer, tr_span_sub(data, 0, room));
    tr_h2_req_consume(check->req, data.len);
}

static void on_end(void *ctx, enum tr_err err, uint32_t h2_code, const struct tr_headers *trailers)
{
    struct tr_hcheck *check = ctx;
    (void)h2_code;
    check->req = NULL;
    if (err == TR_ERR_UPSTREAM_GOAWAY || err == TR_ERR_UPSTREAM_REFUSED || err == TR_ERR_NOMEM)
        rest(check); /* says nothing of its health */
    else if (err)
        result(check, false, "the connection or the stream was lost");
    else
        judge(check, trailers);
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static const struct tr_h2_req_events check_events = {on_sent, on_head, on_data, on_end,
                                                     on_writable};

static enum tr_err put_headers(struct tr_hcheck *check, struct tr_headers *headers)
{
    uint64_t now = tr_cluster_now(check->e->cluster);
    char *text = tr_arena_alloc(&check->arena, 16);
    enum tr_err err = text ? TR_OK : TR_ERR_NOMEM;
    if (!err)
        err =
            tr_headers_add(headers, &check->arena, TR_SPAN("te"), TR_SPAN("trailers"), TR_TOKEN_TE);
    if (!err)
        err = tr_headers_add(headers, &check->arena, TR_SPAN("content-type"),
                             TR_SPAN("application/grpc"), TR_TOKEN_CONTENT_TYPE);
    if (!err)
        err = tr_headers_add(
            headers, &check->arena, TR_SPAN("grpc-timeout"),
            tr_grpc_timeout_print(text, check->until_ns > now ? check->until_ns - now : 1),
            TR_TOKEN_GRPC_TIMEOUT);
    return err;
}

/* HealthCheckRequest{service = 1} in one frame. */
static enum tr_err put_body(struct tr_hcheck *check)
{
    struct tr_span service = check->conf->service;
    char head[6 + TR_VARINT_MAX] = {0};
    size_t field = service.len ? 1 + tr_wire_put_varint(head + 6, service.len) : 0;
    size_t n = field + service.len;
    for (size_t i = 0; i < 4; i++)
        head[1 + i] = (char)(n >> (24 - 8 * i));
    head[5] = 1 << 3 | TR_WIRE_LEN;
    tr_buf_clear(&check->body);
    tr_buf_clear(&check->answer);
    check->body_pos = 0;
    enum tr_err err = tr_buf_append(&check->body, tr_span(head, 5 + field));
    return err ? err : tr_buf_append(&check->body, service);
}

static void send_on(struct tr_hcheck *check, struct tr_uconn *conn)
{
    const struct tr_upstream_conf *conf = check->e->cluster->upstream->conf;
    struct tr_headers headers = {NULL, 0, 0};
    enum tr_err err = put_headers(check, &headers);
    if (!err)
        err = put_body(check);
    struct tr_h2_req_params params = {
        .method = TR_SPAN("POST"),
        .scheme = conf->tls ? TR_SPAN("https") : TR_SPAN("http"),
        .authority = conf->authority.len ? conf->authority : check->e->conf->authority,
        .path = TR_SPAN("/grpc.health.v1.Health/Check"),
        .headers = &headers,
        .body = &check->body,
        .body_pos = &check->body_pos,
        .end = true,
        .arena = &check->arena,
        .events = &check_events,
        .ctx = check,
    };
    check->http_status = 0;
    if (!err)
        err = tr_h2_req_new(conn->client, &params, &check->req);
    if (err)
        rest(check); /* without memory nothing is known */
    else
        check->state = CHECK_SENT;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void begin(struct tr_hcheck *check)
{
    struct tr_cluster *c = check->e->cluster;
    check->state = CHECK_WAITING;
    check->until_ns = tr_cluster_now(c) + check->conf->timeout_ns;
    if (tr_timer_start(&check->timer, check->conf->timeout_ns) != TR_OK) {
        rest(check);
        return;
    }
    struct tr_uconn *conn = tr_uendpoint_room(check->e);
    if (conn)
        send_on(check, conn);
    else
        tr_uendpoint_grow(check->e);
}

/* Is it this worker that asks now? */
static bool claim(struct tr_hcheck *check)
{
    struct tr_cluster *c = check->e->cluster;
    uint64_t now = tr_cluster_now(c);
    uint64_t next = atomic_load_explicit(&check->e->slot->next_check_ns, memory_order_relaxed);
    return next <= now &&
           atomic_compare_exchange_strong_explicit(&check->e->slot->next_check_ns, &next,
                                                   now + jittered(c, check->conf->interval_ns),
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* A connection is there whose streams are all in use: the backend works. */
static bool is_busy(const struct tr_hcheck *check)
{
    return check->e->conn_count > check->e->connecting;
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_hcheck *check = tr_container_of(timer, struct tr_hcheck, timer);
    if (check->state == CHECK_IDLE && claim(check))
        begin(check);
    else if (check->state == CHECK_IDLE || (check->state == CHECK_WAITING && is_busy(check)))
        rest(check);
    else
        result(check, false, "no answer in time");
}

void tr_hcheck_ready(struct tr_hcheck *check)
{
    struct tr_uendpoint *e = check->e;
    struct tr_uconn *conn = check->state == CHECK_WAITING ? tr_uendpoint_room(e) : NULL;
    if (conn) {
        send_on(check, conn);
    } else if (check->state == CHECK_IDLE &&
               atomic_load_explicit(&e->slot->health, memory_order_relaxed) ==
                   TR_HEALTH_UNHEALTHY) {
        /* it is back: no need to wait for the interval */
        atomic_store_explicit(&e->slot->next_check_ns, 0, memory_order_relaxed);
        rest(check);
    }
}

void tr_hcheck_failed(struct tr_hcheck *check)
{
    if (check->state == CHECK_WAITING)
        result(check, false, "no connection");
}

enum tr_err tr_hcheck_new(struct tr_uendpoint *e, const struct tr_health_conf *conf,
                          struct tr_hcheck **ret_check)
{
    struct tr_cluster *c = e->cluster;
    struct tr_hcheck *check = tr_calloc(1, sizeof *check);
    if (!check)
        return TR_ERR_NOMEM;
    check->e = e;
    check->conf = conf;
    tr_arena_init(&check->arena, c->worker->blocks);
    tr_timer_init(&check->timer, c->worker->loop, on_timer);
    uint64_t tenth = conf->interval_ns / 10; /* gateways that start together do not ask together */
    enum tr_err err =
        tr_timer_start(&check->timer, (uint64_t)((double)tenth * (tr_cluster_random(c) * 0x1p-32)));
    if (err) {
        tr_free(check);
        return err;
    }
    *ret_check = check;
    return TR_OK;
}

void tr_hcheck_free(struct tr_hcheck *check)
{
    if (!check)
        return;
    if (check->req)
        tr_h2_req_cancel(check->req);
    tr_timer_stop(&check->timer);
    tr_buf_fini(&check->body);
    tr_buf_fini(&check->answer);
    tr_arena_fini(&check->arena);
    tr_free(check);
}
