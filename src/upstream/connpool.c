/* Connections of endpoints. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "io/listener.h"
#include "upstream/upstream_int.h"

#include <stdio.h>

#define DEFAULT_HEADER_BYTES ((uint32_t)64 * 1024)
#define YOUNG_NS             ((uint64_t)1000 * 1000 * 1000)
#define GROW_PAUSE_NS        ((uint64_t)1000 * 1000 * 1000)
#define COLD_AT_ONCE         3 /* endpoints that are connected to at once when none is ready */

/* ---- the end --------------------------------------------------------------------------------- */

/* Out of the endpoint's count of usable connections. */
static void uncount(struct tr_uconn *conn)
{
    if (conn->state == TR_UCONN_DRAINING)
        return;
    if (conn->state == TR_UCONN_CONNECTING)
        conn->endpoint->connecting--;
    conn->endpoint->conn_count--;
    conn->state = TR_UCONN_DRAINING;
}

void tr_uconn_close(struct tr_uconn *conn)
{
    struct tr_cluster *c = conn->endpoint->cluster;
    uncount(conn);
    tr_timer_stop(&conn->timer);
    tr_list_remove(&conn->node);
    if (conn->client)
        tr_h2_client_free(conn->client);
    else if (conn->stream)
        tr_stream_close(conn->stream, false);
    TR_STAT_SET(c->stats.connections, c->stats.connections - 1);
    TR_STAT_ADD(c->stats.connections_closed, 1);
    tr_free(conn);
}

/* The endpoint goes with its last connection when its name has it no more. */
static void closed_one(struct tr_uendpoint *e)
{
    if (e->gone && tr_list_empty(&e->conns))
        tr_uendpoint_free(e);
}

void tr_uconn_drain(struct tr_uconn *conn)
{
    uncount(conn);
    if (!conn->client || tr_h2_client_open_requests(conn->client) == 0)
        tr_uconn_close(conn);
    else
        tr_h2_client_finish(conn->client);
}

/* Once for all workers until one of them has a connection: it is tried again and again. */
static void tell_down(struct tr_uendpoint *e, struct tr_span why)
{
    char text[TR_ENDPOINT_TEXT_MAX];
    const struct tr_upstream_conf *conf = e->cluster->upstream->conf;
    if (!atomic_exchange_explicit(&e->slot->down_told, true, memory_order_relaxed))
        tr_log(TR_LOG_WARN, "upstream %.*s: endpoint %s is down: %.*s", (int)conf->name.len,
               conf->name.ptr, tr_uendpoint_text(e, text), (int)why.len, why.ptr);
}

static void tell_up(struct tr_uendpoint *e)
{
    char text[TR_ENDPOINT_TEXT_MAX];
    const struct tr_upstream_conf *conf = e->cluster->upstream->conf;
    if (atomic_exchange_explicit(&e->slot->down_told, false, memory_order_relaxed))
        tr_log(TR_LOG_INFO, "upstream %.*s: endpoint %s is up again", (int)conf->name.len,
               conf->name.ptr, tr_uendpoint_text(e, text));
}

/* With another connection at work the endpoint is not down: it may have a limit of its own. Then
 * the calls that wait must not have it connected to without pause. */
static void failed_one(struct tr_uendpoint *e, bool others, enum tr_err why, struct tr_span text)
{
    TR_STAT_ADD(e->cluster->stats.connect_failures, 1);
    if (!others || e->state != TR_ENDPOINT_UP) {
        tell_down(e, text);
        tr_uendpoint_down(e, why);
        return;
    }
    e->grow_ns = tr_cluster_now(e->cluster) + GROW_PAUSE_NS;
    tr_cluster_kick(e->cluster);
}

/* A connection that ends as soon as it is ready serves nobody: to the endpoint it is a failure,
 * else a backend that goes away at once would be connected to without pause. */
static void ended_young(const struct tr_uconn *conn)
{
    struct tr_uendpoint *e = conn->endpoint;
    if (!conn->used && conn->state == TR_UCONN_READY &&
        tr_cluster_now(e->cluster) - conn->ready_ns < YOUNG_NS)
        failed_one(e, e->conn_count - e->connecting > 1, TR_ERR_UPSTREAM_CONNECT,
                   TR_SPAN("it ended a new connection at once"));
}

static void connect_failed(struct tr_uconn *conn, enum tr_err why, struct tr_span text)
{
    struct tr_uendpoint *e = conn->endpoint;
    tr_uconn_close(conn);
    failed_one(e, e->conn_count > 0, why, text);
    closed_one(e);
}

