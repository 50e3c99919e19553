/* Numbers as text, independent of locale: shortest round-trip printing, correctly rounded parsing.
 *
 * No function allocates. Printers return the number of bytes written and never write a NUL. */
#ifndef TR_BASE_NUM_H
#define TR_BASE_NUM_H

#include "base/span.h"
#include "base/status.h"

#define TR_NUM_MAX                                                                                 \
    40 /* bytes that any printer here may write to, its result and whole words after it */

/* Decimal integers, without leading zeros. */
size_t tr_num_u64(char *out, uint64_t v);
size_t tr_num_i64(char *out, int64_t v);

/* The shortest decimal that reads back as the same value (for float: the same float), closest to it
 * among those; plain notation for exponents -6 < e < 21 ("100", "0.001"), else "1.5e-7", "1e+21"
 * (the form of ECMAScript Number::toString, which is valid JSON). -0 prints "-0". v must be finite.
 */
size_t tr_num_double(char *out, double v);
size_t tr_num_float(char *out, float v);

/* A JSON number (RFC 8259 §6 grammar, already checked or checked here) to the nearest double, ties
 * to even. TR_ERR_JSON_SYNTAX when s is not exactly one JSON number; TR_ERR_JSON_RANGE when it
 * overflows to infinity (underflow gives 0 or a subnormal). */
enum tr_err tr_num_parse_double(struct tr_span s, double *ret) TR_MUST_USE;
/* The same to the nearest float in one rounding; TR_ERR_JSON_RANGE beyond FLT_MAX after rounding.
 */
enum tr_err tr_num_parse_float(struct tr_span s, float *ret) TR_MUST_USE;

/* A JSON number whose value is an integer ("5", "5.0", "50e-1", "1e3"), exactly, however it is
 * written. TR_ERR_JSON_TYPE when it has a fraction, TR_ERR_JSON_RANGE outside the type,
 * TR_ERR_JSON_SYNTAX when it is not a JSON number. Work is bounded by the length of s (exponents of
 * any size included). */
enum tr_err tr_num_parse_i64(struct tr_span s, int64_t *ret) TR_MUST_USE;
enum tr_err tr_num_parse_u64(struct tr_span s, uint64_t *ret) TR_MUST_USE;

#endif
