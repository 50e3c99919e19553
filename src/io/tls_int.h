/* What tls_ctx.c and tls_conn.c share. */
#ifndef TR_IO_TLS_INT_H
#define TR_IO_TLS_INT_H

#include "io/tls_ctx.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

struct tr_tls_names {
    struct tr_span *list; /* lower case, owned */
    size_t count;
};

struct tr_tls_ctx {
    _Atomic(uint32_t) refs;
    bool is_server;
    bool require_h2; /* client */
    SSL_CTX **ssl;   /* one for each certificate; a client has one */
    struct tr_tls_names *names;
    size_t count;
};

#endif
