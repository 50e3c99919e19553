/* The client connection's insides, shared by h2_client.c (life, input, output) and h2_req.c
 * (requests). */
#ifndef TR_HTTP_H2_CLIENT_INT_H
#define TR_HTTP_H2_CLIENT_INT_H

#include "http/h2_client.h"
#include "http/h2_guard.h"
#include "http/h2_scan.h"
#include "http/h2_sess.h"

struct tr_h2_client {
    struct tr_h2_sess sess;
    const struct tr_h2_client_events *events;
    void *ctx;
    struct tr_task task;
    struct tr_list reqs; /* all that nghttp2 knows, cancelled ones too */
    uint32_t max_header_bytes;
    uint32_t open;         /* reqs */
    uint32_t peer_streams; /* the peer's MAX_CONCURRENT_STREAMS */
    int32_t goaway_last;
    struct tr_h2_bucket flood;
    struct tr_h2_scan scan;
    enum tr_err why;
    uint8_t busy; /* inside nghttp2, or inside a callback of ours */
    bool got_settings, goaway, finishing;
    bool quitting; /* GOAWAY by us for a fault of the peer */
    bool dead;     /* lost: to be told at the end of the turn */
    bool told;     /* on_closed was called */
    bool freed;    /* by the owner; memory goes when nothing is busy */
    bool room_due, writable_due;
};

struct tr_h2_req {
    struct tr_h2_client *client;
    struct tr_list node;
    const struct tr_h2_req_events *events;
    void *ctx;
    struct tr_arena *arena;
    struct tr_h2_source src;
    struct tr_headers
        fields; /* of the section being received; when it is complete, of the last one */
    uint32_t field_bytes;
    struct tr_h2_window window;
    int32_t id;
    unsigned status;
    enum tr_err why;   /* why we ended it */
    uint32_t rst_code; /* received; ~0u: none */
    bool sent, head_seen, remote_end, local_end;
    bool off; /* no callbacks: ended or cancelled */
    bool above_high;
};

static inline struct tr_h2_client *tr_h2_client_of_sess(void *user)
{
    return tr_container_of(user, struct tr_h2_client, sess);
}
static inline void tr_h2_client_kick(struct tr_h2_client *client)
{
    if (!client->dead && !client->freed)
        tr_loop_defer(client->sess.worker->loop, &client->task);
}

void tr_h2_client_callbacks(nghttp2_session_callbacks *cb);
/* The peer breaks the protocol or floods: GOAWAY, and all ends. */
void tr_h2_client_quit(struct tr_h2_client *client, enum tr_err why, uint32_t code);
/* Ends it for its owner; nghttp2 may still know it. */
void tr_h2_req_end(struct tr_h2_req *req, enum tr_err err, uint32_t code);
void tr_h2_req_free(struct tr_h2_req *req);
void tr_h2_client_writable(struct tr_h2_client *client);

#endif
