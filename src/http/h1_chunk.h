/* The chunked transfer coding (RFC 9112 §7.1), decoded: resumable at any byte, strict, without I/O.
 *
 * Chunk extensions are checked against their grammar, counted against a limit and dropped. Trailer
 * lines are kept raw until the section is complete; tr_h1_parse_fields then takes them apart. */
#ifndef TR_HTTP_H1_CHUNK_H
#define TR_HTTP_H1_CHUNK_H

#include "base/buf.h"
#include "http/h1_parse.h"

#define TR_H1_CHUNK_EXT_MAX   256         /* bytes of extensions of one chunk */
#define TR_H1_CHUNK_EXT_TOTAL (16 * 1024) /* and of all chunks of a body */

struct tr_h1_chunk {
    uint64_t left; /* of the chunk in progress */
    uint32_t ext, ext_total;
    uint32_t trailer_count, trailer_line;
    uint8_t state, digits;
    struct tr_buf
        trailers; /* raw lines with the empty line at the end; empty when there were none */
};

void tr_h1_chunk_init(struct tr_h1_chunk *c);
void tr_h1_chunk_fini(struct tr_h1_chunk *c);
bool tr_h1_chunk_done(const struct tr_h1_chunk *c);

/* Takes bytes off the front of *in until it is empty, a run of data was found, or the body is done.
 * *ret_data is a part of the input, possibly empty. Loop: while (in.len && !tr_h1_chunk_done(c)) {
 * err = tr_h1_chunk_next(...); use data; } BAD_CHUNK, TOO_MANY_HEADERS and HEADERS_TOO_LARGE
 * (trailers), NOMEM. After an error the decoder is of no more use. */
enum tr_err tr_h1_chunk_next(struct tr_h1_chunk *c, const struct tr_h1_limits *limits,
                             struct tr_span *in, struct tr_span *ret_data,
                             struct tr_status *st) TR_MUST_USE;

/* The trailers of a finished body, in the arena; count 0 when there were none. Fields that would
 * change framing or routing are refused; others that mean something to the gateway in a header
 * section are dropped (RFC 9110 §6.5.1). BAD_CHUNK, NOMEM. */
enum tr_err tr_h1_chunk_trailers(const struct tr_h1_chunk *c, struct tr_arena *arena,
                                 struct tr_headers *ret_trailers, struct tr_status *st) TR_MUST_USE;

#endif
