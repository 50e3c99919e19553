/* A line of the access log with strings of anybody: one line of JSON for every reader, no longer
 * than it may be, that says what was sent where that is UTF-8 and short. The first byte says where
 * the input is cut in two. */
#include "base/utf8.h"
#include "fuzz.h"
#include "json/scan.h"
#include "obs/accesslog.h"

static struct tr_buf line, spill;

/* No control, no end of a line, nothing that turns text. */
static void check_text(struct tr_span s)
{
    FUZZ_CHECK(tr_utf8_valid(s));
    for (size_t i = 0; i < s.len; i++) {
        unsigned a = (unsigned char)s.ptr[i];
        unsigned b = i + 1 < s.len ? (unsigned char)s.ptr[i + 1] : 0;
        unsigned c = i + 2 < s.len ? (unsigned char)s.ptr[i + 2] : 0;
        FUZZ_CHECK(a >= 0x20 && a != 0x7F);
        FUZZ_CHECK(a != 0xC2 || b > 0x9F);
        FUZZ_CHECK(a != 0xE2 || b != 0x80 || c < 0xA8 || c > 0xAE);
        FUZZ_CHECK(a != 0xE2 || b != 0x81 || c < 0xA6 || c > 0xA9);
    }
}

static void check_member(struct tr_json_scan *scan, struct tr_span name, struct tr_span sent,
                         size_t max)
{
    if (sent.len == 0)
        return;
    FUZZ_CHECK(tr_json_scan_next(scan) == TR_JSON_KEY && tr_span_eq(scan->text, name));
    FUZZ_CHECK(tr_json_scan_next(scan) == TR_JSON_STRING);
    if (sent.len <= max && tr_utf8_valid(sent))
        FUZZ_CHECK(tr_span_eq(scan->text, sent));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tr_access_fields fields = {.items = {TR_ACCESS_PATH, TR_ACCESS_USER_AGENT},
                                                   .count = 2};
    struct tr_access_entry entry = {0};
    struct tr_json_scan scan;
    if (size == 0)
        return 0;
    char *bytes = malloc(size);
    FUZZ_CHECK(bytes);
    memcpy(bytes, data, size);
    size_t at = data[0] < size - 1 ? data[0] : size - 1;
    struct tr_span path = tr_span(bytes + 1, at), agent = tr_span(bytes + 1 + at, size - 1 - at);
    entry.text[TR_ACCESS_PATH] = path;
    entry.text[TR_ACCESS_USER_AGENT] = agent;
    FUZZ_CHECK(tr_accesslog_format(&line, &fields, &entry) == TR_OK);
    FUZZ_CHECK(line.len <= TR_ACCESSLOG_LINE_MAX && line.ptr[line.len - 1] == '\n');
    check_text(tr_span(line.ptr, line.len - 1));
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 4, &spill, TR_ACCESSLOG_LINE_MAX);
    tr_json_scan_feed(&scan, tr_buf_span(&line), true);
    FUZZ_CHECK(tr_json_scan_next(&scan) == TR_JSON_OBJ_BEGIN);
    /* as far as they are never cut */
    check_member(&scan, TR_SPAN("path"), path, 64);
    check_member(&scan, TR_SPAN("user_agent"), agent, 16);
    FUZZ_CHECK(tr_json_scan_next(&scan) == TR_JSON_OBJ_END);
    FUZZ_CHECK(tr_json_scan_next(&scan) == TR_JSON_END);
    free(bytes);
    return 0;
}
