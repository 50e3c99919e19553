/* The answer's side of HTTP/1.1: status lines, headers, framing, chunks; appended to buffers, no
 * I/O.
 *
 * A head is written in two parts, so that how the body is framed may be decided when it is sent:
 * first the status line and the neutral headers, then what belongs to the connection and the empty
 * line. */
#ifndef TR_HTTP_H1_EMIT_H
#define TR_HTTP_H1_EMIT_H

#include "base/buf.h"
#include "http/msg.h"

/* "HTTP/1.1 200 OK" and the headers. Fields whose name or value could break the message apart, and
 * those that are the codec's, are left out. NOMEM leaves `out` as it was. */
enum tr_err tr_h1_emit_head(struct tr_buf *out, const struct tr_resp_head *head) TR_MUST_USE;

struct tr_h1_framing {
    struct tr_span date;    /* empty: none */
    int64_t content_length; /* -1: no Content-Length */
    bool chunked, close;
};
/* The rest of the head, with the empty line. */
enum tr_err tr_h1_emit_framing(struct tr_buf *out, const struct tr_h1_framing *framing) TR_MUST_USE;

/* The size line of a chunk of n bytes. */
enum tr_err tr_h1_emit_chunk_size(struct tr_buf *out, size_t n) TR_MUST_USE;

/* Header lines with the empty line: a trailer section. */
enum tr_err tr_h1_emit_trailers(struct tr_buf *out, const struct tr_headers *trailers) TR_MUST_USE;

/* The reason phrase of a status, empty when it has none of its own. */
struct tr_span tr_h1_reason(unsigned status);

#endif
