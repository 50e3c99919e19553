#include "transcode/wktparse.h"

#include "proto/wire.h"

#define SECONDS_MIN  (-62135596800) /* 0001-01-01T00:00:00Z */
#define SECONDS_MAX  253402300799   /* 9999-12-31T23:59:59Z */
#define DURATION_MAX 315576000000

/* n digits at p; -1 when one of them is none. */
static int digits(const char *p, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (!tr_is_digit(p[i]))
            return -1;
        v = v * 10 + (p[i] - '0');
    }
    return v;
}

/* A fraction of 1 to 9 digits at *p as nanoseconds; -1 when it is none. */
static int32_t fraction(const char **p, const char *end)
{
    int32_t v = 0;
    int n = 0;
    for (; *p < end && tr_is_digit(**p); (*p)++, n++) {
        if (n == 9)
            return -1;
        v = v * 10 + (**p - '0');
    }
    if (n == 0)
        return -1;
    for (; n < 9; n++)
        v *= 10;
    return v;
}

static int days_in_month(int year, int month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar: years are counted from March, so that
 * the leap day is the last of its year. */
static int64_t days_from_civil(int year, int month, int day)
{
    int y = month <= 2 ? year - 1 : year;
    int era = (y >= 0 ? y : y - 399) / 400;
    int year_of_era = y - era * 400;
    int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * 146097 + day_of_era - 719468;
}

static enum tr_err bad_timestamp(struct tr_status *st)
{
    return tr_fail(st, TR_ERR_JSON_WKT,
                   "expected a timestamp such as \"2024-02-29T12:30:00.5Z\", years 0001 to 9999");
}

/* "Z" or "+HH:MM" up to the end, as seconds east of UTC. */
static bool zone(const char *p, const char *end, int *ret)
{
    if (end - p == 1 && *p == 'Z') {
        *ret = 0;
        return true;
    }
    if (end - p != 6 || (*p != '+' && *p != '-') || p[3] != ':')
        return false;
    int h = digits(p + 1, 2), m = digits(p + 4, 2);
    if (h < 0 || h > 23 || m < 0 || m > 59)
        return false;
    *ret = (*p == '+' ? 1 : -1) * (h * 3600 + m * 60);
    return true;
}

enum tr_err tr_wkt_timestamp(struct tr_span s, int64_t *ret_seconds, int32_t *ret_nanos,
                             struct tr_status *st)
{
    if (s.len < 20)
        return bad_timestamp(st);
    const char *p = s.ptr, *end = s.ptr + s.len;
    if (p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' || p[16] != ':')
        return bad_timestamp(st);
    int year = digits(p, 4), month = digits(p + 5, 2), day = digits(p + 8, 2);
    int hour = digits(p + 11, 2), minute = digits(p + 14, 2), second = digits(p + 17, 2);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return bad_timestamp(st);
    p += 19;
    int32_t nanos = 0;
    if (*p == '.') {
        p++;
        nanos = fraction(&p, end);
        if (nanos < 0)
            return bad_timestamp(st);
    }
    int east;
    if (!zone(p, end, &east))
        return bad_timestamp(st);
    int64_t seconds = days_from_civil(year, month, day) * 86400 + (int64_t)hour * 3600 +
                      (int64_t)minute * 60 + second - east;
    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX)
        return bad_timestamp(st);
    *ret_seconds = seconds;
    *ret_nanos = nanos;
    return TR_OK;
}

static enum tr_err bad_duration(struct tr_status *st)
{
    return tr_fail(st, TR_ERR_JSON_WKT,
                   "expected a duration such as \"1.5s\", at most 315576000000 seconds either way");
}

enum tr_err tr_wkt_duration(struct tr_span s, int64_t *ret_seconds, int32_t *ret_nanos,
                            struct tr_status *st)
{
    if (s.len == 0)
        return bad_duration(st);
    const char *p = s.ptr, *end = s.ptr + s.len;
    bool negative = p < end && *p == '-';
    p += negative;
    int64_t seconds = 0;
    const char *first = p;
    for (; p < end && tr_is_digit(*p); p++) {
        seconds = seconds * 10 + (*p - '0');
        if (seconds > DURATION_MAX)
            return bad_duration(st);
    }
    if (p == first)
        return bad_duration(st);
    int32_t nanos = 0;
    if (p < end && *p == '.') {
        p++;
        nanos = fraction(&p, end);
        if (nanos < 0)
            return bad_duration(st);
    }
    if (end - p != 1 || *p != 's')
        return bad_duration(st);
    *ret_seconds = negative ? -seconds : seconds;
    *ret_nanos = negative ? -nanos : nanos;
    return TR_OK;
}

size_t tr_wkt_time_wire(char *out, int64_t seconds, int32_t nanos, bool zeros)
{
    size_t n = 0;
    if (seconds || zeros) {
        out[n++] = 0x08;
        n += tr_wire_put_varint(out + n, (uint64_t)seconds);
    }
    if (nanos || zeros) {
        out[n++] = 0x10;
        n += tr_wire_put_varint(out + n, (uint64_t)(int64_t)nanos);
    }
    return n;
}

static bool mask_char(char c, bool snake)
{
    return (unsigned char)c > ' ' && c != 0x7f && c != '"' && (snake || c != '_');
}

/* One path: an upper-case letter becomes an underscore and the lower-case one. */
static enum tr_err mask_path(struct tr_span path, bool snake, struct tr_buf *out,
                             struct tr_status *st)
{
    size_t len = path.len;
    for (size_t i = 0; i < path.len; i++) {
        if (!mask_char(path.ptr[i], snake))
            return tr_fail(st, TR_ERR_JSON_WKT,
                           "a path of a field mask is written in lowerCamelCase: \"%.*s\"",
                           (int)(path.len < 40 ? path.len : 40), path.ptr);
        len += path.ptr[i] >= 'A' && path.ptr[i] <= 'Z';
    }
    if (path.len == 0)
        return tr_fail(st, TR_ERR_JSON_WKT, "a path of the field mask is empty");
    enum tr_err err = tr_buf_reserve(out, len + 1 + TR_VARINT_MAX);
    if (err)
        return err;
    char *p = tr_buf_end(out);
    *p++ = 0x0A;
    p += tr_wire_put_varint(p, len);
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c >= 'A' && c <= 'Z') {
            *p++ = '_';
            c = tr_lower(c);
        }
        *p++ = c;
    }
    out->len = (size_t)(p - out->ptr);
    return TR_OK;
}

enum tr_err tr_wkt_field_mask(struct tr_span s, bool snake, struct tr_buf *out,
                              struct tr_status *st)
{
    if (s.len == 0)
        return TR_OK;
    while (s.ptr) {
        enum tr_err err = mask_path(tr_span_cut(&s, ','), snake, out, st);
        if (err)
            return err;
    }
    return TR_OK;
}
