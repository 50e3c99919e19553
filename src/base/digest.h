/* SHA-256 (FIPS 180-4), by OpenSSL. */
#ifndef TR_BASE_DIGEST_H
#define TR_BASE_DIGEST_H

#include "base/span.h"

#include <stdint.h>

#define TR_SHA256_BYTES 32

/* Thread-safe; allocates nothing of ours. */
void tr_sha256(struct tr_span in, uint8_t out[TR_SHA256_BYTES]);

#endif
