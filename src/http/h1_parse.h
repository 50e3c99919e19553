/* The head of an HTTP/1.1 request (RFC 9112 §2-§5), strict: CRLF only, no folding, no white space
 * where none belongs.
 *
 * Vocabulary: a *head* is a request line, header lines and the empty line. It is read in two steps.
 * The *scan* finds its end in a buffer that grows from call to call, resumes where it stopped, and
 * judges what can be judged early (request line, line ends, limits). The *parse* then takes a
 * complete head apart in place.
 *
 * Contract: the verdict depends on the bytes alone, never on how they were cut. No I/O; the parse
 * allocates from the arena only. Errors: BAD_REQUEST_LINE, HTTP_VERSION, TARGET_TOO_LONG,
 * BAD_HEADER, TOO_MANY_HEADERS, HEADERS_TOO_LARGE, NOMEM, and those of tr_req_head_finish. */
#ifndef TR_HTTP_H1_PARSE_H
#define TR_HTTP_H1_PARSE_H

#include "http/msg.h"

#define TR_H1_METHOD_MAX 32

struct tr_h1_limits {
    uint32_t max_headers; /* header lines */
    uint32_t max_bytes;   /* the head from the request line to the empty line */
    uint32_t max_path;    /* bytes of the target before "?" */
};

struct tr_h1_scan {
    uint8_t stage;
    uint8_t version;     /* 10 or 11; 0 before the request line is complete */
    uint8_t start;       /* of the request line: 0, or 2 after a leading CRLF (RFC 9112 §2.2) */
    uint32_t method_len; /* 0 before it is complete */
    uint32_t target_len; /* 0 before it is complete */
    uint32_t line;       /* where the line in progress begins */
    uint32_t pos;        /* bytes examined */
    uint32_t headers;    /* complete header lines */
    bool past_path;      /* of the target: "?" was seen */
};

void tr_h1_scan_init(struct tr_h1_scan *s);

/* buf holds all bytes of the head so far, from its first. TR_OK: complete, *ret_len bytes long (a
 * leading CRLF included). TR_ERR_AGAIN: call again with more. Else the head is refused; method_len
 * and target_len tell how much of the request line may still be logged. */
enum tr_err tr_h1_scan(struct tr_h1_scan *s, struct tr_span buf, const struct tr_h1_limits *limits,
                       size_t *ret_len, struct tr_status *st) TR_MUST_USE;

/* head: the complete head that the scan found, in memory that lives as long as the arena; names are
 * lowered in place. Fills ret_head (zeroed but for `scheme` before the call) by tr_req_head_finish.
 * On an error ret_head is filled as far as it goes. */
enum tr_err tr_h1_parse(char *head, size_t len, const struct tr_h1_scan *scan,
                        struct tr_arena *arena, struct tr_req_head *ret_head,
                        struct tr_status *st) TR_MUST_USE;
/* What is known of a head that the scan refused: method, path and query for the log. buf as in the
 * scan, in memory of the arena. */
void tr_h1_parse_refused(struct tr_span buf, const struct tr_h1_scan *scan,
                         struct tr_req_head *ret_head);

/* Header lines up to and with the empty line (a trailer section), in place. BAD_HEADER, NOMEM. */
enum tr_err tr_h1_parse_fields(char *lines, size_t len, struct tr_arena *arena,
                               struct tr_headers *ret_headers, struct tr_status *st) TR_MUST_USE;

/* Connection has the member "close". */
bool tr_h1_says_close(const struct tr_headers *headers);

#endif
