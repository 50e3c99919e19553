/* ACQUIRE and RETRY: attempts on the backend, and what becomes of one that failed.
 *
 * Vocabulary: an *attempt* is one call (upstream/upstream.h). The decision is upstream/retry.h's;
 * here is what it needs to know, the budget, the delay, and what another attempt needs: the
 * request's bytes (x->req), its metadata with a fresh grpc-timeout, and an answer of which nothing
 * is kept.
 *
 * Contract: at most one attempt is under way; between two of them the step is RETRY and
 * x->try_timer runs. tr_exchange_acquire is the only way to begin one. */
#ifndef TR_PIPELINE_ATTEMPT_H
#define TR_PIPELINE_ATTEMPT_H

#include "pipeline/exchange.h"

void tr_attempt_init(struct tr_exchange *x);
void tr_attempt_fini(struct tr_exchange *x);

/* Bytes of the request stand in x->req; end: the last ones. Before, during and between attempts. */
void tr_attempt_commit(struct tr_exchange *x, bool end);
/* Drops the bytes of x->req that the connection has taken, when there are more of them than a retry
 * could need and no message is half-written there. */
void tr_attempt_compact(struct tr_exchange *x);

/* The backend's head has come. true: it is of a failure that is tried again, or it is kept until a
 * message follows; the dialect gets it later, or never. */
bool tr_attempt_head(struct tr_exchange *x, unsigned http_status, const struct tr_headers *headers,
                     bool end);
/* A piece of a message has come: there is no other attempt after this. */
void tr_attempt_data(struct tr_exchange *x);
/* The call has ended (on_end). true: it is tried again; the exchange may also have failed or ended.
 */
bool tr_attempt_end(struct tr_exchange *x, enum tr_err err, uint32_t h2_code,
                    const struct tr_headers *trailers);

#endif
