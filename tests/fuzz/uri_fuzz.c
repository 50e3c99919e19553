/* Request targets: what is accepted is within the grammar, and its parts are parts of the input. */
#include "fuzz.h"
#include "http/msg.h"
#include "http/uri.h"

#include <stdlib.h>
#include <string.h>

static bool within(struct tr_span part, struct tr_span whole)
{
    return part.len == 0 || (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void fuzz_finish(struct tr_span target)
{
    for (int version = 10; version <= 20; version += version == 10 ? 1 : 9) {
        struct tr_header host = {TR_SPAN_INIT("host"), TR_SPAN_INIT("a"), TR_TOKEN_HOST};
        struct tr_req_head head = {
            .version = (uint8_t)version, .method = TR_METHOD_OPTIONS, .headers = {&host, 1, 1}};
        if (tr_req_head_finish(&head, target, NULL) != TR_OK)
            continue;
        FUZZ_CHECK(head.headers.count == 0);
        FUZZ_CHECK(tr_span_eq(head.path, TR_SPAN("*")) || tr_uri_is_path(head.path));
        FUZZ_CHECK(tr_uri_is_query(head.query));
        FUZZ_CHECK(tr_uri_is_authority(head.authority));
        FUZZ_CHECK(within(head.query, target));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = malloc(size ? size : 1);
    FUZZ_CHECK(exact);
    if (size)
        memcpy(exact, data, size);
    struct tr_span in = tr_span(exact, size), host, port;
    struct tr_uri uri;
    if (tr_uri_parse(in, &uri) == TR_OK) {
        FUZZ_CHECK(tr_uri_is_authority(uri.authority) && within(uri.authority, in) &&
                   within(uri.path, in) && within(uri.query, in));
        FUZZ_CHECK(uri.path.len == 0 || tr_uri_is_path(uri.path));
    }
    if (tr_uri_is_authority(in)) {
        tr_uri_split_authority(in, &host, &port);
        FUZZ_CHECK(host.len > 0 && within(host, in) && within(port, in));
        FUZZ_CHECK(host.len + port.len + (host.len < in.len) == in.len);
    }
    fuzz_finish(in);
    free(exact);
    return 0;
}
