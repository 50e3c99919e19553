/* One TLS connection over a non-blocking descriptor; what stream_tcp.c needs of OpenSSL. Not seen
 * by other layers.
 *
 * Records are written with send(MSG_NOSIGNAL). What the socket does not take of a record is kept
 * here ("unsent", one record or the handshake's flight) and must be flushed before more is written:
 * so bytes once taken are never offered again, and the owner may change its mind about bytes that
 * were not taken. */
#ifndef TR_IO_TLS_CONN_H
#define TR_IO_TLS_CONN_H

#include "base/span.h"
#include "base/status.h"
#include "io/stream.h"
#include "io/tls_ctx.h"

#include <sys/types.h>

struct tr_tls_conn;

/* ctx is referenced. server_name: for client contexts, the SNI and name to verify (an IP address:
 * verified, not sent). */
enum tr_err tr_tls_conn_new(struct tr_tls_ctx *ctx, int fd, struct tr_span server_name,
                            struct tr_tls_conn **ret_conn) TR_MUST_USE;
void tr_tls_conn_free(struct tr_tls_conn *conn);

/* One step: TR_OK when done, TR_ERR_AGAIN, else TR_ERR_TLS or TR_ERR_UPSTREAM_TLS. */
enum tr_err tr_tls_conn_handshake(struct tr_tls_conn *conn) TR_MUST_USE;
/* As the functions of tr_stream. */
ssize_t tr_tls_conn_read(struct tr_tls_conn *conn, void *buf, size_t cap);
ssize_t tr_tls_conn_writev(struct tr_tls_conn *conn, const struct tr_span *pieces, int count);
/* close_notify, once; flush until nothing is unsent. */
void tr_tls_conn_shutdown(struct tr_tls_conn *conn);
/* Sends what is unsent; false when the connection is broken. */
bool tr_tls_conn_flush(struct tr_tls_conn *conn);
bool tr_tls_conn_unsent(const struct tr_tls_conn *conn);
/* Bytes stand inside that no event of the descriptor will announce: call read. */
bool tr_tls_conn_pending(const struct tr_tls_conn *conn);
/* The last read could not go on before something was sent. */
bool tr_tls_conn_read_blocked(const struct tr_tls_conn *conn);

struct tr_span tr_tls_conn_alpn(const struct tr_tls_conn *conn);
struct tr_span tr_tls_conn_error(const struct tr_tls_conn *conn);
struct tr_span tr_tls_conn_certificate(struct tr_tls_conn *conn);
struct tr_span tr_tls_conn_sni(const struct tr_tls_conn *conn);

#endif
