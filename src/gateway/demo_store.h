/* The demo's data: shelves and books of bookstore.v1 in memory, kept as serialized messages. Pure:
 * requests in, answers out. */
#ifndef TR_GATEWAY_DEMO_STORE_H
#define TR_GATEWAY_DEMO_STORE_H

#include "base/buf.h"
#include "proto/typepool.h"

struct tr_demo_store;

/* pool: frozen, with bookstore.v1; must outlive the store. */
enum tr_err tr_demo_store_new(const struct tr_typepool *pool,
                              struct tr_demo_store **ret_store) TR_MUST_USE;
void tr_demo_store_free(struct tr_demo_store *store);

struct tr_demo_reply {
    unsigned code;       /* gRPC */
    struct tr_span text; /* of an error; static or in the request */
};

/* A unary method ("GetBook"): appends the serialized answer to out. unix_s: now. UNIMPLEMENTED for
 * other names. */
struct tr_demo_reply tr_demo_store_call(struct tr_demo_store *store, struct tr_span method,
                                        struct tr_span request, int64_t unix_s, struct tr_buf *out);
/* StreamBooks: the i-th book that a ListBooksRequest asks for; false when there is none. */
bool tr_demo_store_stream(struct tr_demo_store *store, struct tr_span request, uint32_t i,
                          struct tr_span *ret_book);

#endif
