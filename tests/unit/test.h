/* A thin layer on cmocka, included first by every unit test. */
#ifndef TR_TESTS_UNIT_TEST_H
#define TR_TESTS_UNIT_TEST_H

/* cmocka.h needs what stands before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
/* clang-format on */

#include "base/alloc.h"
#include "base/span.h"

/* Seed of random cuts: TR_SEED in the environment, else fixed; print it when a test fails. */
static inline uint64_t tr_test_seed(void)
{
    const char *s = getenv("TR_SEED");
    return s ? strtoull(s, NULL, 10) : 20250101u;
}

static inline uint64_t tr_test_rand(uint64_t *state) /* splitmix64 */
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#define assert_span_equal(span, text)                                                              \
    do {                                                                                           \
        struct tr_span got_ = (span);                                                              \
        const char *want_ = (text);                                                                \
        assert_int_equal(got_.len, strlen(want_));                                                 \
        if (got_.len)                                                                              \
            assert_memory_equal(got_.ptr, want_, got_.len);                                        \
    } while (0)

#endif
