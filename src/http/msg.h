/* The neutral HTTP message: what the HTTP/1.1 and HTTP/2 codecs both fill, and all that the layers
 * above see.
 *
 * Ownership: spans of a head point into the arena of its stream and live as long as the stream. */
#ifndef TR_HTTP_MSG_H
#define TR_HTTP_MSG_H

#include "base/arena.h"
#include "base/span.h"
#include "base/status.h"

enum tr_method {
    TR_METHOD_OTHER, /* a token that is none of these; method_text has it */
    TR_METHOD_GET,
    TR_METHOD_HEAD,
    TR_METHOD_POST,
    TR_METHOD_PUT,
    TR_METHOD_DELETE,
    TR_METHOD_PATCH,
    TR_METHOD_OPTIONS,
    TR_METHOD_CONNECT,
    TR_METHOD_TRACE,
    TR_METHOD__COUNT
};

/* Case-sensitive (RFC 9110 §9.1). */
enum tr_method tr_method_from(struct tr_span text);
struct tr_span tr_method_name(enum tr_method method);

/* Header names that the gateway itself acts on, from tokens.def; TR_TOKEN_NONE for all others. */
enum tr_token {
    TR_TOKEN_NONE = 0,
#define TR_TOKEN(id, name) TR_TOKEN_##id,
#include "http/tokens.def"
#undef TR_TOKEN
    TR_TOKEN__COUNT
};
/* name must be in lower case. */
enum tr_token tr_token_from(struct tr_span name);
struct tr_span tr_token_name(enum tr_token token);

struct tr_header {
    struct tr_span name;  /* lower case */
    struct tr_span value; /* without surrounding white space */
    uint16_t token;       /* enum tr_token */
};

/* In order of arrival, repeated names kept. Grows in the arena. */
struct tr_headers {
    struct tr_header *items;
    uint32_t count, cap;
};

/* The spans are stored as they are, not copied. */
enum tr_err tr_headers_add(struct tr_headers *h, struct tr_arena *arena, struct tr_span name,
                           struct tr_span value, enum tr_token token) TR_MUST_USE;
/* First value of a token, NULL when absent; next after `after` when after is not NULL. */
const struct tr_header *tr_headers_find(const struct tr_headers *h, enum tr_token token,
                                        const struct tr_header *after);
/* The same by lower-case name. */
const struct tr_header *tr_headers_find_name(const struct tr_headers *h, struct tr_span name);

/* Takes out all of that lower-case name. */
void tr_headers_remove(struct tr_headers *h, struct tr_span name);

struct tr_req_head {
    enum tr_method method;
    struct tr_span method_text;
    struct tr_span scheme;    /* "http" or "https" */
    struct tr_span authority; /* from the target's absolute form, :authority or Host; may be empty
                                 for HTTP/1.0 */
    struct tr_span path;      /* raw, as sent, begins with '/'; "*" for OPTIONS * */
    struct tr_span query;     /* raw, without '?'; ptr NULL when there is no '?' */
    struct tr_headers
        headers;            /* end-to-end and others, without pseudo-headers; Host is not in it */
    int64_t content_length; /* -1: not given */
    uint8_t version;        /* 10, 11 or 20 */
    bool end;               /* no body follows */
    bool te_trailers;       /* the client takes trailers (always so in HTTP/2) */
    bool expect_continue;
};

/* The rules that both codecs share, applied when a head is complete: target forms (origin,
 * absolute, "*" for OPTIONS only), path characters of RFC 3986, Host present once and equal to
 * :authority or the absolute form's authority, Content-Length one number of at most 18 digits
 * (repeats refused), Expect, no Upgrade-only forms, TE. Fills the derived members of head from
 * `target` and head->headers. Errors: BAD_TARGET, BAD_HOST, BAD_FRAMING, EXPECTATION_FAILED,
 * UPGRADE (CONNECT), BAD_HEADER. On error the head is as far filled as possible, so that the
 * refusal can still be logged and answered. */
enum tr_err tr_req_head_finish(struct tr_req_head *head, struct tr_span target,
                               struct tr_status *st) TR_MUST_USE;

/* RFC 9110 §5.6.2 token, §5.5 field value (no CR, LF, NUL or other controls but HTAB). */
bool tr_http_is_token(struct tr_span s);
bool tr_http_is_field_value(struct tr_span s);
/* "name", or each member of Connection: must not be forwarded. */
bool tr_http_is_hop_by_hop(enum tr_token token);

struct tr_resp_head {
    uint16_t status;
    struct tr_headers headers; /* no framing headers: Content-Length, Connection, Transfer-Encoding
                                  and Date are the codec's */
    int64_t content_length; /* >= 0: known; -1: unknown (h1 sends chunks, or closes for HTTP/1.0);
                               -2: no body by nature (204, 304) */
};

/* Date in IMF-fixdate (RFC 9110 §5.6.7), out[29]; returns the span. */
struct tr_span tr_http_date(char *out, int64_t unix_s);

#endif
