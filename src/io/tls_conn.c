#include "io/tls_conn.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "io/stream_int.h"
#include "io/tls_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>

#define RECORD_BYTES ((size_t)16384) /* of plain text, RFC 8446 §5.1 */
#define UNSENT_MAX                                                                                 \
    ((size_t)128 *                                                                                 \
     1024) /* a chain of certificates fits; a peer that floods key updates stops here */

struct tr_tls_conn {
    SSL *ssl;
    struct tr_tls_ctx *ctx;
    int fd;
    struct tr_buf unsent;
    size_t unsent_pos;
    bool broken, notified, more_inside, read_blocked;
    const char *error; /* static */
    unsigned char *certificate;
    int certificate_len;
};

/* -- the descriptor as a BIO: the one of OpenSSL writes with write(), which raises SIGPIPE ---- */
static struct tr_tls_conn *conn_of(BIO *bio)
{
    return BIO_get_data(bio);
}

static int bio_read(BIO *bio, char *buf, int cap)
{
    struct tr_tls_conn *conn = conn_of(bio);
    ssize_t n;
    BIO_clear_retry_flags(bio);
    do
        n = recv(conn->fd, buf, (size_t)cap, 0);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return (int)n;
    if (errno == EAGAIN)
        BIO_set_retry_read(bio);
    else
        conn->error = tr_stream_errno_text(errno);
    return -1;
}

/* Bytes sent, 0 when the socket is full, -1 when broken. */
static ssize_t send_some(struct tr_tls_conn *conn, const char *data, size_t len)
{
    ssize_t n;
    do
        n = send(conn->fd, data, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    if (errno == EAGAIN)
        return 0;
    conn->error = tr_stream_errno_text(errno);
    conn->broken = true;
    return -1;
}

static int bio_write(BIO *bio, const char *data, int len)
{
    struct tr_tls_conn *conn = conn_of(bio);
    BIO_clear_retry_flags(bio);
    size_t kept = conn->unsent.len - conn->unsent_pos;
    ssize_t n = 0;
    if (kept == 0 && !conn->broken)
        n = send_some(conn, data, (size_t)len);
    if (conn->broken || n < 0)
        return -1;
    if (n == len)
        return len;
    struct tr_span rest = tr_span_from(tr_span(data, (size_t)len), (size_t)n);
    if (kept + rest.len > UNSENT_MAX || tr_buf_append(&conn->unsent, rest) != TR_OK) {
        if (n > 0)
            return (int)n;
        BIO_set_retry_write(bio);
        return -1;
    }
    return len;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static void bio_init(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
        BIO_meth_set_ctrl(m, bio_ctrl))
        bio_method = m;
    else
        BIO_meth_free(m);
}

/* -- making ----------------------------------------------------------------------------------- */
static bool is_address(const char *name)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static enum tr_err set_server_name(SSL *ssl, struct tr_span server_name)
{
    char name[256];
    if (server_name.len == 0 || server_name.len >= sizeof name ||
        memchr(server_name.ptr, 0, server_name.len))
        return TR_ERR_CONFIG; /* without a name anybody's certificate would do */
    memcpy(name, server_name.ptr, server_name.len);
    name[server_name.len] = 0;
    if (is_address(name)) /* RFC 6066 §3: literal addresses are not permitted in SNI */
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) ? TR_OK : TR_ERR_NOMEM;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name) ? TR_OK : TR_ERR_NOMEM;
}

enum tr_err tr_tls_conn_new(struct tr_tls_ctx *ctx, int fd, struct tr_span server_name,
                            struct tr_tls_conn **ret_conn)
{
    (void)pthread_once(&bio_once, bio_init);
    struct tr_tls_conn *conn = tr_calloc(1, sizeof *conn);
    if (!conn)
        return TR_ERR_NOMEM;
    ERR_clear_error();
    conn->ctx = tr_tls_ctx_ref(ctx);
    conn->fd = fd;
    conn->ssl = SSL_new(ctx->ssl[0]);
    BIO *bio = bio_method && conn->ssl ? BIO_new(bio_method) : NULL;
    enum tr_err err = bio ? TR_OK : TR_ERR_NOMEM;
    if (!err) {
        BIO_set_data(bio, conn);
        BIO_set_init(bio, 1);
        SSL_set_bio(conn->ssl, bio, bio);
        if (ctx->is_server)
            SSL_set_accept_state(conn->ssl);
        else
            SSL_set_connect_state(conn->ssl);
    }
    if (!err && !ctx->is_server)
        err = set_server_name(conn->ssl, server_name);
    if (err) {
        ERR_clear_error();
        tr_tls_conn_free(conn);
        return err;
    }
    *ret_conn = conn;
    return TR_OK;
}

