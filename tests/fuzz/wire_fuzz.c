/* Reads the input as records. Properties: readers stay inside and move forward; a varint that was
 * read is written in its shortest form and read back; a record that is skipped is skipped the same
 * way when it stands alone. */
#include "fuzz.h"
#include "proto/wire.h"

static void check_varint(uint64_t v)
{
    char out[TR_VARINT_MAX];
    size_t n = tr_wire_put_varint(out, v);
    const char *p = out;
    uint64_t back;
    FUZZ_CHECK(n == tr_wire_varint_len(v));
    FUZZ_CHECK(tr_wire_varint(&p, out + n, &back) && back == v && p == out + n);
    p = out;
    FUZZ_CHECK(!tr_wire_varint(&p, out + n - 1, &back) && p == out);
    FUZZ_CHECK(tr_wire_zigzag64(tr_wire_unzigzag64(v)) == v);
    FUZZ_CHECK(tr_wire_zigzag32(tr_wire_unzigzag32((uint32_t)v)) == (uint32_t)v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *start = (const char *)data, *p = start, *end = start + size;
    uint64_t v;
    while (p < end && tr_wire_varint(&p, end, &v))
        check_varint(v);
    p = start;
    for (;;) {
        const char *record = p;
        uint32_t number, type;
        if (!tr_wire_tag(&p, end, &number, &type) || !tr_wire_skip(&p, end, number, type))
            break;
        FUZZ_CHECK(p > record && p <= end);
        FUZZ_CHECK(number >= 1 && number <= 536870911);
        const char *q = record;
        uint32_t again, again_type;
        FUZZ_CHECK(tr_wire_tag(&q, p, &again, &again_type) && again == number &&
                   again_type == type);
        FUZZ_CHECK(tr_wire_skip(&q, p, number, type) && q == p);
        q = record;
        if (tr_wire_tag(&q, p - 1, &again, &again_type))
            FUZZ_CHECK(!tr_wire_skip(&q, p - 1, again, again_type));
        if (type == TR_WIRE_LEN) {
            struct tr_span s;
            q = record;
            FUZZ_CHECK(tr_wire_tag(&q, end, &again, &again_type) && tr_wire_len(&q, end, &s));
            FUZZ_CHECK(s.ptr >= start && s.ptr + s.len == p);
        }
    }
    return 0;
}
