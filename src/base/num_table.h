/* Powers of ten to 128 bits, for num.c only. Entry k: ceil(10^k / 2^r) with r = floor(log2(10^k)) -
 * 127. */
#ifndef TR_BASE_NUM_TABLE_H
#define TR_BASE_NUM_TABLE_H

#include <stdint.h>

#define TR_POW10_MIN (-342)
#define TR_POW10_MAX 324

struct tr_pow10 {
    uint64_t hi, lo;
};

extern const struct tr_pow10 tr_pow10_table[TR_POW10_MAX - TR_POW10_MIN + 1];

#endif
