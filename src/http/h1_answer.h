/* The answer to one GET over HTTP/1.1 (RFC 9112 §4, §6), parsed strictly: resumable at any byte,
 * without I/O.
 *
 * Contract: the verdict depends on the bytes alone, never on how they were cut. Only 200 with a
 * body in no content coding is a success; anything else, redirects too, fails when its head is
 * complete. Interim answers (1xx but 101) are skipped, and count as part of the head. What comes
 * after the end of the body is not looked at. The body is kept, up to a cap. */
#ifndef TR_HTTP_H1_ANSWER_H
#define TR_HTTP_H1_ANSWER_H

#include "http/h1_chunk.h"

#define TR_H1_ANSWER_HEAD_MAX    (16 * 1024) /* bytes of all heads */
#define TR_H1_ANSWER_HEADERS_MAX 100

struct tr_h1_answer {
    uint8_t stage;
    uint16_t status; /* 0 before it is known */
    /* For how long the answer may be used: max-age less Age (RFC 9111 §5.2.2.1, §5.1); 0 for
     * no-store and no-cache; -1 when it does not say. */
    int64_t max_age_s;
    struct tr_buf body; /* so far */

    size_t max_body;
    struct tr_buf head;
    uint32_t line, pos, headers; /* of head: where the line in progress begins, bytes examined */
    uint32_t interim;            /* bytes of heads before */
    uint64_t left;               /* of a body with Content-Length */
    struct tr_h1_chunk chunk;
};

void tr_h1_answer_init(struct tr_h1_answer *a, size_t max_body);
void tr_h1_answer_fini(struct tr_h1_answer *a);

static inline struct tr_span tr_h1_answer_body(const struct tr_h1_answer *a)
{
    return tr_buf_span(&a->body);
}

/* TR_OK: complete, a->body is all of it. TR_ERR_AGAIN: give more. Else it failed and is of no more
 * use: IO (a status other than 200), UPSTREAM_PROTOCOL, UPSTREAM_HEADERS, UPSTREAM_OVERSIZED,
 * NOMEM.
 */
enum tr_err tr_h1_answer_feed(struct tr_h1_answer *a, struct tr_span in,
                              struct tr_status *st) TR_MUST_USE;
/* The connection ended. TR_OK: so did the body; else UPSTREAM_CLOSED. */
enum tr_err tr_h1_answer_end(struct tr_h1_answer *a, struct tr_status *st) TR_MUST_USE;

/* Cache-Control's say, as max_age_s above; header values one by one: start with -1. */
int64_t tr_h1_cache_max_age(struct tr_span value, int64_t before);

#endif
