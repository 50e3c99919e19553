#include "filters/report.h"

#include <stdarg.h>
#include <stdio.h>

void tr_filter_problem(struct tr_snapshot *snap, const struct tr_policy *policy, const char *key,
                       const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    struct tr_span what = tr_span(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    struct tr_span where = tr_policy_where(snap->policies, policy, key);
    for (const struct tr_problem *p = snap->problems.first; p; p = p->next)
        if (tr_span_eq(p->where, where) && tr_span_eq(p->text, what))
            return;
    tr_problem(&snap->problems, TR_PROBLEM_ERROR, where, "%.*s", (int)what.len, what.ptr);
}
