#include "base/rand.h"

#include <sys/random.h>
#include <time.h>

/* splitmix64: spreads one word over the state, which then cannot be all zero. */
static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void tr_rand_seed(struct tr_rand *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = mix(&seed);
}

void tr_rand_init(struct tr_rand *r)
{
    struct timespec real = {0, 0}, up = {0, 0};
    if (getrandom(r->s, sizeof r->s, GRND_NONBLOCK) == (ssize_t)sizeof r->s &&
        (r->s[0] | r->s[1] | r->s[2] | r->s[3]) != 0)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &real);
    (void)clock_gettime(CLOCK_MONOTONIC, &up);
    tr_rand_seed(r, (uint64_t)real.tv_nsec ^ ((uint64_t)real.tv_sec << 30) ^
                        ((uint64_t)up.tv_nsec << 20) ^ (uint64_t)(uintptr_t)r);
}

uint64_t tr_rand_below(struct tr_rand *r, uint64_t n)
{
    if (n == 0)
        return 0;
    /* the high word of a 128-bit product is uniform but for the first 2^64 mod n low words, which
     * are drawn again */
    for (;;) {
        __extension__ unsigned __int128 product = (unsigned __int128)tr_rand_u64(r) * n;
        uint64_t low = (uint64_t)product;
        if (low >= n || low >= (0 - n) % n)
            return (uint64_t)(product >> 64);
    }
}
