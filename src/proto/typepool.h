/* Descriptor sets to compiled types.
 *
 * Contract: sets are added one after the other (files already present by name are skipped, as
 * protoc's sets repeat their imports), then the pool is linked: names resolved, features of
 * editions resolved, extensions attached. Message tables are compiled on demand
 * (tr_typepool_message, or being reached from one that is), so that loading all of googleapis
 * (6,631 files) takes a quarter of a second and 80 MiB; after tr_typepool_freeze nothing is
 * compiled any more and the pool may be shared by threads. The well-known types of google.protobuf,
 * google.api.HttpRule and HttpBody, google.rpc.Status and its details are built in where no set
 * declares them. One file of a set is unpacked at a time.
 *
 * Ownership: all that is handed out lives as long as the pool. Thread: one, until it is frozen.
 *
 * Errors: TR_ERR_DESCRIPTOR with the file's name and the reason: not a FileDescriptorSet, no file,
 * missing import, unresolved type, duplicate symbol, field number out of range, clash of JSON
 * names, unknown edition, a default that does not fit, a well-known type of the wrong shape,
 * messages nested deeper than 63; TR_ERR_NOMEM. Never an assertion: sets are input. After an error
 * only tr_typepool_free is of use. A type with message_set_wire_format loads
 * (tr_msgtype.message_set), its extensions with numbers that no tag can carry do not. */
#ifndef TR_PROTO_TYPEPOOL_H
#define TR_PROTO_TYPEPOOL_H

#include "proto/types.h"

struct tr_typepool;

enum tr_err tr_typepool_new(struct tr_typepool **ret_pool) TR_MUST_USE;
/* NULL is fine. */
void tr_typepool_free(struct tr_typepool *pool);

/* bytes: a serialized google.protobuf.FileDescriptorSet; need not outlive the call. */
enum tr_err tr_typepool_add(struct tr_typepool *pool, struct tr_span bytes,
                            struct tr_status *st) TR_MUST_USE;
/* Each problem is also given to on_problem (may be NULL); returns TR_ERR_DESCRIPTOR when there was
 * any. */
enum tr_err tr_typepool_link(struct tr_typepool *pool,
                             void (*on_problem)(void *ctx, const struct tr_status *st), void *ctx,
                             struct tr_status *st) TR_MUST_USE;
/* Compiles everything reachable from what was asked for, the built-in types, and every message type
 * that an Any or an extension may name when `all` (the gateway: true unless there are more than
 * 20,000 message types; then Any resolves what routes reach). has_required_below of the types is
 * known from here on. */
enum tr_err tr_typepool_freeze(struct tr_typepool *pool, bool all,
                               struct tr_status *st) TR_MUST_USE;

/* By full name without leading dot; NULL when there is none (or, after freeze, when it was not
 * compiled). */
const struct tr_msgtype *tr_typepool_message(struct tr_typepool *pool, struct tr_span full_name);
const struct tr_enumtype *tr_typepool_enum(struct tr_typepool *pool, struct tr_span full_name);
/* Compiles inputs and outputs of its methods: ask before freeze; after it, NULL for one that was
 * not asked for. */
const struct tr_service *tr_typepool_service(struct tr_typepool *pool, struct tr_span full_name);
/* Names of all services, in order of declaration; 0 before link. */
uint32_t tr_typepool_service_count(const struct tr_typepool *pool);
struct tr_span tr_typepool_service_name(const struct tr_typepool *pool, uint32_t i);
/* Read-only look-up for Any on the request path, after freeze; by full name. */
const struct tr_msgtype *tr_typepool_find(const struct tr_typepool *pool, struct tr_span full_name);

struct tr_typepool_stats {
    uint32_t files, messages, enums, services, compiled_messages;
    size_t memory_bytes;
};
struct tr_typepool_stats tr_typepool_stats(const struct tr_typepool *pool);

#endif
