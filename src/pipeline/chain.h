/* Runs the filters of an exchange, in the order of their phases. */
#ifndef TR_PIPELINE_CHAIN_H
#define TR_PIPELINE_CHAIN_H

#include "pipeline/exchange.h"

/* From the filter after the last one that ran (or, after a resume, from the one that paused).
 * CONTINUE: all have run. */
enum tr_verdict tr_chain_run(struct tr_exchange *x) TR_MUST_USE;
void tr_chain_response(struct tr_exchange *x);
/* done() of every filter whose on_request ran, in reverse; once. */
void tr_chain_done(struct tr_exchange *x);

#endif
