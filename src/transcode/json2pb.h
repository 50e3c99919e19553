/* ProtoJSON to the protobuf wire format, in one pass, resumable at any byte.
 *
 * Vocabulary: the *scanner* (json/scan.h) gives tokens; a *frame* is one open JSON value with its
 * type; the output is a tr_buf that grows at its end. Nested lengths get one byte and are widened
 * in one backward pass at the end of the message (only when some length is above 127), so that the
 * wire is always minimal.
 *
 * Contract
 *  1. Rules are SPEC §4 "JSON" and the ProtoJSON specification: see contrib/doc/transcoding.md.
 *  2. tr_json2pb_run consumes exactly one JSON value from the scanner. TR_ERR_AGAIN: feed the
 * scanner and call again. TR_OK: the value is complete and its wire bytes stand at the end of out.
 * Any other error is final; st has field path, line, column and text.
 *  3. Output before the message (out->len at init) is never touched, nor may the caller move or cut
 * out until the value is complete: open lengths are kept by their offset. After an error the new
 * bytes are undefined; the caller truncates.
 *  4. No recursion; depth as the scanner's. Memory: the scratch arena (frames, seen sets, held Any
 * bytes), which the caller rewinds after each message; the size of out above `max_bytes` is
 * TR_ERR_BODY_TOO_LARGE. */
#ifndef TR_TRANSCODE_JSON2PB_H
#define TR_TRANSCODE_JSON2PB_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "json/scan.h"
#include "proto/types.h"

struct tr_typepool;

struct tr_json2pb_opts {
    const struct tr_typepool *pool; /* for Any and extensions; frozen */
    bool ignore_unknown; /* unknown fields (and unknown enum names in repeated/map/singular fields,
                            which are dropped) pass */
    size_t max_bytes;    /* of the wire message; 0: no limit */
    /* When set, receives the paths (proto names, dotted) of the fields that the JSON has, as
     * update_mask wants them: null counts, message fields descend, repeated, map and
     * well-known-type fields end a path. One call a leaf. */
    void (*on_path)(void *ctx, struct tr_span path);
    void *on_path_ctx;
};

struct tr_json2pb;

/* In the arena. The root is a message type, or (field != NULL) the value of one field of `type`:
 * then the field's wire records (tag included) are written: a scalar, a list, a map or a message.
 * NULL: out of memory. */
struct tr_json2pb *tr_json2pb_new(struct tr_arena *scratch, const struct tr_msgtype *type,
                                  const struct tr_field *field, const struct tr_json2pb_opts *opts,
                                  struct tr_buf *out);
enum tr_err tr_json2pb_run(struct tr_json2pb *j, struct tr_json_scan *scan,
                           struct tr_status *st) TR_MUST_USE;

/* Whole input at once: run over a SINGLE scanner fed with json. For system parts and tests; the
 * gateway uses the above. */
enum tr_err tr_json2pb(const struct tr_msgtype *type, const struct tr_json2pb_opts *opts,
                       struct tr_span json, struct tr_buf *out, struct tr_arena *scratch,
                       struct tr_status *st) TR_MUST_USE;

#endif
