/* What ring_hash keeps requests together by: a header, a claim of the client's identity, or a field
 * of the request message.
 *
 * A header is that of the client, its first value; a claim the first value of the first credential
 * that has it; a field is read from the encoded message in x->req (so captured path segments and
 * query parameters are found too): a dotted path of proto or JSON names through singular messages,
 * whose last field is singular and no message. A request without the value (or whose message is
 * compressed, or not there yet) has no key: any endpoint serves it. A field that the message leaves
 * out has no key either, though its type has a default. */
#ifndef TR_PIPELINE_HASH_KEY_H
#define TR_PIPELINE_HASH_KEY_H

#include "pipeline/exchange.h"

/* False: it has none; *ret_hash is left alone. The same value gives the same hash in every process.
 */
bool tr_hash_key(const struct tr_exchange *x, uint64_t *ret_hash);

/* The bytes that stand for the field's value in a serialized message of `type`: those of a string
 * or bytes field, else its encoding; of several the last, through all that make up an inner
 * message. False: it is not there, or no such field, or the message is malformed. */
bool tr_hash_field(const struct tr_msgtype *type, struct tr_span message, struct tr_span path,
                   struct tr_span *ret_value);

#endif
