/* Durations, sizes and ratios as text. */
#include "base/num.h"
#include "config/keys.h"

bool tr_duration_parse(struct tr_span text, uint64_t *ret_ns)
{
    static const struct {
        struct tr_span unit;
        double ns;
    } units[] = {
        {TR_SPAN_INIT("ns"), 1},  {TR_SPAN_INIT("us"), 1e3}, {TR_SPAN_INIT("ms"), 1e6},
        {TR_SPAN_INIT("s"), 1e9}, {TR_SPAN_INIT("m"), 60e9}, {TR_SPAN_INIT("h"), 3600e9},
    };
    size_t n = 0;
    while (n < text.len && (tr_is_digit(text.ptr[n]) || text.ptr[n] == '.'))
        n++;
    double v;
    if (n == 0 || tr_num_parse_double(tr_span(text.ptr, n), &v))
        return false;
    struct tr_span unit = tr_span_from(text, n);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!tr_span_eq(unit, units[i].unit))
            continue;
        double ns = v * units[i].ns;
        if (ns > 9e18)
            return false;
        *ret_ns = (uint64_t)(ns + 0.5);
        return true;
    }
    return false;
}

bool tr_size_parse(struct tr_span text, uint64_t *ret_bytes)
{
    static const struct {
        struct tr_span unit;
        unsigned shift;
    } units[] = {
        {TR_SPAN_INIT(""), 0},     {TR_SPAN_INIT("B"), 0},    {TR_SPAN_INIT("KiB"), 10},
        {TR_SPAN_INIT("MiB"), 20}, {TR_SPAN_INIT("GiB"), 30},
    };
    size_t n = 0;
    uint64_t v;
    while (n < text.len && tr_is_digit(text.ptr[n]))
        n++;
    if (!tr_span_u64(tr_span(text.ptr, n), &v))
        return false;
    struct tr_span unit = tr_span_from(text, n);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!tr_span_eq(unit, units[i].unit))
            continue;
        if (v > UINT64_MAX >> 1 >> units[i].shift)
            return false;
        *ret_bytes = v << units[i].shift;
        return true;
    }
    return false;
}

bool tr_ratio_parse(struct tr_span text, uint32_t *ret)
{
    uint32_t v = 0, digits = 0;
    struct tr_span whole = tr_span_cut(&text, '.');
    if (tr_span_eq(whole, TR_SPAN("1")))
        v = 1000000;
    else if (!tr_span_eq(whole, TR_SPAN("0")))
        return false;
    uint32_t fraction = 0;
    for (size_t i = 0; text.ptr && i < text.len; i++) {
        if (!tr_is_digit(text.ptr[i]))
            return false;
        if (digits < 6) {
            fraction = fraction * 10 + (uint32_t)(text.ptr[i] - '0');
            digits++;
        }
    }
    for (; digits < 6; digits++)
        fraction *= 10;
    if (v && fraction)
        return false;
    *ret = v + fraction;
    return true;
}
