/* TLS contexts, made at load (files are read here, never on a worker's path), immutable after,
 * shared by threads.
 *
 * TLS 1.2 at least; for 1.2 only the suites RFC 9113 §9.2.2 allows (ECDHE with AEAD); no
 * renegotiation, no compression. Server: several certificates chosen by SNI (exact name, then
 * wildcard, else the first); ALPN h2 then http/1.1, a client that offers ALPN without either is
 * refused, one without ALPN gets none; client certificates none/optional/required against
 * client_ca; session tickets are bound to the client CA (session id context is its digest). Client:
 * verifies against ca or the system's roots, the name server_name, offers and requires ALPN h2. */
#ifndef TR_IO_TLS_CTX_H
#define TR_IO_TLS_CTX_H

#include "base/span.h"
#include "base/status.h"

struct tr_tls_ctx;

enum tr_tls_client_certificate {
    TR_TLS_CLIENT_NONE,
    TR_TLS_CLIENT_OPTIONAL,
    TR_TLS_CLIENT_REQUIRED
};

struct tr_tls_certificate {
    struct tr_span certificate_file; /* PEM chain */
    struct tr_span private_key_file; /* PEM */
};

struct tr_tls_server_params {
    const struct tr_tls_certificate *certificates;
    size_t certificate_count;
    struct tr_span client_ca_file; /* empty: none */
    enum tr_tls_client_certificate client_certificate;
};

struct tr_tls_client_params {
    struct tr_span ca_file;                            /* empty: the system's roots */
    struct tr_span certificate_file, private_key_file; /* empty: none */
    bool require_h2; /* false for HTTPS fetches, which use http/1.1 */
};

enum tr_err tr_tls_server_new(const struct tr_tls_server_params *params,
                              struct tr_tls_ctx **ret_ctx, struct tr_status *st) TR_MUST_USE;
enum tr_err tr_tls_client_new(const struct tr_tls_client_params *params,
                              struct tr_tls_ctx **ret_ctx, struct tr_status *st) TR_MUST_USE;
void tr_tls_ctx_unref(struct tr_tls_ctx *ctx);
struct tr_tls_ctx *tr_tls_ctx_ref(struct tr_tls_ctx *ctx);

#endif