static void on_connect_timeout(struct tr_timer *timer)
{
    connect_failed(tr_container_of(timer, struct tr_uconn, timer), TR_ERR_UPSTREAM_CONNECT,
                   TR_SPAN("no connection within connect_timeout"));
}

/* ---- the client's events --------------------------------------------------------------------- */

static void on_settings(void *ctx)
{
    struct tr_uconn *conn = ctx;
    if (conn->state == TR_UCONN_CONNECTING) {
        conn->state = TR_UCONN_READY;
        conn->ready_ns = tr_cluster_now(conn->endpoint->cluster);
        conn->endpoint->connecting--;
        tr_timer_stop(&conn->timer);
        tr_uendpoint_up(conn->endpoint);
        tell_up(conn->endpoint);
        if (conn->endpoint->check)
            tr_hcheck_ready(conn->endpoint->check);
    }
    tr_cluster_kick(conn->endpoint->cluster);
}

static void on_goaway(void *ctx, uint32_t code)
{
    struct tr_uconn *conn = ctx;
    struct tr_cluster *c = conn->endpoint->cluster;
    (void)code;
    TR_STAT_ADD(c->stats.goaways, 1);
    ended_young(conn);
    uncount(conn);
    tr_cluster_kick(c);
}

static void on_room(void *ctx)
{
    struct tr_uconn *conn = ctx;
    struct tr_uendpoint *e = conn->endpoint;
    struct tr_cluster *c = e->cluster;
    if (tr_h2_client_is_spent(conn->client))
        uncount(conn);
    if (conn->state == TR_UCONN_DRAINING && tr_h2_client_open_requests(conn->client) == 0) {
        tr_uconn_close(conn);
        closed_one(e);
    }
    if (!tr_list_empty(&c->pending))
        tr_cluster_kick(c);
}

static void on_closed(void *ctx, enum tr_err why)
{
    struct tr_uconn *conn = ctx;
    struct tr_uendpoint *e = conn->endpoint;
    struct tr_cluster *c = e->cluster;
    if (conn->state == TR_UCONN_CONNECTING) {
        bool other = why == TR_ERR_H2_PROTOCOL;
        connect_failed(conn, other ? TR_ERR_UPSTREAM_PROTOCOL : TR_ERR_UPSTREAM_CONNECT,
                       other ? TR_SPAN("it does not speak HTTP/2")
                             : TR_SPAN("it closed the connection before it spoke HTTP/2"));
        return;
    }
    ended_young(conn);
    tr_uconn_close(conn);
    closed_one(e);
    tr_cluster_kick(c);
}

static const struct tr_h2_client_events client_events = {on_settings, on_goaway, on_room,
                                                         on_closed};

