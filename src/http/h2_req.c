/* Requests of the client connection, and what nghttp2 tells about them. */
#include "base/assert.h"
#include "http/h2_client_int.h"

#define FLOOD_BURST    4000 /* frames that carry nothing: gRPC servers PING often while data flows */
#define FLOOD_A_SECOND 400
#define FLOOD_EARNED   4
#define FIELD_EXTRA    32
#define FIELDS_MAX     512

static struct tr_h2_req *req_of(nghttp2_session *ng, int32_t id)
{
    return nghttp2_session_get_stream_user_data(ng, id);
}

static void flood_take(struct tr_h2_client *client)
{
    if (!tr_h2_bucket_take(&client->flood, FLOOD_BURST, FLOOD_A_SECOND,
                           tr_loop_now_ns(client->sess.worker->loop)))
        tr_h2_client_quit(client, TR_ERR_H2_PROTOCOL, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* ---- life ------------------------------------------------------------------------------------ */

void tr_h2_req_free(struct tr_h2_req *req)
{
    tr_list_remove(&req->node);
    tr_h2_window_end(&req->client->sess, &req->window);
    req->client->open--;
    tr_h2_pool_free(req->client->sess.pool, req);
}

void tr_h2_req_end(struct tr_h2_req *req, enum tr_err err, uint32_t code)
{
    if (req->off)
        return;
    req->off = true;
    req->src.dead = true;
    req->events->on_end(req->ctx, err, code, &req->fields);
}

static void req_rst(struct tr_h2_req *req, uint32_t code)
{
    if (!req->client->sess.ng)
        return;
    (void)nghttp2_submit_rst_stream(req->client->sess.ng, NGHTTP2_FLAG_NONE, req->id, code);
    tr_h2_client_kick(req->client);
}

enum tr_err tr_h2_req_new(struct tr_h2_client *client, const struct tr_h2_req_params *params,
                          struct tr_h2_req **ret_req)
{
    if (tr_h2_client_room(client) == 0)
        return TR_ERR_UPSTREAM_ACTIVE;
    nghttp2_nv stack[TR_H2_NV_STACK];
    size_t count = 0;
    nghttp2_nv *nva = tr_h2_nvs(&client->sess, params->headers->count + 4u, stack);
    struct tr_h2_req *req = tr_h2_pool_alloc(client->sess.pool, sizeof *req);
    if (!nva || !req) {
        tr_h2_pool_free(client->sess.pool, req);
        if (nva)
            tr_h2_nvs_done(&client->sess, nva, stack);
        return TR_ERR_NOMEM;
    }
    *req = (struct tr_h2_req){.client = client,
                              .events = params->events,
                              .ctx = params->ctx,
                              .arena = params->arena,
                              .src = {.buf = params->body,
                                      .pos = params->body_pos,
                                      .ready = params->body->len - params->body_hold,
                                      .end = params->end},
                              .rst_code = ~0u};
    nva[count++] = tr_h2_nv_static(":method", 7, params->method);
    nva[count++] = tr_h2_nv_static(":scheme", 7, params->scheme);
    nva[count++] = tr_h2_nv_static(":path", 5, params->path);
    nva[count++] = tr_h2_nv_static(":authority", 10, params->authority);
    for (uint32_t i = 0; i < params->headers->count; i++)
        nva[count++] = tr_h2_nv(&params->headers->items[i]);
    nghttp2_data_provider body = tr_h2_source_provider(&req->src);
    bool empty = params->end && tr_h2_source_queued(&req->src) == 0;
    int32_t id =
        nghttp2_submit_request(client->sess.ng, NULL, nva, count, empty ? NULL : &body, req);
    tr_h2_nvs_done(&client->sess, nva, stack);
    if (id < 0) {
        tr_h2_pool_free(client->sess.pool, req);
        return TR_ERR_NOMEM;
    }
    req->id = id;
    req->above_high = tr_h2_source_queued(&req->src) >= TR_OUT_HIGH_BYTES;
    client->open++;
    tr_list_push_back(&client->reqs, &req->node);
    tr_h2_client_kick(client);
    *ret_req = req;
    return TR_OK;
}

void tr_h2_req_commit(struct tr_h2_req *req, bool end)
{
    if (req->off || req->src.end)
        return;
    (void)tr_h2_source_commit(&req->src, end);
    if (tr_h2_source_queued(&req->src) >= TR_OUT_HIGH_BYTES)
        req->above_high = true;
    tr_h2_source_resume(&req->client->sess, req->id, &req->src);
    tr_h2_client_kick(req->client);
}

void tr_h2_req_compact(struct tr_h2_req *req)
{
    tr_h2_source_compact(&req->src, true);
}

void tr_h2_req_consume(struct tr_h2_req *req, size_t bytes)
{
    if (req->off || req->remote_end || !req->client->sess.ng)
        return;
    tr_h2_window_consume(&req->client->sess, req->id, &req->window, bytes);
    tr_h2_client_kick(req->client);
}

void tr_h2_req_cancel(struct tr_h2_req *req)
{
    if (req->off)
        return;
    req->off = true;
    req->src.dead = true;
    req_rst(req, NGHTTP2_CANCEL);
}

int32_t tr_h2_req_id(const struct tr_h2_req *req)
{
    return req->id;
}

void tr_h2_client_writable(struct tr_h2_client *client)
{
    client->writable_due = false;
    tr_list_for_each (it, next, &client->reqs) {
        struct tr_h2_req *req = tr_container_of(it, struct tr_h2_req, node);
        if (req->off || !req->above_high || tr_h2_source_queued(&req->src) >= TR_OUT_LOW_BYTES)
            continue;
        req->above_high = false;
        if (!req->src.end)
            req->events->on_writable(req->ctx);
    }
}

/* ---- the answer's sections ------------------------------------------------------------------- */

/* Ends it with an error of ours; the stream is reset. */
static void req_fail(struct tr_h2_req *req, enum tr_err err, uint32_t code)
{
    if (!req->why)
        req->why = err;
    req_rst(req, code);
}

/* Pushes were switched off. Before the peer has acknowledged that, nghttp2 would reset each pushed
 * stream, for ever. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    (void)ng;
    if (hd->type == NGHTTP2_PUSH_PROMISE)
        tr_h2_client_quit(tr_h2_client_of_sess(user), TR_ERR_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct tr_h2_req *req = req_of(ng, frame->hd.stream_id);
    if (req) {
        req->fields = (struct tr_headers){NULL, 0, 0};
        req->field_bytes = 0;
    }
    return 0;
}

static bool take_text(struct tr_h2_req *req, nghttp2_rcbuf *rc, struct tr_span *ret_text)
{
    nghttp2_vec v = nghttp2_rcbuf_get_buf(rc);
    struct tr_span s = tr_span((const char *)v.base, v.len);
    *ret_text = nghttp2_rcbuf_is_static(rc) ? s : tr_arena_copy(req->arena, s);
    return ret_text->ptr != NULL;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name_rc,
                     nghttp2_rcbuf *value_rc, uint8_t flags, void *user)
{
    (void)flags;
    struct tr_h2_client *client = tr_h2_client_of_sess(user);
    struct tr_h2_req *req = req_of(ng, frame->hd.stream_id);
    if (!req || req->off || req->why)
        return 0;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name_rc), v = nghttp2_rcbuf_get_buf(value_rc);
    size_t bytes = n.len + v.len + FIELD_EXTRA;
    if (bytes > client->max_header_bytes - req->field_bytes || req->fields.count >= FIELDS_MAX) {
        req_fail(req, TR_ERR_UPSTREAM_HEADERS, NGHTTP2_CANCEL);
        return 0;
    }
    req->field_bytes += (uint32_t)bytes;
    struct tr_span name, value;
    if (n.len && n.base[0] == ':') {
        if (n.len == 7 && memcmp(n.base, ":status", 7) == 0 && v.len == 3)
            req->status =
                (unsigned)((v.base[0] - '0') * 100 + (v.base[1] - '0') * 10 + (v.base[2] - '0'));
        return 0;
    }
    if (!req->head_seen && req->status < 200)
        return 0; /* of an interim answer, of which there may be many, nothing is kept */
    if (!take_text(req, name_rc, &name) || !take_text(req, value_rc, &value) ||
        tr_headers_add(&req->fields, req->arena, name, value, tr_token_from(name)) != TR_OK)
        req_fail(req, TR_ERR_NOMEM, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

/* A field that nghttp2 would drop makes the answer malformed. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    struct tr_h2_req *req = req_of(ng, frame->hd.stream_id);
    if (req && !req->off)
        req_fail(req, TR_ERR_UPSTREAM_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* The answer is complete. What is left of the request is of no use to the peer (gRPC answers early
 * on errors). */
static void remote_ended(struct tr_h2_req *req)
{
    req->remote_end = true;
    if (req->off)
        return;
    if (!req->local_end)
        req_rst(req, NGHTTP2_CANCEL);
    tr_h2_req_end(req, TR_OK, ~0u);
}

static void headers_complete(struct tr_h2_req *req, bool end)
{
    if (req->off || req->why)
        return;
    if (!req->head_seen) {
        if (req->status < 200)
            return; /* interim: its fields mean nothing here */
        req->head_seen = true;
        req->events->on_head(req->ctx, req->status, &req->fields, end);
    }
    if (end)
        remote_ended(req);
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct tr_h2_client *client = tr_h2_client_of_sess(user);
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct tr_h2_req *req = frame->hd.stream_id ? req_of(ng, frame->hd.stream_id) : NULL;
    if (client->freed)
        return 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (req && !req->head_seen && req->status < 200)
            flood_take(client); /* interim */
        else
            tr_h2_bucket_give(&client->flood, FLOOD_EARNED, FLOOD_BURST);
        if (req)
            headers_complete(req, end);
        break;
    case NGHTTP2_DATA:
        if (end && req) {
            req->fields.count = 0; /* no trailers came */
            if (!req->why)
                remote_ended(req);
        } else if (frame->hd.length <= frame->data.padlen) {
            flood_take(client);
        } else {
            tr_h2_bucket_give(&client->flood, FLOOD_EARNED, FLOOD_BURST);
        }
        break;
    case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            break;
        if (client->got_settings)
            flood_take(client);
        client->got_settings = true;
        client->peer_streams =
            nghttp2_session_get_remote_settings(ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
        client->events->on_settings(client->ctx);
        break;
    case NGHTTP2_GOAWAY:
        client->goaway = true;
        client->goaway_last = frame->goaway.last_stream_id;
        client->events->on_goaway(client->ctx, frame->goaway.error_code);
        break;
    case NGHTTP2_RST_STREAM:
        if (req)
            req->rst_code = frame->rst_stream.error_code;
        else
            flood_take(client);
        break;
    default:
        flood_take(client);
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user)
{
    (void)flags;
    (void)user;
    (void)nghttp2_session_consume_connection(ng, len);
    struct tr_h2_req *req = req_of(ng, id);
    if (req && !req->off && !req->why)
        req->events->on_data(req->ctx, tr_span((const char *)data, len));
    return 0;
}

static int before_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct tr_h2_req *req = req_of(ng, frame->hd.stream_id);
    if (req && !req->sent) {
        req->sent = true;
        if (!req->off)
            req->events->on_sent(req->ctx);
    }
    return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct tr_h2_client *client = tr_h2_client_of_sess(user);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
        !client->why)
        client->why = TR_ERR_H2_PROTOCOL; /* nghttp2 ends the connection */
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    tr_h2_bucket_give(&client->flood, FLOOD_EARNED, FLOOD_BURST);
    struct tr_h2_req *req = req_of(ng, frame->hd.stream_id);
    if (!req)
        return 0;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        req->local_end = true;
    if (req->above_high)
        client->writable_due = true;
    return 0;
}

/* Why nghttp2 closed a stream whose answer was not complete. */
static enum tr_err close_reason(const struct tr_h2_client *client, const struct tr_h2_req *req,
                                uint32_t code)
{
    if (req->why)
        return req->why;
    if (req->rst_code != ~0u)
        return req->rst_code == NGHTTP2_REFUSED_STREAM ? TR_ERR_UPSTREAM_REFUSED
                                                       : TR_ERR_UPSTREAM_RESET;
    if (client->goaway && req->id > client->goaway_last)
        return TR_ERR_UPSTREAM_GOAWAY;
    if (code == NGHTTP2_REFUSED_STREAM)
        return TR_ERR_UPSTREAM_REFUSED;
    return TR_ERR_UPSTREAM_PROTOCOL;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct tr_h2_client *client = tr_h2_client_of_sess(user);
    struct tr_h2_req *req = req_of(ng, id);
    if (!req)
        return 0;
    (void)nghttp2_session_set_stream_user_data(ng, id, NULL);
    if (!req->off) {
        enum tr_err err = close_reason(client, req, code);
        req->fields.count = 0;
        tr_h2_req_end(req, err, req->rst_code);
    }
    tr_h2_req_free(req);
    client->room_due = true;
    return 0;
}

void tr_h2_client_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_before_frame_send_callback(cb, before_frame_send);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