void tr_tls_conn_free(struct tr_tls_conn *conn)
{
    if (!conn)
        return;
    SSL_free(conn->ssl);
    OPENSSL_free(conn->certificate);
    tr_buf_fini(&conn->unsent);
    tr_tls_ctx_unref(conn->ctx);
    tr_free(conn);
}

/* -- sending what is left --------------------------------------------------------------------- */
bool tr_tls_conn_unsent(const struct tr_tls_conn *conn)
{
    return conn->unsent.len > conn->unsent_pos && !conn->broken;
}

bool tr_tls_conn_flush(struct tr_tls_conn *conn)
{
    while (tr_tls_conn_unsent(conn)) {
        ssize_t n = send_some(conn, conn->unsent.ptr + conn->unsent_pos,
                              conn->unsent.len - conn->unsent_pos);
        if (n <= 0)
            break;
        conn->unsent_pos += (size_t)n;
    }
    if (!tr_tls_conn_unsent(conn)) { /* an idle connection keeps no buffer */
        tr_buf_fini(&conn->unsent);
        tr_buf_init(&conn->unsent);
        conn->unsent_pos = 0;
    }
    return !conn->broken;
}

/* -- handshake -------------------------------------------------------------------------------- */
static void note_error(struct tr_tls_conn *conn)
{
    unsigned long code = ERR_peek_error();
    long verdict = SSL_get_verify_result(conn->ssl);
    if (verdict != X509_V_OK && code && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        conn->error = X509_verify_cert_error_string(verdict);
    else if (code && ERR_reason_error_string(code))
        conn->error = ERR_reason_error_string(code);
    else if (!conn->error)
        conn->error = "the peer closed the connection";
    ERR_clear_error();
}

enum tr_err tr_tls_conn_handshake(struct tr_tls_conn *conn)
{
    enum tr_err failed = conn->ctx->is_server ? TR_ERR_TLS : TR_ERR_UPSTREAM_TLS;
    if (!tr_tls_conn_flush(conn))
        return failed;
    ERR_clear_error();
    int rc = SSL_do_handshake(conn->ssl);
    if (rc == 1) {
        if (conn->ctx->require_h2 && !tr_span_eq(tr_tls_conn_alpn(conn), TR_SPAN("h2"))) {
            conn->error = "the peer did not choose h2 by ALPN";
            return failed;
        }
        conn->more_inside = SSL_has_pending(conn->ssl);
        return TR_OK;
    }
    int why = SSL_get_error(conn->ssl, rc);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TR_ERR_AGAIN;
    note_error(conn);
    return failed;
}

/* -- bytes ------------------------------------------------------------------------------------ */
ssize_t tr_tls_conn_read(struct tr_tls_conn *conn, void *buf, size_t cap)
{
    size_t total = 0;
    conn->read_blocked = false;
    /* records until the buffer is full or the socket empty: fewer rounds of the loop for what
     * arrived together */
    while (total < cap) {
        size_t left = cap - total, n = 0;
        ERR_clear_error();
        int rc = SSL_read_ex(conn->ssl, (char *)buf + total, left, &n);
        if (rc == 1) {
            total += n;
            conn->more_inside = SSL_has_pending(conn->ssl);
            if (!conn->more_inside)
                break;
            continue;
        }
        int why = SSL_get_error(conn->ssl, rc);
        conn->more_inside = false;
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
            conn->read_blocked = why == SSL_ERROR_WANT_WRITE;
            return total ? (ssize_t)total : TR_STREAM_AGAIN;
        }
        if (total) { /* these first; the end or the error again at the next read */
            conn->more_inside = true;
            ERR_clear_error();
            return (ssize_t)total;
        }
        if (why == SSL_ERROR_ZERO_RETURN)
            return 0;
        note_error(conn);
        conn->broken = conn->broken || why == SSL_ERROR_SSL || why == SSL_ERROR_SYSCALL;
        return TR_STREAM_ERROR;
    }
    return (ssize_t)total;
}

