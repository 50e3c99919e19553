/* Readers of a few fields of a message: the key of ring_hash and the status of a health check. The
 * first byte chooses the path. What is found lies in the message; what is appended to a message
 * that can be read is found last. */
#include "../unit/transcode/pool.h"
#include "fuzz.h"
#include "pipeline/hash_key.h"
#include "proto/wire.h"

static const struct tr_msgtype *type(void)
{
    static struct tr_typepool *pool;
    if (!pool)
        pool = pool_load(TR_TEST_SET);
    return tr_typepool_message(pool, TR_SPAN("test.v1.Everything"));
}

static bool is_readable(struct tr_span message)
{
    const char *p = message.ptr, *end = p + message.len;
    uint32_t number, wire;
    while (p < end) {
        if (!tr_wire_tag(&p, end, &number, &wire) || !tr_wire_skip(&p, end, number, wire))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tr_span paths[] = {
        TR_SPAN_INIT("f_string"),
        TR_SPAN_INIT("f_nested.leaf.text"),
        TR_SPAN_INIT("f_nested.id"),
        TR_SPAN_INIT("f_int64"),
        TR_SPAN_INIT("f_self.f_self.fSelf.f_double"),
        TR_SPAN_INIT("f_leaf.number"),
    };
    static const struct tr_span more = TR_SPAN_INIT("\x72\4emma"); /* f_string */
    if (size < 1)
        return 0;
    size_t len = size - 1;
    struct tr_span path = paths[data[0] % (sizeof paths / sizeof paths[0])], value;
    char *bytes = malloc(len + 1);
    FUZZ_CHECK(bytes);
    memcpy(bytes, data + 1, len);
    struct tr_span message = tr_span(bytes, len);
    if (tr_hash_field(type(), message, path, &value))
        FUZZ_CHECK(value.ptr >= bytes && value.ptr + value.len <= bytes + len);
    (void)tr_health_status(message);
    bool readable = is_readable(message);
    struct tr_buf longer;
    tr_buf_init(&longer);
    FUZZ_CHECK(!tr_buf_append(&longer, message) && !tr_buf_append(&longer, more));
    if (readable) {
        FUZZ_CHECK(tr_hash_field(type(), tr_buf_span(&longer), paths[0], &value));
        FUZZ_CHECK(tr_span_eq(value, TR_SPAN("emma")));
    }
    tr_buf_fini(&longer);
    free(bytes);
    return 0;
}
