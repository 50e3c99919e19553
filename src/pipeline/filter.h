/* Filters: one feature of the pipeline each.
 *
 * A filter is a const table with a phase; order comes from the phases, then from the registry. A
 * hook answers by its return value; PAUSE is the only way to be asynchronous: the filter keeps the
 * handle of tr_exchange_pause and calls tr_exchange_resume with it, which is a counted no-op when
 * the exchange has finished meanwhile. No hook blocks, locks, or allocates from the heap:
 * per-request state lies in the exchange's arena. done() runs once for each filter whose on_request
 * ran, in reverse order, whatever happened. */
#ifndef TR_PIPELINE_FILTER_H
#define TR_PIPELINE_FILTER_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

struct tr_exchange;
struct tr_snapshot;
struct tr_pworker;
struct tr_expo;
struct tr_loop;
struct tr_mailbox;
struct tr_dns;

/* The control thread: the one that no request runs on. Filters fetch, watch and count there what
 * all workers share; it talks to workers by mail alone. */
struct tr_control {
    struct tr_loop *loop;
    struct tr_mailbox *mailbox; /* to this thread */
    struct tr_dns *dns;
    struct tr_mailbox **worker_mailboxes; /* all set before the loop of either side runs */
    uint32_t worker_count;
};

/* x->metadata is complete from REWRITE on. */
enum tr_phase {
    TR_PHASE_GUARD,
    TR_PHASE_AUTHN,
    TR_PHASE_AUTHZ,
    TR_PHASE_QUOTA,
    TR_PHASE_REWRITE,
    TR_PHASE_BODY
};

enum tr_verdict {
    TR_CONTINUE, /* go on with the next filter */
    TR_PAUSE,    /* wait for tr_exchange_resume */
    TR_REPLY,    /* the filter has answered by tr_reply_*; the chain ends */
    TR_FAIL,     /* x->st says why: the exchange replies with that error */
};

struct tr_filter {
    const char *name; /* also its configuration key, metric prefix, file name */
    enum tr_phase phase;
    size_t state_bytes; /* per request, zeroed, given to the hooks; 0: none */
    enum tr_verdict (*on_request)(struct tr_exchange *x, void *state);
    /* Called again after tr_exchange_resume of a PAUSE; NULL: on_request is called again. */
    enum tr_verdict (*on_resume)(struct tr_exchange *x, void *state);
    /* The head of an answer is about to be sent, whoever gives it: headers may be changed. state is
     * NULL where on_request has not run, as for a request that has no route. NULL: not interested.
     */
    void (*on_response)(struct tr_exchange *x, void *state);
    void (*done)(struct tr_exchange *x, void *state);

    /* What lives longer than a request. Each may be NULL, and each later one is called only when
     * the earlier ones had no failure.
     * Snapshot: compiles configuration (tr_policy.slots, a state of its own), reports mistakes to
     * snap->problems and goes on; runs for `check` and `explain` too, touches no network.
     * TR_ERR_NOMEM. */
    enum tr_err (*prepare)(struct tr_snapshot *snap, void **ret_conf);
    void (*dispose)(void *conf);
    /* Control thread, before any worker; stop comes after all workers have ended, when all mail to
     * the control thread has been delivered. Files and sockets may fail: *st says why. */
    enum tr_err (*control_start)(const struct tr_control *control, const struct tr_snapshot *snap,
                                 void *conf, void **ret_control, struct tr_status *st);
    void (*control_stop)(void *control);
    /* Worker: called before its thread runs, and after it ended and its mail was delivered. `conf`
     * and `control` are what the hooks above gave, or NULL. In hooks of requests:
     * tr_filter_worker(x, id) and tr_filter_conf(x, id). */
    enum tr_err (*worker_start)(struct tr_pworker *w, void *conf, void *control, void **ret_worker);
    void (*worker_stop)(void *worker);
    /* For /metrics, on the control thread; `workers` has each worker's state. Writes whole
     * families, each once. */
    void (*metrics)(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t count);
};

#define TR_FILTERS_MAX 16

#endif
