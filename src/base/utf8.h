/* UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing above U+10FFFF. SIMD where it pays.
 */
#ifndef TR_BASE_UTF8_H
#define TR_BASE_UTF8_H

#include "base/span.h"

/* Length of the longest valid prefix that ends at a sequence boundary; s.len when all of s is
 * valid. */
size_t tr_utf8_valid_prefix(struct tr_span s);
static inline bool tr_utf8_valid(struct tr_span s)
{
    return tr_utf8_valid_prefix(s) == s.len;
}
/* The sequence at the start of s (s.len > 0): its length 1-4 when it is valid; 0 when s ends inside
 * a sequence that is valid so far; else minus the length of the maximal ill-formed subpart
 * (Unicode 3.9, table 3-8). */
int tr_utf8_seq(struct tr_span s);
/* Writes code point cp (a scalar value) to out[4]; returns 1-4. */
size_t tr_utf8_put(char *out, uint32_t cp);

#endif
