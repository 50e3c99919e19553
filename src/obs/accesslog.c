#include "obs/accesslog.h"

#include "json/emit.h"

enum kind { WORD, TEXT, PATH, COUNT, US, BOOL, LIST };

static const struct {
    struct tr_span name, begin; /* begin: "name": with its quotes and colon */
    uint8_t kind;               /* enum kind */
    bool all;
} fields_table[TR_ACCESS__COUNT] = {
#define FIELD(id, name, kind, when, doc)                                                           \
    {TR_SPAN_INIT(name), TR_SPAN_INIT("\"" name "\":"), kind, (when)[0] == 'a' && (when)[1] == 'l'},
#include "obs/accesslog.def"
#undef FIELD
};

enum tr_access_field tr_access_field_from(struct tr_span name)
{
    unsigned i = 0;
    while (i < TR_ACCESS__COUNT && !tr_span_eq(fields_table[i].name, name))
        i++;
    return (enum tr_access_field)i;
}

struct tr_span tr_access_field_name(enum tr_access_field field)
{
    return fields_table[field].name;
}

void tr_access_fields_default(struct tr_access_fields *ret_fields)
{
    ret_fields->count = 0;
    for (unsigned i = 0; i < TR_ACCESS__COUNT; i++)
        if (fields_table[i].all)
            ret_fields->items[ret_fields->count++] = (uint8_t)i;
}

bool tr_access_fields_has(const struct tr_access_fields *fields, enum tr_access_field field)
{
    for (uint8_t i = 0; i < fields->count; i++)
        if (fields->items[i] == field)
            return true;
    return false;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void digits(char *out, unsigned count, uint64_t v)
{
    while (count-- > 0) {
        out[count] = (char)('0' + v % 10);
        v /= 10;
    }
}

/* The civil date of a day since 1970, by the 400-year cycle of 146,097 days that begins in March.
 */
static void civil(int64_t day, uint64_t *ret_year, uint64_t *ret_month, uint64_t *ret_day)
{
    uint64_t z = (uint64_t)(day + 719468), era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *ret_day = doy - (153 * mp + 2) / 5 + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = yoe + era * 400 + (*ret_month <= 2);
}

struct tr_span tr_accesslog_time(char out[TR_ACCESSLOG_TIME_LEN], int64_t unix_ms)
{
    uint64_t year, month, day, ms = unix_ms > 0 ? (uint64_t)unix_ms : 0; /* no clock is older */
    civil((int64_t)(ms / 86400000), &year, &month, &day);
    uint64_t rest = ms % 86400000;
    memcpy(out, "0000-00-00T00:00:00.000Z", TR_ACCESSLOG_TIME_LEN);
    digits(out, 4, year);
    digits(out + 5, 2, month);
    digits(out + 8, 2, day);
    digits(out + 11, 2, rest / 3600000);
    digits(out + 14, 2, rest / 60000 % 60);
    digits(out + 17, 2, rest / 1000 % 60);
    digits(out + 20, 3, rest % 1000);
    return tr_span(out, TR_ACCESSLOG_TIME_LEN);
}

/* ---- strings --------------------------------------------------------------------------------- */

/* JSON lets them stand as they are, but some readers end a line at them, and some terminals obey
 * them: DEL, the controls U+0080-9F, the separators U+2028-2029, and what turns the direction of
 * text (U+202A-202E, U+2066-2069). How many bytes of s are one; 0: none begins here. */
static size_t acts(struct tr_span s, unsigned *ret_code)
{
    unsigned a = (unsigned char)s.ptr[0], b = s.len > 1 ? (unsigned char)s.ptr[1] : 0,
             c = s.len > 2 ? (unsigned char)s.ptr[2] : 0;
    if (a == 0x7F || (a == 0xC2 && b >= 0x80 && b <= 0x9F)) {
        *ret_code = a == 0x7F ? a : b;
        return a == 0x7F ? 1 : 2;
    }
    if (a == 0xE2 &&
        ((b == 0x80 && c >= 0xA8 && c <= 0xAE) || (b == 0x81 && c >= 0xA6 && c <= 0xA9))) {
        *ret_code = 0x2000u | (b & 0x3Fu) << 6 | (c & 0x3Fu);
        return 3;
    }
    return 0;
}

static bool is_plain(struct tr_span s)
{
    unsigned char high = 0;
    for (size_t i = 0; i < s.len; i++)
        high |= (unsigned char)((s.ptr[i] & 0x80) | (s.ptr[i] == 0x7F ? 0x80 : 0));
    return high == 0;
}

static enum tr_err escape(struct tr_buf *out, unsigned code)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u'};
    for (size_t i = 0; i < 4; i++)
        text[2 + i] = hex[code >> (12 - 4 * i) & 15];
    return tr_buf_append(out, tr_span(text, sizeof text));
}

