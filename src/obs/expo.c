#include "obs/expo.h"

#include "base/assert.h"
#include "base/num.h"

static const struct tr_metric_info infos[TR_METRIC__COUNT] = {
#define METRIC(id, name_, type_, labels_, help_)                                                   \
    [TR_METRIC_##id] = {TR_SPAN_INIT(name_), TR_METRIC_##type_, TR_SPAN_INIT(labels_),             \
                        TR_SPAN_INIT(help_)},
#include "obs/metrics.def"
#undef METRIC
};

const struct tr_metric_info *tr_metric_info(enum tr_metric metric)
{
    TR_ASSERT((unsigned)metric < TR_METRIC__COUNT);
    return &infos[metric];
}

void tr_expo_init(struct tr_expo *e, struct tr_buf *out)
{
    *e = (struct tr_expo){.out = out, .err = TR_OK, .family = -1};
}

static void put(struct tr_expo *e, struct tr_span s)
{
    if (!e->err)
        e->err = tr_buf_append(e->out, s);
}

static void put_char(struct tr_expo *e, char c)
{
    if (!e->err)
        e->err = tr_buf_push(e->out, c);
}

static void put_u64(struct tr_expo *e, uint64_t v)
{
    char text[TR_NUM_MAX];
    put(e, tr_span(text, tr_num_u64(text, v)));
}

static void put_i64(struct tr_expo *e, int64_t v)
{
    char text[TR_NUM_MAX];
    put(e, tr_span(text, tr_num_i64(text, v)));
}

static void put_double(struct tr_expo *e, double v)
{
    char text[TR_NUM_MAX];
    put(e, tr_span(text, tr_num_double(text, v)));
}

/* In HELP a quote stands for itself, in a label value it does not. */
static void put_escaped(struct tr_expo *e, struct tr_span s, bool quoted)
{
    size_t from = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c != '\\' && c != '\n' && !(quoted && c == '"'))
            continue;
        put(e, tr_span_sub(s, from, i - from));
        put_char(e, '\\');
        if (c == '\n')
            c = 'n';
        put_char(e, c);
        from = i + 1;
    }
    put(e, tr_span_from(s, from));
}

static void begin_family(struct tr_expo *e, enum tr_metric metric)
{
    static const struct tr_span types[] = {TR_SPAN_INIT("counter"), TR_SPAN_INIT("gauge"),
                                           TR_SPAN_INIT("histogram")};
    const struct tr_metric_info *info = tr_metric_info(metric);
    if (e->family == (int)metric)
        return;
    TR_DCHECK(!(e->done[metric / 8] & 1u << metric % 8));
    e->done[metric / 8] = (uint8_t)(e->done[metric / 8] | 1u << metric % 8);
    e->family = (int)metric;
    put(e, TR_SPAN("# HELP "));
    put(e, info->name);
    put_char(e, ' ');
    put_escaped(e, info->help, false);
    put(e, TR_SPAN("\n# TYPE "));
    put(e, info->name);
    put_char(e, ' ');
    put(e, types[info->type]);
    put_char(e, '\n');
}

/* name{label="value",...,le="..."} and a space; le.ptr is NULL when there is none. */
static void put_series(struct tr_expo *e, const struct tr_metric_info *info, struct tr_span suffix,
                       const struct tr_span *labels, struct tr_span le)
{
    struct tr_span names = info->labels;
    char open = '{';
    put(e, info->name);
    put(e, suffix);
    while (names.len) {
        put_char(e, open);
        put(e, tr_span_cut(&names, ','));
        put(e, TR_SPAN("=\""));
        put_escaped(e, *labels++, true);
        put_char(e, '"');
        open = ',';
    }
    if (le.ptr) {
        put_char(e, open);
        put(e, TR_SPAN("le=\""));
        put(e, le);
        put_char(e, '"');
        open = ',';
    }
    if (open == ',')
        put_char(e, '}');
    put_char(e, ' ');
}

void tr_expo_u64(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                 uint64_t value)
{
    begin_family(e, metric);
    TR_DCHECK(infos[metric].type != TR_METRIC_HISTOGRAM);
    put_series(e, &infos[metric], TR_SPAN(""), labels, tr_span(NULL, 0));
    put_u64(e, value);
    put_char(e, '\n');
}

void tr_expo_i64(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                 int64_t value)
{
    begin_family(e, metric);
    TR_DCHECK(infos[metric].type != TR_METRIC_HISTOGRAM);
    put_series(e, &infos[metric], TR_SPAN(""), labels, tr_span(NULL, 0));
    put_i64(e, value);
    put_char(e, '\n');
}

void tr_expo_double(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                    double value)
{
    begin_family(e, metric);
    TR_DCHECK(infos[metric].type != TR_METRIC_HISTOGRAM);
    put_series(e, &infos[metric], TR_SPAN(""), labels, tr_span(NULL, 0));
    put_double(e, value);
    put_char(e, '\n');
}

void tr_expo_histogram(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                       const struct tr_expo_buckets *buckets, const uint64_t *counts, double sum)
{
    const struct tr_metric_info *info = tr_metric_info(metric);
    uint64_t below = 0;
    begin_family(e, metric);
    TR_DCHECK(info->type == TR_METRIC_HISTOGRAM);
    for (uint32_t i = 0; i <= buckets->count; i++) {
        below += counts[i];
        put_series(e, info, TR_SPAN("_bucket"), labels,
                   i < buckets->count ? buckets->bounds[i] : TR_SPAN("+Inf"));
        put_u64(e, below);
        put_char(e, '\n');
    }
    put_series(e, info, TR_SPAN("_sum"), labels, tr_span(NULL, 0));
    put_double(e, sum);
    put_char(e, '\n');
    put_series(e, info, TR_SPAN("_count"), labels, tr_span(NULL, 0));
    put_u64(e, below);
    put_char(e, '\n');
}

enum tr_err tr_expo_end(struct tr_expo *e)
{
    return e->err;
}
