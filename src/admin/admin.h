/* The operator's endpoints over HTTP/1.1 and HTTP/2: /healthz, /readyz, /metrics. GET and HEAD
 * only; the rest is 404 or 405. Runs on the main loop, off the workers. */
#ifndef TR_ADMIN_ADMIN_H
#define TR_ADMIN_ADMIN_H

#include "http/codec.h"
#include "io/listener.h"

struct tr_admin;

struct tr_admin_params {
    struct tr_loop *loop;
    struct tr_addr addr;
    const struct tr_hlimits *limits;
    /* Whether /readyz answers 200. */
    bool (*ready)(void *ctx);
    /* Appends the metrics in the Prometheus text format. */
    enum tr_err (*metrics)(void *ctx, struct tr_buf *out);
    void *ctx;
};

enum tr_err tr_admin_new(const struct tr_admin_params *params, struct tr_admin **ret_admin,
                         struct tr_status *st) TR_MUST_USE;
const struct tr_addr *tr_admin_addr(const struct tr_admin *admin);
void tr_admin_free(struct tr_admin *admin);

#endif