/* One record's worth of pieces from place (*piece, *at) on: a view when one piece fills it, else
 * copied together. */
static struct tr_span gather(const struct tr_span *pieces, int count, int *piece, size_t *at,
                             char *scratch)
{
    while (*piece < count && *at == pieces[*piece].len) {
        ++*piece;
        *at = 0;
    }
    if (*piece == count)
        return tr_span(scratch, 0);
    struct tr_span first = tr_span_from(pieces[*piece], *at);
    if (first.len >= RECORD_BYTES || *piece + 1 == count)
        return tr_span_sub(first, 0, RECORD_BYTES);
    size_t len = 0, from = *at;
    for (int i = *piece; i < count && len < RECORD_BYTES; i++) {
        struct tr_span part = tr_span_sub(tr_span_from(pieces[i], from), 0, RECORD_BYTES - len);
        if (part.len)
            memcpy(scratch + len, part.ptr, part.len);
        len += part.len;
        from = 0;
    }
    return tr_span(scratch, len);
}

static void advance(const struct tr_span *pieces, int count, int *piece, size_t *at, size_t n)
{
    while (n > 0 && *piece < count) {
        size_t left = pieces[*piece].len - *at;
        size_t step = left < n ? left : n;
        *at += step;
        n -= step;
        if (*at == pieces[*piece].len) {
            ++*piece;
            *at = 0;
        }
    }
}

ssize_t tr_tls_conn_writev(struct tr_tls_conn *conn, const struct tr_span *pieces, int count)
{
    char scratch[RECORD_BYTES];
    size_t total = 0, at = 0;
    int piece = 0;
    if (!tr_tls_conn_flush(conn) || conn->notified) {
        if (conn->notified)
            conn->error = "written after the end was sent";
        return TR_STREAM_ERROR;
    }
    while (!tr_tls_conn_unsent(conn)) {
        struct tr_span record = gather(pieces, count, &piece, &at, scratch);
        size_t n = 0;
        if (record.len == 0)
            break;
        ERR_clear_error();
        int rc = SSL_write_ex(conn->ssl, record.ptr, record.len, &n);
        if (rc != 1) {
            int why = SSL_get_error(conn->ssl, rc);
            if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
                break;
            note_error(conn);
            conn->broken = true;
            return total ? (ssize_t)total : TR_STREAM_ERROR; /* the next call tells */
        }
        total += n;
        advance(pieces, count, &piece, &at, n);
    }
    return (ssize_t)total;
}

void tr_tls_conn_shutdown(struct tr_tls_conn *conn)
{
    if (conn->notified || conn->broken)
        return;
    conn->notified = true;
    ERR_clear_error();
    (void)SSL_shutdown(conn->ssl); /* 0: the peer's is still to come, which read will find */
    ERR_clear_error();
    (void)tr_tls_conn_flush(conn);
}

bool tr_tls_conn_pending(const struct tr_tls_conn *conn)
{
    return conn->more_inside;
}

bool tr_tls_conn_read_blocked(const struct tr_tls_conn *conn)
{
    return conn->read_blocked;
}

/* -- what was agreed on ----------------------------------------------------------------------- */
struct tr_span tr_tls_conn_alpn(const struct tr_tls_conn *conn)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(conn->ssl, &name, &len);
    return len ? tr_span((const char *)name, len) : TR_SPAN("");
}

struct tr_span tr_tls_conn_error(const struct tr_tls_conn *conn)
{
    return conn->error ? tr_span_cstr(conn->error) : TR_SPAN("");
}

struct tr_span tr_tls_conn_certificate(struct tr_tls_conn *conn)
{
    if (!conn->certificate && SSL_get_verify_result(conn->ssl) == X509_V_OK) {
        X509 *cert = SSL_get0_peer_certificate(conn->ssl);
        if (cert)
            conn->certificate_len = i2d_X509(cert, &conn->certificate);
        ERR_clear_error();
    }
    if (!conn->certificate || conn->certificate_len <= 0)
        return TR_SPAN("");
    return tr_span((const char *)conn->certificate, (size_t)conn->certificate_len);
}

struct tr_span tr_tls_conn_sni(const struct tr_tls_conn *conn)
{
    return tr_span_cstr(SSL_get_servername(conn->ssl, TLSEXT_NAMETYPE_host_name));
}
