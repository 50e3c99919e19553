/* The process: a snapshot, its workers, the admin endpoint, signals. */
#ifndef TR_GATEWAY_SERVER_H
#define TR_GATEWAY_SERVER_H

#include "config/snapshot.h"
#include "pipeline/exchange.h"

#include <stdatomic.h>
#include <stdio.h>

struct tr_server;

struct tr_server_opts {
    FILE *out;        /* the line with the addresses goes here */
    const char *name; /* "transom" */
};

/* Runs until a signal ends it. Takes a reference of snap. 0, or 1 with a message on stderr. */
int tr_server_run(struct tr_snapshot *snap, const struct tr_server_opts *opts);

/* For workers: */
bool tr_server_health(struct tr_pworker *w, struct tr_exchange *x);
_Atomic bool *tr_server_ready(struct tr_server *server);
struct tr_metrics *tr_server_metrics(struct tr_server *server, uint32_t worker);
struct tr_mailbox *tr_server_mailbox(struct tr_server *server);
void **tr_server_filters(struct tr_server *server);
void tr_server_worker_done(struct tr_server *server);

#endif
