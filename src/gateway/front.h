/* A connection from accept to its codec: TLS handshake, then ALPN or the HTTP/2 preface decide. */
#ifndef TR_GATEWAY_FRONT_H
#define TR_GATEWAY_FRONT_H

#include "gateway/worker.h"

/* Owns fd. Refuses (closes) above the listener's max_connections. */
void tr_front_accept(struct tr_worker *w, struct tr_worker_listener *l, int fd,
                     const struct tr_addr *peer);
/* Ends those that have no codec yet. */
void tr_front_close_all(struct tr_worker *w);
/* Of a connection that ended: gives its place on the listener back. */
void tr_front_release_peer(void *user);

#endif
