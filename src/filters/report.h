/* Problems of effective policies: methods inherit from one rule, but its mistake is told once. */
#ifndef TR_FILTERS_REPORT_H
#define TR_FILTERS_REPORT_H

#include "config/snapshot.h"

/* A warning, or an error, at the rule that gives `policy` its `key` ("ip"), unless the same was
 * told before. */
void tr_filter_warning(struct tr_snapshot *snap, const struct tr_policy *policy, const char *key,
                       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void tr_filter_problem(struct tr_snapshot *snap, const struct tr_policy *policy, const char *key,
                       const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
