/* Token buckets that bound what a peer may make an HTTP/2 connection do for nothing.
 *
 * Pure arithmetic with `now` passed in. A bucket holds at most `burst` tokens and gains `per_s` a
 * second; it is full at its first use. */
#ifndef TR_HTTP_H2_GUARD_H
#define TR_HTTP_H2_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct tr_h2_bucket {  /* zeroed before use */
    uint64_t stamp_ns; /* when tokens was right; 0: never used */
    uint32_t tokens;
};

/* Takes one token; false when there is none. */
static inline bool tr_h2_bucket_take(struct tr_h2_bucket *b, uint32_t burst, uint32_t per_s,
                                     uint64_t now_ns)
{
    const uint64_t second = 1000000000u;
    if (b->stamp_ns == 0) {
        b->tokens = burst;
        b->stamp_ns = now_ns ? now_ns : 1;
    } else if (now_ns > b->stamp_ns && per_s) {
        uint64_t elapsed = now_ns - b->stamp_ns;
        uint64_t step = second / per_s ? second / per_s : 1;
        uint64_t gained = elapsed / step;
        if (gained >= burst - (b->tokens < burst ? b->tokens : burst)) {
            b->tokens = burst;
            b->stamp_ns = now_ns;
        } else {
            b->tokens += (uint32_t)gained;
            b->stamp_ns += gained * step; /* the fraction is not lost */
        }
    }
    if (b->tokens == 0)
        return false;
    b->tokens--;
    return true;
}

/* Gives tokens back for useful work. */
static inline void tr_h2_bucket_give(struct tr_h2_bucket *b, uint32_t tokens, uint32_t burst)
{
    if (b->stamp_ns)
        b->tokens = burst - b->tokens < tokens ? burst : b->tokens + tokens;
}

#endif
