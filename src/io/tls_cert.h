/* The names in a certificate. */
#ifndef TR_IO_TLS_CERT_H
#define TR_IO_TLS_CERT_H

#include "base/span.h"
#include "base/status.h"

enum tr_cert_name { TR_CERT_SUBJECT, TR_CERT_SAN };

/* Calls fn with the subject as RFC 4514 prints it, then with each subject alternative name as
 * "DNS:name", "URI:uri", "email:address" or "IP:address" (RFC 5280 §4.2.1.6; other kinds are passed
 * over). Text that has U+0000 is passed over too: it would look like something else. The spans are
 * valid during the call. TLS: der is no certificate. */
enum tr_err tr_tls_cert_names(struct tr_span der,
                              void (*fn)(void *ctx, enum tr_cert_name kind, struct tr_span text),
                              void *ctx) TR_MUST_USE;

#endif
