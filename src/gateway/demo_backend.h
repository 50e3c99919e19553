/* A gRPC server of bookstore.v1 on a loopback port, in a thread of its own: what `transom demo` has
 * behind it. */
#ifndef TR_GATEWAY_DEMO_BACKEND_H
#define TR_GATEWAY_DEMO_BACKEND_H

#include "io/listener.h"
#include "proto/typepool.h"

struct tr_demo_backend;

/* Listening when it returns TR_OK. pool must outlive it. */
enum tr_err tr_demo_backend_start(const struct tr_typepool *pool,
                                  struct tr_demo_backend **ret_backend,
                                  struct tr_status *st) TR_MUST_USE;
const struct tr_addr *tr_demo_backend_addr(const struct tr_demo_backend *backend);
/* Ends the thread. NULL is accepted. */
void tr_demo_backend_stop(struct tr_demo_backend *backend);

#endif
