#include "filters/report.h"

#include <stdarg.h>
#include <stdio.h>

static void tell(struct tr_snapshot *snap, enum tr_problem_level level,
                 const struct tr_policy *policy, const char *key, const char *fmt, va_list ap)
    __attribute__((format(printf, 5, 0)));

static void tell(struct tr_snapshot *snap, enum tr_problem_level level,
                 const struct tr_policy *policy, const char *key, const char *fmt, va_list ap)
{
    char text[512];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n < 0)
        n = 0;
    struct tr_span what = tr_span(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    struct tr_span where = tr_policy_where(snap->policies, policy, key);
    for (const struct tr_problem *p = snap->problems.first; p; p = p->next)
        if (tr_span_eq(p->where, where) && tr_span_eq(p->text, what))
            return;
    tr_problem(&snap->problems, level, where, "%.*s", (int)what.len, what.ptr);
}

void tr_filter_problem(struct tr_snapshot *snap, const struct tr_policy *policy, const char *key,
                       const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell(snap, TR_PROBLEM_ERROR, policy, key, fmt, ap);
    va_end(ap);
}

void tr_filter_warning(struct tr_snapshot *snap, const struct tr_policy *policy, const char *key,
                       const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    tell(snap, TR_PROBLEM_WARNING, policy, key, fmt, ap);
    va_end(ap);
}
