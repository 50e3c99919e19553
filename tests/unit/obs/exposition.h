/* A small strict reader of the Prometheus text format (0.0.4), for tests: it fails the test on the
 * first line that is not in the format, on a series that comes twice, on a family that comes in two
 * pieces, and on a histogram that does not add up. */
#ifndef TR_TESTS_EXPOSITION_H
#define TR_TESTS_EXPOSITION_H

#include "test.h"

#include <stdio.h>

#define EXPO_SERIES_MAX   8192
#define EXPO_FAMILIES_MAX 256

struct exposition {
    struct tr_span series[EXPO_SERIES_MAX]; /* name and labels, as written */
    double values[EXPO_SERIES_MAX];
    size_t series_count;
    struct tr_span families[EXPO_FAMILIES_MAX];
    size_t family_count;
    char type[16]; /* of the family being read */
};

static inline bool expo_name_char(char c, bool first)
{
    return tr_is_alpha(c) || c == '_' || c == ':' || (!first && tr_is_digit(c));
}

static inline size_t expo_name_len(struct tr_span s)
{
    size_t n = 0;
    while (n < s.len && expo_name_char(s.ptr[n], n == 0))
        n++;
    return n;
}

/* Length of {name="value",...} at s; 0 when there is none. */
static inline size_t expo_labels_len(struct tr_span line, size_t at)
{
    size_t i = at;
    if (i == line.len || line.ptr[i] != '{')
        return 0;
    do {
        i++;
        size_t n = expo_name_len(tr_span_from(line, i));
        assert_true(n > 0);
        i += n;
        assert_true(i + 1 < line.len && line.ptr[i] == '=' && line.ptr[i + 1] == '"');
        for (i += 2; i < line.len && line.ptr[i] != '"'; i++) {
            if (line.ptr[i] == '\\') {
                i++;
                assert_true(i < line.len && strchr("\\\"n", line.ptr[i]));
            }
        }
        assert_true(i < line.len);
        i++;
    } while (i < line.len && line.ptr[i] == ',');
    assert_true(i < line.len && line.ptr[i] == '}');
    return i + 1 - at;
}

static inline struct tr_span expo_family(const struct exposition *e)
{
    assert_true(e->family_count > 0);
    return e->families[e->family_count - 1];
}

static inline void expo_comment(struct exposition *e, struct tr_span line)
{
    bool help = tr_span_starts(line, TR_SPAN("# HELP "));
    assert_true(help || tr_span_starts(line, TR_SPAN("# TYPE ")));
    struct tr_span rest = tr_span_from(line, 7), name = tr_span_cut(&rest, ' ');
    assert_int_equal(expo_name_len(name), name.len);
    assert_true(rest.len > 0);
    if (help) {
        for (size_t i = 0; i < e->family_count; i++)
            assert_false(tr_span_eq(e->families[i], name));
        assert_true(e->family_count < EXPO_FAMILIES_MAX);
        e->families[e->family_count++] = name;
        e->type[0] = '\0';
        return;
    }
    assert_true(tr_span_eq(expo_family(e), name));
    assert_int_equal(e->type[0], '\0');
    assert_true(rest.len < sizeof e->type);
    memcpy(e->type, rest.ptr, rest.len);
    e->type[rest.len] = '\0';
    assert_true(!strcmp(e->type, "counter") || !strcmp(e->type, "gauge") ||
                !strcmp(e->type, "histogram"));
    if (!strcmp(e->type, "counter"))
        assert_true(tr_span_ends(name, TR_SPAN("_total")));
}

/* Buckets rise, and +Inf is the count, for the series that ends here. */
static inline void expo_check_histogram(const struct exposition *e, size_t last)
{
    assert_true(last >= 3);
    size_t i = last - 2; /* +Inf */
    assert_non_null(memmem(e->series[i].ptr, e->series[i].len, "le=\"+Inf\"", 9));
    assert_true(e->values[i] == e->values[last]);
    for (; i > 0 && memmem(e->series[i - 1].ptr, e->series[i - 1].len, "le=\"", 4); i--) {
        if (memmem(e->series[i - 1].ptr, e->series[i - 1].len, "+Inf", 4))
            break;
        assert_true(e->values[i - 1] <= e->values[i]);
    }
}

static inline void expo_sample(struct exposition *e, struct tr_span line)
{
    size_t n = expo_name_len(line);
    struct tr_span name = tr_span_sub(line, 0, n), family = expo_family(e);
    n += expo_labels_len(line, n);
    assert_true(n < line.len && line.ptr[n] == ' ');
    bool histogram = !strcmp(e->type, "histogram");
    assert_true(e->type[0]);
    if (histogram) {
        assert_true(tr_span_starts(name, family));
        struct tr_span suffix = tr_span_from(name, family.len);
        assert_true(tr_span_eq(suffix, TR_SPAN("_bucket")) || tr_span_eq(suffix, TR_SPAN("_sum")) ||
                    tr_span_eq(suffix, TR_SPAN("_count")));
    } else {
        assert_true(tr_span_eq(name, family));
    }
    struct tr_span series = tr_span_sub(line, 0, n);
    for (size_t i = 0; i < e->series_count; i++)
        assert_false(tr_span_eq(e->series[i], series));
    char number[64] = {0}, *end;
    assert_true(line.len - n - 1 > 0 && line.len - n - 1 < sizeof number);
    memcpy(number, line.ptr + n + 1, line.len - n - 1);
    assert_true(e->series_count < EXPO_SERIES_MAX);
    e->series[e->series_count] = series;
    e->values[e->series_count] = strtod(number, &end);
    assert_int_equal(*end, '\0');
    if (histogram && tr_span_ends(name, TR_SPAN("_count")))
        expo_check_histogram(e, e->series_count);
    e->series_count++;
}

static inline void exposition_read(struct exposition *e, struct tr_span text)
{
    memset(e, 0, sizeof *e);
    assert_true(text.len == 0 || text.ptr[text.len - 1] == '\n');
    while (text.len) {
        struct tr_span line = tr_span_cut(&text, '\n');
        assert_true(line.len > 0);
        if (line.ptr[0] == '#')
            expo_comment(e, line);
        else
            expo_sample(e, line);
    }
}

/* The value of a series by its text; -1 when it is not there. */
static inline double exposition_value(const struct exposition *e, const char *series)
{
    for (size_t i = 0; i < e->series_count; i++) {
        if (tr_span_eq(e->series[i], tr_span_cstr(series)))
            return e->values[i];
    }
    return -1;
}

#endif
