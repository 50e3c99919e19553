/* The names in a client's certificate. Nothing is called twice for what is there once, no text has
 * U+0000, every alternative name says its kind, and OpenSSL's error queue is as it was. */
#include "fuzz.h"
#include "io/tls_cert.h"

#include <openssl/err.h>

struct seen {
    uint32_t subjects, sans;
};

static void on_name(void *ctx, enum tr_cert_name kind, struct tr_span text)
{
    struct seen *s = ctx;
    FUZZ_CHECK(text.len > 0 && !memchr(text.ptr, 0, text.len));
    if (kind == TR_CERT_SUBJECT) {
        FUZZ_CHECK(s->sans == 0);
        s->subjects++;
        return;
    }
    s->sans++;
    FUZZ_CHECK(tr_span_starts(text, TR_SPAN("DNS:")) || tr_span_starts(text, TR_SPAN("URI:")) ||
               tr_span_starts(text, TR_SPAN("email:")) || tr_span_starts(text, TR_SPAN("IP:")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen s = {0};
    char *der = malloc(size + 1);
    FUZZ_CHECK(der);
    memcpy(der, data, size);
    enum tr_err err = tr_tls_cert_names(tr_span(der, size), on_name, &s);
    FUZZ_CHECK(s.subjects <= 1 && (!err || s.subjects + s.sans == 0));
    FUZZ_CHECK(ERR_peek_error() == 0);
    free(der);
    return 0;
}
