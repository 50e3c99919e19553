#include "filters/shed_level.h"

#include "base/span.h"

#define MS          ((uint64_t)1000000)
#define SHARE_FIRST 8
#define SHARE_STEP  2
#define SHARE_MOST  15

static void settle(struct tr_shed_level *level, uint64_t bound, uint64_t end)
{
    if (bound && level->value > bound)
        level->over = true;
    else if (bound == 0 || level->value < end || level->value == 0)
        level->over = false;
}

void tr_shed_lag(struct tr_shed_level *level, uint64_t sample_ns, uint64_t bound_ns)
{
    if (sample_ns > level->value)
        level->value += (sample_ns - level->value) / 4;
    else
        level->value -= (level->value - sample_ns + 3) / 4; /* rounded up: it reaches 0 */
    settle(level, bound_ns, bound_ns / 2);
    if (level->over && level->value > bound_ns)
        level->share = level->share < SHARE_FIRST ? SHARE_FIRST
                       : level->share + SHARE_STEP < SHARE_MOST
                           ? (uint8_t)(level->share + SHARE_STEP)
                           : SHARE_MOST;
    else if (!level->over)
        level->share = level->share > SHARE_STEP ? (uint8_t)(level->share - SHARE_STEP) : 0;
}

void tr_shed_memory(struct tr_shed_level *level, uint64_t bytes, uint64_t bound_bytes)
{
    level->value = bytes;
    settle(level, bound_bytes, bound_bytes - bound_bytes / 20);
    level->share = level->over ? TR_SHED_ALL : 0;
}

uint64_t tr_shed_lag_interval(uint64_t bound_ns)
{
    if (bound_ns == 0)
        return 1000 * MS; /* for the metric alone */
    uint64_t quarter = bound_ns / 4;
    return quarter < 5 * MS ? 5 * MS : quarter > 50 * MS ? 50 * MS : quarter;
}

uint64_t tr_shed_statm_pages(const char *text, uint32_t len)
{
    struct tr_span line = tr_span(text, len);
    uint64_t pages;
    (void)tr_span_cut(&line, ' ');
    return line.ptr && tr_span_u64(tr_span_cut(&line, ' '), &pages) ? pages : 0;
}
