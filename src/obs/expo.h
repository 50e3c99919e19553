/* The Prometheus text exposition format, version 0.0.4: what /metrics answers.
 *
 * Vocabulary: a *family* is all samples of one metric; its HELP and TYPE lines stand before it,
 * once.
 *
 * Contract: metrics.def is the only list of names; a writer puts the samples of one family after
 * one another and never comes back to a family (both asserted in debug builds). Label values are
 * UTF-8; '\', '"' and line feeds in them are escaped. Errors are kept until tr_expo_end, so that
 * callers write samples without looking.
 *
 * Thread: the reader's (admin); nothing here touches counters. */
#ifndef TR_OBS_EXPO_H
#define TR_OBS_EXPO_H

#include "base/buf.h"
#include "base/status.h"

enum tr_metric {
#define METRIC(id, name, type, labels, help) TR_METRIC_##id,
#include "obs/metrics.def"
#undef METRIC
    TR_METRIC__COUNT
};

enum tr_metric_type { TR_METRIC_COUNTER, TR_METRIC_GAUGE, TR_METRIC_HISTOGRAM };

struct tr_metric_info {
    struct tr_span name;
    enum tr_metric_type type;
    struct tr_span labels; /* names, separated by commas */
    struct tr_span help;
};

/* metric < TR_METRIC__COUNT. */
const struct tr_metric_info *tr_metric_info(enum tr_metric metric);

#define TR_EXPO_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct tr_expo {
    struct tr_buf *out;
    enum tr_err err;
    int family;                               /* enum tr_metric; -1 at first */
    uint8_t done[(TR_METRIC__COUNT + 7) / 8]; /* families written */
};

/* Appends to out. */
void tr_expo_init(struct tr_expo *e, struct tr_buf *out);

/* One sample; `labels` has a value for each label of the metric, in the order of metrics.def; NULL
 * when it has none. */
void tr_expo_u64(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                 uint64_t value);
void tr_expo_i64(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                 int64_t value);
/* value must be finite. */
void tr_expo_double(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                    double value);

/* Bounds of a histogram as text (values of "le"), in rising order, without +Inf. */
struct tr_expo_buckets {
    const struct tr_span *bounds;
    uint32_t count;
};
/* counts has one more than bounds: values between a bound and the one before it, and those above
 * all. */
void tr_expo_histogram(struct tr_expo *e, enum tr_metric metric, const struct tr_span *labels,
                       const struct tr_expo_buckets *buckets, const uint64_t *counts, double sum);

/* TR_ERR_NOMEM when something is missing. */
enum tr_err tr_expo_end(struct tr_expo *e) TR_MUST_USE;

#endif