static void on_ready(void *ctx, enum tr_err err)
{
    struct tr_uconn *conn = ctx;
    struct tr_uendpoint *e = conn->endpoint;
    const struct tr_upstream_conf *conf = e->cluster->upstream->conf;
    uint32_t header_bytes = conf->max_header_bytes ? conf->max_header_bytes : DEFAULT_HEADER_BYTES;
    if (err) {
        bool tls = err == TR_ERR_TLS || err == TR_ERR_UPSTREAM_TLS;
        char text[256]; /* the stream is gone when it is told */
        struct tr_span why = tr_stream_error(conn->stream);
        (void)snprintf(text, sizeof text, "%s%.*s", tls ? "TLS: " : "", (int)why.len, why.ptr);
        connect_failed(conn, tls ? TR_ERR_UPSTREAM_TLS : TR_ERR_UPSTREAM_CONNECT,
                       tr_span_cstr(text));
        return;
    }
    if (tr_h2_client_new(e->cluster->worker, conn->stream, header_bytes, &client_events, conn,
                         &conn->client) != TR_OK) {
        connect_failed(conn, TR_ERR_NOMEM, TR_SPAN("out of memory"));
        return;
    }
    conn->stream = NULL; /* the client's now */
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static const struct tr_stream_events connect_events = {on_ready, nothing, nothing};

/* ---- growth ---------------------------------------------------------------------------------- */

static enum tr_err connect_one(struct tr_uendpoint *e)
{
    struct tr_cluster *c = e->cluster;
    const struct tr_upstream_conf *conf = c->upstream->conf;
    char text[TR_ADDR_TEXT_MAX];
    struct tr_uconn *conn = tr_calloc(1, sizeof *conn);
    if (!conn)
        return TR_ERR_NOMEM;
    conn->endpoint = e;
    tr_timer_init(&conn->timer, c->worker->loop, on_connect_timeout);
    struct tr_span name = conf->server_name;
    if (!name.len)
        name = e->conf->host.len ? e->conf->host : tr_addr_host(&e->addr, text);
    enum tr_err err = tr_timer_start(&conn->timer, conf->connect_timeout_ns);
    if (!err)
        err = tr_stream_connect(c->worker->loop, &e->addr, conf->tls, name, &connect_events, conn,
                                &conn->stream);
    if (err) {
        tr_timer_stop(&conn->timer);
        tr_free(conn);
        return err;
    }
    tr_list_push_back(&e->conns, &conn->node);
    e->conn_count++;
    e->connecting++;
    TR_STAT_ADD(c->stats.connects, 1);
    TR_STAT_SET(c->stats.connections, c->stats.connections + 1);
    return TR_OK;
}

void tr_uendpoint_grow(struct tr_uendpoint *e)
{
    uint32_t max = e->cluster->upstream->conf->max_connections;
    if (e->gone || e->connecting || e->conn_count >= (max ? max : 1) ||
        (e->conn_count && tr_cluster_now(e->cluster) < e->grow_ns))
        return;
    if (connect_one(e) != TR_OK)
        failed_one(e, e->conn_count > 0, TR_ERR_UPSTREAM_CONNECT,
                   TR_SPAN("no connection can be begun"));
}

struct tr_uconn *tr_uendpoint_room(const struct tr_uendpoint *e)
{
    tr_list_for_each (it, next, &e->conns) {
        struct tr_uconn *conn = tr_container_of(it, struct tr_uconn, node);
        if (conn->state == TR_UCONN_READY && tr_h2_client_room(conn->client) > 0)
            return conn;
    }
    return NULL;
}

/* Nothing is ready: several endpoints are tried at once, so that one that swallows packets costs no
 * time. */
static void warm_up(struct tr_cluster *c)
{
    uint64_t now = tr_cluster_now(c);
    uint32_t busy = 0;
    for (uint32_t i = 0; i < c->live_count; i++)
        busy += c->live[i]->connecting;
    for (uint32_t i = 0; i < c->live_count && busy < COLD_AT_ONCE; i++) {
        struct tr_uendpoint *e = c->live[i];
        if (e->connecting || e->blocked ||
            (e->state == TR_ENDPOINT_DOWN && now < tr_uendpoint_demand_ns(e)))
            continue;
        tr_uendpoint_grow(e);
        busy += e->connecting;
    }
}

/* Another endpoint with room while the one that was picked connects or is full. */
static struct tr_uconn *other_room(const struct tr_cluster *c, uint32_t at,
                                   const struct tr_pick *pick)
{
    for (int round = 0; round < (pick->avoid ? 2 : 1); round++) {
        for (uint32_t i = 1; i < c->live_count; i++) {
            const struct tr_uendpoint *e = c->live[(at + i) % c->live_count];
            struct tr_uconn *conn =
                e->blocked || (round == 0 && tr_pick_avoids(pick, e)) ? NULL : tr_uendpoint_room(e);
            if (conn)
                return conn;
        }
    }
    return NULL;
}

struct tr_uconn *tr_cluster_conn(struct tr_cluster *c, const struct tr_ucall *call)
{
    const struct tr_upstream_conf *conf = c->upstream->conf;
    struct tr_pick pick = {.how = conf->balance,
                           .now_ns = tr_cluster_now(c),
                           .slow_start_ns = conf->slow_start_ns,
                           .avoid = call->avoid,
                           .avoid_key = call->avoid_key,
                           .ring = c->ring,
                           .hash = call->hash,
                           .hashed = call->hashed};
    tr_cluster_look(c);
    uint32_t at = tr_balance_pick(&pick, c->live, c->live_count, &c->random);
    if (at < c->live_count) {
        struct tr_uconn *conn = tr_uendpoint_room(c->live[at]);
        if (conn)
            return conn;
        tr_uendpoint_grow(c->live[at]);
        if (c->ring && call->hashed && c->live[at]->connecting)
            return NULL; /* it belongs there */
        conn = other_room(c, at, &pick);
        if (conn)
            return conn;
    }
    warm_up(c);
    return NULL;
}

bool tr_cluster_has_ready(const struct tr_cluster *c)
{
    for (uint32_t i = 0; i < c->live_count; i++) {
        if (c->live[i]->conn_count > c->live[i]->connecting)
            return true;
    }
    return false;
}

bool tr_cluster_is_connecting(const struct tr_cluster *c)
{
    for (uint32_t i = 0; i < c->live_count; i++) {
        if (c->live[i]->connecting)
            return true;
    }
    return false;
}
