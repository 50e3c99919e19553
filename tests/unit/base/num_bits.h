/* Numbers as tests write them: from text by the C library, from bits, and back. */
#ifndef TR_TESTS_NUM_BITS_H
#define TR_TESTS_NUM_BITS_H

#include "base/num.h"
#include "test.h"

static inline double to_double(const char *text)
{
    double v = 0;
    if (tr_num_parse_double(tr_span_cstr(text), &v))
        fail_msg("refused: %s", text);
    return v;
}
static inline float to_float(const char *text)
{
    float v = 0;
    if (tr_num_parse_float(tr_span_cstr(text), &v))
        fail_msg("refused: %s", text);
    return v;
}
static inline uint64_t bits64(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}
static inline uint32_t bits32(float v)
{
    uint32_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}
static inline double double_of(uint64_t b)
{
    double v;
    memcpy(&v, &b, sizeof v);
    return v;
}
static inline float float_of(uint32_t b)
{
    float v;
    memcpy(&v, &b, sizeof v);
    return v;
}

#endif
