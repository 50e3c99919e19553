/* A byte stream: TCP, Unix socket, TLS over either, or memory (tests). Readiness, not completion:
 * the owner reads and writes itself when told that it can, so that one shared buffer per worker
 * serves all connections.
 *
 * Contract
 *  1. Callbacks run from the loop, never from inside a call on the stream. The owner may close the
 * stream in any callback; after tr_stream_close returns no callback runs and the pointer is dead.
 *  2. on_readable fires while reading is wanted and bytes, the end or an error wait
 * (level-triggered; for TLS also for decrypted bytes that are already inside). on_writable fires
 * when writing is wanted and possible.
 *  3. tr_stream_write takes what fits at once (short counts are normal) and never buffers in user
 * space beyond one TLS record. SIGPIPE never happens.
 *  4. on_ready fires once: connected and, with TLS, hands shaken; or with the error. Accepted plain
 * streams are ready at once (no callback). Data may be read and written only when ready. */
#ifndef TR_IO_STREAM_H
#define TR_IO_STREAM_H

#include "base/span.h"
#include "base/status.h"
#include "io/loop.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct tr_stream;
struct tr_tls_ctx; /* io/tls_ctx.h */

struct tr_stream_events {
    void (*on_ready)(void *ctx, enum tr_err err);
    void (*on_readable)(void *ctx);
    void (*on_writable)(void *ctx);
};

#define TR_STREAM_AGAIN (-1)
#define TR_STREAM_ERROR (-2) /* reset, TLS failure: close it */

struct tr_addr {
    struct sockaddr_storage ss;
    socklen_t len; /* 0: none */
};

/* Owner's events, copied; may be changed at any time (a front that sniffs the protocol hands its
 * stream on). */
void tr_stream_set_events(struct tr_stream *s, const struct tr_stream_events *events, void *ctx);
/* What to be told of; both false parks the stream (errors are then found at the next want). Costs a
 * system call only when the set changes, and that at the end of the turn. */
void tr_stream_want(struct tr_stream *s, bool readable, bool writable);
/* >0 bytes; 0 end of input; TR_STREAM_AGAIN; TR_STREAM_ERROR. */
ssize_t tr_stream_read(struct tr_stream *s, void *buf, size_t cap);
/* >=0 bytes taken (0: nothing fits, want writable); TR_STREAM_ERROR. */
ssize_t tr_stream_write(struct tr_stream *s, const void *data, size_t len);
/* Several pieces at once, count at most 16 (plain: one sendmsg; TLS: gathered into records). */
ssize_t tr_stream_writev(struct tr_stream *s, const struct tr_span *pieces, int count);
/* Half-close (FIN, close_notify). */
void tr_stream_shutdown(struct tr_stream *s);
/* Closes and frees; with `abort` a TCP peer sees RST. Without it what was written is still sent,
 * also the rest of a TLS record (for 30 s at most). As with close(2), a TCP peer whose bytes were
 * not read sees RST, which may overtake the last bytes sent: shut down and read on when that
 * matters. */
void tr_stream_close(struct tr_stream *s, bool abort);

/* Outgoing connection. Never NULL on TR_OK; failures of the network come through on_ready. tls
 * NULL: plain. server_name: SNI and the name to verify (an address is verified, not sent); with tls
 * it must not be empty: TR_ERR_CONFIG. on_ready's errors: UPSTREAM_CONNECT, UPSTREAM_TLS; of
 * accepted streams TLS. TCP_NODELAY, TCP_USER_TIMEOUT 20 s and CLOEXEC are set. */
enum tr_err tr_stream_connect(struct tr_loop *loop, const struct tr_addr *addr,
                              struct tr_tls_ctx *tls, struct tr_span server_name,
                              const struct tr_stream_events *events, void *ctx,
                              struct tr_stream **ret_stream) TR_MUST_USE;
/* An accepted descriptor, owned by the stream from here on, also on failure. */
enum tr_err tr_stream_accept(struct tr_loop *loop, int fd, struct tr_tls_ctx *tls,
                             const struct tr_addr *peer, const struct tr_stream_events *events,
                             void *ctx, struct tr_stream **ret_stream) TR_MUST_USE;
/* Two connected ends in memory, for tests; capacity bytes fit in each direction. */
enum tr_err tr_stream_mem_pair(struct tr_loop *loop, size_t capacity, struct tr_stream **ret_a,
                               struct tr_stream **ret_b) TR_MUST_USE;

bool tr_stream_is_tls(const struct tr_stream *s);
/* "h2", "http/1.1", or empty when ALPN chose nothing. */
struct tr_span tr_stream_alpn(const struct tr_stream *s);
const struct tr_addr *tr_stream_peer(const struct tr_stream *s);
/* Why the last operation failed, for the log ("connection refused", OpenSSL's reason); static or in
 * the stream. */
struct tr_span tr_stream_error(const struct tr_stream *s);
/* The peer's verified certificate in DER, empty when there is none. */
struct tr_span tr_stream_peer_certificate(const struct tr_stream *s);
/* SNI that the client sent, empty when none. */
struct tr_span tr_stream_sni(const struct tr_stream *s);

#endif
