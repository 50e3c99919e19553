/* Fast random numbers for jitter, sampling and the choice of an endpoint. Not for secrets.
 *
 * One generator for each thread, owned by whoever draws from it; xoshiro256** with a period of
 * 2^256 - 1. */
#ifndef TR_BASE_RAND_H
#define TR_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct tr_rand {
    uint64_t s[4]; /* never all zero */
};

/* From getrandom(2); when the kernel has none to give, from the clocks and the address of *r. */
void tr_rand_init(struct tr_rand *r);
/* The same numbers for the same seed; for tests. */
void tr_rand_seed(struct tr_rand *r, uint64_t seed);

static inline uint64_t tr_rand_rotl(uint64_t v, int n)
{
    return (v << n) | (v >> (64 - n));
}

static inline uint64_t tr_rand_u64(struct tr_rand *r)
{
    uint64_t *s = r->s;
    uint64_t result = tr_rand_rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = tr_rand_rotl(s[3], 45);
    return result;
}

/* Uniform in [0, n), without bias; 0 when n is 0. */
uint64_t tr_rand_below(struct tr_rand *r, uint64_t n);

/* Uniform in [0, 1). */
static inline double tr_rand_unit(struct tr_rand *r)
{
    return (double)(tr_rand_u64(r) >> 11) * 0x1.0p-53;
}

#endif
