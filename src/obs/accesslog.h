/* A line of the access log: what it can say, and its text.
 *
 * Vocabulary: a *field* is a member of the line, from accesslog.def; an *entry* has the values of
 * one request.
 *
 * Contract: a line is one JSON object and a line feed, at most TR_ACCESSLOG_LINE_MAX bytes, so that
 * one write to a pipe is one line and cannot be torn. Every string is escaped and valid UTF-8,
 * whatever a client sent; what some readers take for the end of a line, or some terminals obey, is
 * escaped too (controls up to U+009F, U+2028-202E, U+2066-2069). Strings are cut; where the whole
 * would be too long all the same, they are cut shorter, so that no client can send what is not
 * logged.
 *
 * Thread: any; everything is the caller's. */
#ifndef TR_OBS_ACCESSLOG_H
#define TR_OBS_ACCESSLOG_H

#include "base/buf.h"
#include "base/span.h"
#include "base/status.h"

#define TR_ACCESSLOG_LINE_MAX 4096 /* PIPE_BUF of Linux */
#define TR_ACCESSLOG_TEXT_MAX 256
#define TR_ACCESSLOG_PATH_MAX 1024
/* What the buffer of tr_accesslog_format may need for a moment. */
#define TR_ACCESSLOG_BUF_BYTES ((size_t)64 * 1024)

enum tr_access_field {
#define FIELD(id, name, kind, when, doc) TR_ACCESS_##id,
#include "obs/accesslog.def"
#undef FIELD
    TR_ACCESS__COUNT
};

struct tr_access_entry {
    struct tr_span text[TR_ACCESS__COUNT]; /* TEXT, PATH: empty: left out; LIST: words, joined by
                                              commas */
    uint64_t number[TR_ACCESS__COUNT];     /* COUNT, US, BOOL */
};

/* TR_ACCESS__COUNT: no such name. */
enum tr_access_field tr_access_field_from(struct tr_span name);
struct tr_span tr_access_field_name(enum tr_access_field field);

struct tr_access_fields {
    uint8_t items[TR_ACCESS__COUNT];
    uint8_t count;
};
/* Those of "all". */
void tr_access_fields_default(struct tr_access_fields *ret_fields);
bool tr_access_fields_has(const struct tr_access_fields *fields, enum tr_access_field field);

/* RFC 3339 with milliseconds, UTC. */
#define TR_ACCESSLOG_TIME_LEN 24
struct tr_span tr_accesslog_time(char out[TR_ACCESSLOG_TIME_LEN], int64_t unix_ms);

/* Replaces what is in out, which allocates nothing if it has TR_ACCESSLOG_BUF_BYTES. TR_ERR_NOMEM.
 */
enum tr_err tr_accesslog_format(struct tr_buf *out, const struct tr_access_fields *fields,
                                const struct tr_access_entry *entry) TR_MUST_USE;

#endif
