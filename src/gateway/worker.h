/* A worker: one thread with its own loop, listeners, client connections, upstream pools, resolver
 * and counters.
 *
 * Thread: everything here belongs to the worker's thread once it runs; other threads post mail.
 * Counters are read by the admin thread with relaxed loads. */
#ifndef TR_GATEWAY_WORKER_H
#define TR_GATEWAY_WORKER_H

#include "base/alloc.h"
#include "config/snapshot.h"
#include "http/codec.h"
#include "io/dns.h"
#include "io/listener.h"
#include "pipeline/exchange.h"

#include <pthread.h>
#include <stdatomic.h>

struct tr_server;
struct tr_worker;

/* What all workers share of one listener. */
struct tr_listener_shared {
    _Atomic uint32_t connections;
    _Atomic uint64_t refused; /* closed at accept: max_connections */
};

struct tr_worker_listener {
    struct tr_worker *worker;
    const struct tr_listener_conf *conf;
    struct tr_listener_shared *shared;
    struct tr_listener *listener;
    uint32_t index;
};

struct tr_worker_stats {
    uint64_t accepted, tls_failures, accept_failures;
};

struct tr_worker {
    struct tr_server *server;
    uint32_t index;
    pthread_t thread;
    bool started;
    struct tr_loop *loop;
    struct tr_mailbox *mailbox;
    struct tr_dns *dns;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker h;
    struct tr_pworker p;
    struct tr_hservice service;
    _Atomic(const struct tr_alloc_stats *) allocs; /* of the worker's thread, once it runs */
    struct tr_worker_listener *listeners;
    uint32_t listener_count;
    struct tr_list fronts; /* connections without a codec yet */
    struct tr_list conns;  /* tr_hconn.node */
    struct tr_worker_stats stats;
    struct tr_timer drain_timer;
    uint32_t drain_round;
    struct tr_timer trim_timer;
    uint64_t trimmed; /* bufs.dropped at the last trim */
    _Atomic bool done;
};

/* Opens the listeners on addrs (one for each listener of the snapshot; with port 0 the first
 * worker's become the others'). */
enum tr_err tr_worker_init(struct tr_worker *w, struct tr_server *server, uint32_t index,
                           struct tr_snapshot *snap, struct tr_listener_shared *shared,
                           struct tr_addr *addrs, struct tr_status *st) TR_MUST_USE;
enum tr_err tr_worker_start(struct tr_worker *w) TR_MUST_USE;
/* From any thread: close listeners, ask connections to go, stop when all have gone or when the time
 * is over. */
void tr_worker_drain(struct tr_worker *w);
/* From any thread: end everything now. */
void tr_worker_abort(struct tr_worker *w);
void tr_worker_join(struct tr_worker *w);
void tr_worker_fini(struct tr_worker *w);
/* When the last connection is gone while draining. */
void tr_worker_check_done(struct tr_worker *w);

#endif
