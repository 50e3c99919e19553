#include "http/h2_client.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bufpool.h"
#include "http/h2_client_int.h"

#define ROUNDS_A_TURN 4
#define CONTINUATIONS 16

/* ---- the end ------------------------------------------------------------------------------------
 */

static void tell_requests(struct tr_h2_client *client)
{
    client->busy++;
    tr_list_for_each (it, next, &client->reqs) {
        struct tr_h2_req *req = tr_container_of(it, struct tr_h2_req, node);
        enum tr_err err =
            client->why == TR_ERR_H2_PROTOCOL ? TR_ERR_UPSTREAM_PROTOCOL : TR_ERR_UPSTREAM_CLOSED;
        if (client->goaway && req->id > client->goaway_last)
            err = TR_ERR_UPSTREAM_GOAWAY;
        tr_h2_req_end(req, err, ~0u);
    }
    client->busy--;
}

/* A callback may have cancelled any of them, so that they are freed in a walk of its own. */
static void end_requests(struct tr_h2_client *client)
{
    struct tr_list *node;
    tell_requests(client);
    while ((node = tr_list_pop_front(&client->reqs)) != NULL)
        tr_h2_req_free(tr_container_of(node, struct tr_h2_req, node));
}

static void client_release(struct tr_h2_client *client)
{
    tr_task_cancel(&client->task);
    if (client->sess.ng) {
        nghttp2_session_del(client->sess.ng);
        client->sess.ng = NULL;
    }
    end_requests(client);
    if (client->sess.stream)
        tr_stream_close(client->sess.stream, false);
    tr_h2_sess_fini(&client->sess);
    tr_free(client);
}

void tr_h2_client_free(struct tr_h2_client *client)
{
    if (!client || client->freed)
        return;
    client->freed = true;
    tell_requests(client); /* now, whatever is going on: the owner is about to forget them */
    if (!client->busy)
        client_release(client);
}

/* After each piece of work: tells of what happened during it. The client may be gone after. */
static void settle(struct tr_h2_client *client)
{
    if (client->busy)
        return;
    client->busy++;
    if (client->dead && !client->told && !client->freed) {
        client->told = true;
        tr_task_cancel(&client->task);
        tr_stream_want(client->sess.stream, false, false);
        if (client->sess.ng) {
            nghttp2_session_del(client->sess.ng);
            client->sess.ng = NULL;
        }
        end_requests(client);
        if (!client->freed)
            client->events->on_closed(client->ctx, client->why);
    } else if (client->room_due && !client->freed) {
        client->room_due = false;
        client->events->on_room(client->ctx);
    }
    client->busy--;
    if (client->freed)
        client_release(client);
}

static void client_kill(struct tr_h2_client *client, enum tr_err why)
{
    if (!client->why)
        client->why = why;
    client->dead = true;
}

void tr_h2_client_quit(struct tr_h2_client *client, enum tr_err why, uint32_t code)
{
    if (client->quitting || client->dead)
        return;
    client->quitting = true;
    client->why = why;
    (void)nghttp2_session_terminate_session(client->sess.ng, code);
    tr_h2_client_kick(client);
}

/* ---- output and input ------------------------------------------------------------------------ */

static bool session_over(const struct tr_h2_client *client)
{
    return !nghttp2_session_want_read(client->sess.ng) &&
           !nghttp2_session_want_write(client->sess.ng);
}

static void on_task(struct tr_task *task)
{
    struct tr_h2_client *client = tr_container_of(task, struct tr_h2_client, task);
    enum tr_h2_flush r = TR_H2_MORE;
    if (client->dead || client->freed) {
        settle(client);
        return;
    }
    client->busy++;
    for (int round = 0; r == TR_H2_MORE && round < ROUNDS_A_TURN && !client->freed; round++) {
        r = tr_h2_sess_flush(&client->sess);
        if (client->writable_due)
            tr_h2_client_writable(client);
    }
    client->busy--;
    switch (r) {
    case TR_H2_FLUSHED:
        tr_stream_want(client->sess.stream, true, false);
        if (session_over(client) || (client->finishing && client->open == 0))
            client_kill(client, TR_ERR_EOF);
        break;
    case TR_H2_BLOCKED:
    case TR_H2_MORE:
        tr_stream_want(client->sess.stream, true, true);
        break;
    case TR_H2_BROKEN:
        client_kill(client, TR_ERR_IO);
        break;
    case TR_H2_NOMEM:
        client_kill(client, TR_ERR_NOMEM);
        break;
    }
    settle(client);
}

/* The head of a frame is fed as a whole, for the reason that h2_conn.c gives. */
static enum tr_err feed(struct tr_h2_client *client, const uint8_t *data, size_t len)
{
    size_t pos = 0, fed = 0;
    bool held = client->scan.have > 0; /* the head that data begins within */
    enum tr_err err = TR_OK;
    struct tr_h2_frame_head f;
    while (!err && tr_h2_scan_next(&client->scan, data, len, &pos, &f)) {
        if (held) {
            err = tr_h2_sess_feed(&client->sess, client->scan.head, sizeof client->scan.head);
            fed = pos;
            held = false;
        }
    }
    if (!err && !held)
        err = tr_h2_sess_feed(&client->sess, data + fed, len - fed - client->scan.have);
    return err;
}

