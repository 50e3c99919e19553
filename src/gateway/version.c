#include "gateway/args.h"
#include "gateway/cmd.h"

#include <ares.h>
#include <brotli/decode.h>
#include <jansson.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>
#include <protobuf-c/protobuf-c.h>
#include <uv.h>
#include <zlib.h>
#include <zstd.h>

#ifndef TR_VERSION
#define TR_VERSION "0"
#endif

int tr_cmd_version(int argc, char **argv)
{
    struct tr_args args = {
        .verb = "version",
        .help =
            "Usage: transom version\n"
            "Print the version of transom, and those of the libraries that it is linked with.\n"};
    int status = tr_args_parse(&args, argc, argv, "", false);
    if (status >= 0)
        return status;
    if (args.rest_count)
        return tr_cmd_usage("version", "unexpected argument '%s'", args.rest[0]);
    uint32_t b = BrotliDecoderVersion();
    (void)printf("transom %s\n", TR_VERSION);
    (void)printf("nghttp2 %s\n", nghttp2_version(0)->version_str);
    (void)printf("%s\n", OpenSSL_version(OPENSSL_VERSION));
    (void)printf("libuv %s\n", uv_version_string());
    (void)printf("c-ares %s\n", ares_version(NULL));
    (void)printf("protobuf-c %s\n", protobuf_c_version());
    (void)printf("jansson %s\n", jansson_version_str());
    (void)printf("zlib %s\n", zlibVersion());
    (void)printf("brotli %u.%u.%u\n", b >> 24, (b >> 12) & 0xFFF, b & 0xFFF);
    (void)printf("zstd %s\n", ZSTD_versionString());
    return 0;
}
