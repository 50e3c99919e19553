#include "http/grpc_timeout.h"

#include "base/num.h"

static const struct {
    char unit;
    uint64_t ns;
} units[] = {
    {'n', 1u},          {'u', 1000u},        {'m', 1000000u},
    {'S', 1000000000u}, {'M', 60000000000u}, {'H', 3600000000000u},
};

enum tr_err tr_grpc_timeout_parse(struct tr_span text, uint64_t *ret_ns)
{
    uint64_t v;
    if (text.len < 2 || text.len > 9 || !tr_span_u64(tr_span(text.ptr, text.len - 1), &v))
        return TR_ERR_BAD_TIMEOUT;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].unit != text.ptr[text.len - 1])
            continue;
        uint64_t ns;
        if (__builtin_mul_overflow(v, units[i].ns, &ns) || ns > INT64_MAX)
            ns = INT64_MAX;
        *ret_ns = ns;
        return TR_OK;
    }
    return TR_ERR_BAD_TIMEOUT;
}

enum tr_err tr_request_timeout_parse(struct tr_span text, uint64_t *ret_ns)
{
    size_t dot = tr_span_find(text, '.');
    struct tr_span whole = tr_span(text.ptr, dot), frac = tr_span_from(text, dot + 1);
    uint64_t s, f = 0, place = 100000000u;
    if (whole.len > 9 || !tr_span_u64(whole, &s) || (dot < text.len && frac.len == 0))
        return TR_ERR_BAD_TIMEOUT;
    for (size_t i = 0; i < frac.len; i++, place /= 10) {
        if (!tr_is_digit(frac.ptr[i]))
            return TR_ERR_BAD_TIMEOUT;
        f += (uint64_t)(frac.ptr[i] - '0') * place; /* after nanoseconds nothing counts */
    }
    *ret_ns = s * 1000000000u + f;
    return TR_OK;
}

struct tr_span tr_grpc_timeout_print(char *out, uint64_t ns)
{
    size_t i = 0;
    if (ns == 0)
        ns = 1;
    while (i + 1 < sizeof units / sizeof units[0] && ns / units[i].ns > 99999999u)
        i++;
    uint64_t v = ns / units[i].ns;
    if (v > 99999999u)
        v = 99999999u;
    char digits[TR_NUM_MAX];
    size_t n = tr_num_u64(digits, v);
    memcpy(out, digits, n);
    out[n++] = units[i].unit;
    return tr_span(out, n);
}