static void on_readable(void *ctx)
{
    struct tr_h2_client *client = ctx;
    ssize_t n = tr_h2_sess_read(&client->sess);
    if (n == TR_STREAM_AGAIN)
        return;
    if (n <= 0) {
        client_kill(client, n == 0 ? TR_ERR_EOF : TR_ERR_IO);
        settle(client);
        return;
    }
    client->busy++;
    enum tr_err err = feed(client, (const uint8_t *)client->sess.worker->read_buf, (size_t)n);
    client->busy--;
    if (err == TR_ERR_NOMEM)
        client_kill(client, err);
    else if (err)
        tr_h2_client_quit(client, TR_ERR_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
    if (nghttp2_session_want_write(client->sess.ng) || session_over(client))
        tr_h2_client_kick(client);
    settle(client);
}

static void on_writable(void *ctx)
{
    tr_h2_client_kick(ctx);
}

static void on_ready(void *ctx, enum tr_err err)
{
    (void)ctx;
    (void)err;
}

static const struct tr_stream_events stream_events = {on_ready, on_readable, on_writable};

/* ---- beginning ------------------------------------------------------------------------------- */

static enum tr_err session_new(struct tr_h2_client *client)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *opt = NULL;
    enum tr_err err = TR_ERR_NOMEM;
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0)
        goto done;
    tr_h2_sess_callbacks(cb);
    tr_h2_client_callbacks(cb);
    tr_h2_sess_options(opt);
    nghttp2_option_set_no_closed_streams(opt, 1);
    nghttp2_option_set_max_settings(opt, 32);
    /* a request is only submitted when there is room, so that nghttp2 has no queue of its own */
    nghttp2_option_set_peer_max_concurrent_streams(opt, UINT32_MAX);
#ifdef TR_HAVE_NGHTTP2_MAX_CONTINUATIONS
    nghttp2_option_set_max_continuations(opt, CONTINUATIONS);
#endif
    nghttp2_mem mem;
    tr_h2_pool_mem(client->sess.pool, &client->sess.mem, &mem);
    if (nghttp2_session_client_new3(&client->sess.ng, cb, &client->sess, opt, &mem) != 0)
        goto done;
    const nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)TR_H2_WINDOW_FIRST},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, client->max_header_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_submit_settings(client->sess.ng, NGHTTP2_FLAG_NONE, iv, sizeof iv / sizeof iv[0]) ==
            0 &&
        nghttp2_session_set_local_window_size(client->sess.ng, NGHTTP2_FLAG_NONE, 0,
                                              TR_H2_CLIENT_CONN_WINDOW) == 0 &&
        !client->sess.mem.low)
        err = TR_OK;
done:
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    return err;
}

enum tr_err tr_h2_client_new(struct tr_hworker *worker, struct tr_stream *stream,
                             uint32_t max_header_bytes, const struct tr_h2_client_events *events,
                             void *ctx, struct tr_h2_client **ret_client)
{
    struct tr_h2_client *client = tr_calloc(1, sizeof *client);
    if (!client)
        return TR_ERR_NOMEM;
    client->events = events;
    client->ctx = ctx;
    client->max_header_bytes = max_header_bytes;
    tr_list_init(&client->reqs);
    tr_task_init(&client->task, on_task);
    enum tr_err err = tr_h2_sess_init(&client->sess, worker, stream);
    if (!err)
        err = session_new(client);
    if (err) {
        tr_h2_sess_fini(&client->sess);
        tr_free(client);
        return err;
    }
    tr_stream_set_events(stream, &stream_events, client);
    tr_stream_want(stream, true, false);
    tr_loop_defer(worker->loop, &client->task);
    *ret_client = client;
    return TR_OK;
}

void tr_h2_client_finish(struct tr_h2_client *client)
{
    if (client->finishing || client->dead)
        return;
    client->finishing = true;
    (void)nghttp2_submit_goaway(client->sess.ng, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
    tr_h2_client_kick(client);
}

uint32_t tr_h2_client_room(const struct tr_h2_client *client)
{
    if (!client->got_settings || client->goaway || client->finishing || client->quitting ||
        client->dead || client->freed ||
        nghttp2_session_get_next_stream_id(client->sess.ng) > (uint32_t)INT32_MAX)
        return 0;
    return client->open < client->peer_streams ? client->peer_streams - client->open : 0;
}

bool tr_h2_client_is_spent(const struct tr_h2_client *client)
{
    return client->sess.ng &&
           nghttp2_session_get_next_stream_id(client->sess.ng) > (uint32_t)INT32_MAX;
}

uint32_t tr_h2_client_open_requests(const struct tr_h2_client *client)
{
    return client->open;
}
