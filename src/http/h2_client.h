/* An HTTP/2 client connection, without policy: what upstream/ makes pools of.
 *
 * Vocabulary: a *request* (tr_h2_req) is one stream: the owner embeds nothing, it gets a pointer
 * that is good until on_end was called or tr_h2_req_cancel.
 *
 * Contract
 *  1. The connection takes over a ready stream and sends its preface at the end of the turn.
 * on_settings comes with each SETTINGS of the peer (the first makes the connection usable),
 * on_goaway with each GOAWAY, on_room when a request ended, on_closed once when the connection is
 * lost; by then all requests have ended. The owner frees it with tr_h2_client_free, which is legal
 * in any of its callbacks.
 *  2. Callbacks never run inside a call on the connection or a request, except those of
 * tr_h2_client_free: the requests still open end there with UPSTREAM_CLOSED.
 *  3. Request bytes are read from the owner's buffer when they are sent; *pos counts what is taken.
 * The buffer must stand until on_end or cancel.
 *  4. Response bytes count against the stream's window until consumed; the connection's window is
 * credited as they arrive, so that one request that is not consumed stops no other.
 *  5. One write for each turn. */
#ifndef TR_HTTP_H2_CLIENT_H
#define TR_HTTP_H2_CLIENT_H

#include "http/codec.h"

#define TR_H2_CLIENT_CONN_WINDOW ((int32_t)16 * 1024 * 1024)

struct tr_h2_client;
struct tr_h2_req;

struct tr_h2_client_events {
    void (*on_settings)(void *ctx);
    void (*on_goaway)(void *ctx, uint32_t code);
    void (*on_room)(void *ctx);
    /* EOF: the peer closed; IO; H2_PROTOCOL: what it sent is not HTTP/2; NOMEM. */
    void (*on_closed)(void *ctx, enum tr_err why);
};

struct tr_h2_req_events {
    /* HEADERS is about to be written: from here on the peer may have acted. */
    void (*on_sent)(void *ctx);
    void (*on_head)(void *ctx, unsigned status, const struct tr_headers *headers, bool end);
    void (*on_data)(void *ctx, struct tr_span data);
    /* As in upstream.h; the request is gone after this. When HEADERS was not written yet on_sent
     * has not been called. */
    void (*on_end)(void *ctx, enum tr_err err, uint32_t h2_code, const struct tr_headers *trailers);
    void (*on_writable)(void *ctx);
};

/* max_header_bytes bounds each header section of an answer. The stream stays the caller's on
 * failure. */
enum tr_err tr_h2_client_new(struct tr_hworker *worker, struct tr_stream *stream,
                             uint32_t max_header_bytes, const struct tr_h2_client_events *events,
                             void *ctx, struct tr_h2_client **ret_client) TR_MUST_USE;
/* Ends requests with UPSTREAM_CLOSED, closes the stream. NULL is accepted. */
void tr_h2_client_free(struct tr_h2_client *client);
/* No new requests will come: GOAWAY, and on_closed when the last has ended. */
void tr_h2_client_finish(struct tr_h2_client *client);

/* Streams that may still be opened now: 0 before the first SETTINGS, after GOAWAY, and at the end
 * of the ids. */
uint32_t tr_h2_client_room(const struct tr_h2_client *client);
/* All stream ids are used up: finish it when it is idle. */
bool tr_h2_client_is_spent(const struct tr_h2_client *client);
uint32_t tr_h2_client_open_requests(const struct tr_h2_client *client);

struct tr_h2_req_params {
    struct tr_span method, scheme, authority, path;
    const struct tr_headers *headers; /* lower case; copied */
    struct tr_buf *body;
    size_t *body_pos;
    size_t body_hold;       /* bytes at its end that must wait for a commit */
    bool end;               /* all of the body stands in the buffer */
    struct tr_arena *arena; /* for response headers and trailers */
    const struct tr_h2_req_events *events;
    void *ctx;
};
/* Errors: UPSTREAM_ACTIVE (no room), NOMEM. */
enum tr_err tr_h2_req_new(struct tr_h2_client *client, const struct tr_h2_req_params *params,
                          struct tr_h2_req **ret_req) TR_MUST_USE;
/* New bytes stand in the body. */
void tr_h2_req_commit(struct tr_h2_req *req, bool end);
/* Drops the taken bytes of the body's buffer. */
void tr_h2_req_compact(struct tr_h2_req *req);
void tr_h2_req_consume(struct tr_h2_req *req, size_t bytes);
/* RST_STREAM(CANCEL) when it was sent; no callback follows, the pointer is dead. */
void tr_h2_req_cancel(struct tr_h2_req *req);
int32_t tr_h2_req_id(const struct tr_h2_req *req);

#endif