static enum tr_err string(struct tr_buf *out, struct tr_span s)
{
    if (is_plain(s))
        return tr_emit_string(out, s, NULL);
    enum tr_err err = tr_buf_push(out, '"');
    size_t run = 0; /* bytes before the next one that acts */
    while (!err && run < s.len) {
        unsigned code;
        size_t n = acts(tr_span_from(s, run), &code);
        if (n == 0) {
            run++;
            continue;
        }
        err = tr_emit_string_content(out, tr_span_sub(s, 0, run), NULL);
        if (!err)
            err = escape(out, code);
        s = tr_span_from(s, run + n);
        run = 0;
    }
    if (!err)
        err = tr_emit_string_content(out, s, NULL);
    return err ? err : tr_buf_push(out, '"');
}

/* At most max bytes, not cut within a character. */
static struct tr_span cut(struct tr_span s, size_t max)
{
    size_t n = max;
    if (s.len <= max)
        return s;
    while (n + 3 > max && n > 0 && (s.ptr[n] & 0xC0) == 0x80)
        n--;
    return tr_span_sub(s, 0, n);
}

/* ---- the line -------------------------------------------------------------------------------- */

static enum tr_err words(struct tr_buf *out, struct tr_span list)
{
    enum tr_err err = tr_buf_push(out, '[');
    bool first = true;
    while (!err && list.ptr) {
        struct tr_span one = tr_span_cut(&list, ',');
        if (!first)
            err = tr_buf_push(out, ',');
        first = false;
        if (!err)
            err = tr_emit_string(out, one, NULL);
    }
    return err ? err : tr_buf_push(out, ']');
}

static enum tr_err value(struct tr_buf *out, unsigned field, const struct tr_access_entry *entry,
                         size_t text_max, size_t path_max)
{
    struct tr_span text = entry->text[field];
    uint64_t number = entry->number[field];
    switch ((enum kind)fields_table[field].kind) {
    case WORD:
        return tr_emit_string(out, text, NULL);
    case TEXT:
        return string(out, cut(text, text_max));
    case PATH:
        return string(out, cut(text, path_max));
    case LIST:
        return words(out, text);
    case COUNT:
    case US:
        return tr_emit_u64(out, number);
    case BOOL:
        return tr_buf_append(out, number ? TR_SPAN("true") : TR_SPAN("false"));
    }
    return TR_OK;
}

static bool has_text(unsigned kind)
{
    return kind == WORD || kind == TEXT || kind == PATH || kind == LIST;
}

static enum tr_err line(struct tr_buf *out, const struct tr_access_fields *fields,
                        const struct tr_access_entry *entry, size_t text_max, size_t path_max)
{
    tr_buf_clear(out);
    enum tr_err err = tr_buf_push(out, '{');
    for (uint8_t i = 0; i < fields->count && !err; i++) {
        unsigned f = fields->items[i];
        if (has_text(fields_table[f].kind) && entry->text[f].len == 0)
            continue;
        if (out->len > 1)
            err = tr_buf_push(out, ',');
        if (!err)
            err = tr_buf_append(out, fields_table[f].begin);
        if (!err)
            err = value(out, f, entry, text_max, path_max);
    }
    return err ? err : tr_buf_append(out, TR_SPAN("}\n"));
}

enum tr_err tr_accesslog_format(struct tr_buf *out, const struct tr_access_fields *fields,
                                const struct tr_access_entry *entry)
{
    /* a byte takes six at most: the last one always fits (asserted by a test) */
    static const struct {
        size_t text, path;
    } cuts[] = {{TR_ACCESSLOG_TEXT_MAX, TR_ACCESSLOG_PATH_MAX}, {64, 256}, {16, 64}};
    enum tr_err err = TR_OK;
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        err = line(out, fields, entry, cuts[i].text, cuts[i].path);
        if (err || out->len <= TR_ACCESSLOG_LINE_MAX)
            break;
    }
    return err;
}
