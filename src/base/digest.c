#include "base/digest.h"

#include <openssl/sha.h>

void tr_sha256(struct tr_span in, uint8_t out[TR_SHA256_BYTES])
{
    (void)SHA256((const unsigned char *)in.ptr, in.len, out);
}
