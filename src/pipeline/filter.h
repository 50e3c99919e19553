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

#include <stddef.h>

struct tr_exchange;

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
};

#define TR_FILTERS_MAX 16

#endif
