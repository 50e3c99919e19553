/* The REST dialect's state of one exchange, shared by its files: rest_request.c (client bytes to
 * messages), rest_response.c (messages to an answer), rest_stream.c (the stream formats). Private
 * to the dialect. */
#ifndef TR_PIPELINE_REST_H
#define TR_PIPELINE_REST_H

#include "json/scan.h"
#include "pipeline/accept.h"
#include "pipeline/exchange.h"
#include "transcode/fields.h"
#include "transcode/frame.h"
#include "transcode/json2pb.h"
#include "transcode/mask.h"
#include "transcode/pb2json.h"
#include "transcode/query.h"

struct tr_decoder;

enum tr_json_stream {
    TR_JSON_STREAM_UNKNOWN,
    TR_JSON_STREAM_ARRAY,
    TR_JSON_STREAM_VALUES,
    TR_JSON_STREAM_CLOSED
};

struct tr_rest {
    const struct tr_plan *plan;
    /* request */
    enum tr_input input;
    struct tr_decoder *decoder; /* Content-Encoding */
    struct tr_buf binds;        /* path and query, as wire fields of the first message */
    bool binds_used;
    struct tr_query_result query;
    struct tr_span content_type; /* of the body, for HttpBody */
    struct tr_json_scan scan;
    struct tr_buf spill;
    bool scan_begun;
    enum tr_json_stream stream;
    struct tr_arena msg; /* of the message being read */
    struct tr_json2pb *j;
    struct tr_json2pb_opts jopts;
    struct tr_mask mask;
    bool mask_wanted;
    bool message_done;
    uint64_t body_bytes; /* decoded, in all */
    struct tr_buf hold;  /* bytes of an HttpBody or a binary message under way */
    /* response */
    enum tr_format format;
    bool format_chosen;
    bool choice;       /* Accept could have changed the format: Vary */
    bool offers_proto; /* ... and that of an error */
    bool resp_http_body;
    struct tr_pb2json_opts popts;
    struct tr_unframer unframer;
    struct tr_buf gather;
    uint8_t up_coding; /* enum tr_coding: grpc-encoding of the backend */
    struct tr_buf inflated;
    uint64_t messages;
    bool up_head_seen;
    const struct tr_headers *up_trailers; /* of a call that failed, while its end is told */
    uint64_t last_write_ns;               /* streams: for the SSE comment */
};

/* rest_request.c */
enum tr_err tr_rest_begin(struct tr_exchange *x) TR_MUST_USE;
enum tr_err tr_rest_on_body(struct tr_exchange *x, struct tr_span data) TR_MUST_USE;
enum tr_err tr_rest_on_body_end(struct tr_exchange *x) TR_MUST_USE;
/* rest_coding.c */
/* Content-Encoding of the request: 415 when it is none of gzip, br, zstd. */
enum tr_err tr_rest_decoder(struct tr_exchange *x, struct tr_rest *r) TR_MUST_USE;
/* Through r->decoder, in bounded steps: take gets the plain bytes. */
enum tr_err tr_rest_decode(struct tr_exchange *x, struct tr_rest *r, struct tr_span data,
                           enum tr_err (*take)(struct tr_exchange *x, struct tr_rest *r,
                                               struct tr_span plain)) TR_MUST_USE;
/* grpc-encoding of the backend's answer. */
enum tr_err tr_rest_up_decoder(struct tr_exchange *x, struct tr_rest *r,
                               struct tr_span encoding) TR_MUST_USE;
/* The plain bytes of a compressed message, in r->inflated. */
enum tr_err tr_rest_inflate(struct tr_exchange *x, struct tr_rest *r,
                            struct tr_span *message) TR_MUST_USE;
void tr_rest_coding_free(struct tr_exchange *x, struct tr_rest *r);
/* rest_response.c */
enum tr_err tr_rest_choose_format(struct tr_exchange *x) TR_MUST_USE;
void tr_rest_on_head(struct tr_exchange *x, unsigned http_status, const struct tr_headers *headers,
                     bool end);
void tr_rest_again(struct tr_exchange *x);
enum tr_err tr_rest_on_data(struct tr_exchange *x, struct tr_span data) TR_MUST_USE;
void tr_rest_on_end(struct tr_exchange *x, const struct tr_headers *trailers);
void tr_rest_refuse(struct tr_exchange *x);
/* Room in hs->out, from the worker's buffers. */
enum tr_err tr_rest_reserve(struct tr_exchange *x, size_t bytes) TR_MUST_USE;
/* Appends the answer's form of one message (JSON, bytes of an HttpBody, binary) to out. */
enum tr_err tr_rest_put_message(struct tr_exchange *x, struct tr_span message,
                                struct tr_buf *out) TR_MUST_USE;
/* google.api.HttpBody in a message (or in the field that response_body names): views into it. */
enum tr_err tr_rest_http_body(const struct tr_plan *plan, struct tr_span message,
                              struct tr_span *ret_type, struct tr_span *ret_data) TR_MUST_USE;
/* rest_stream.c */
enum tr_err tr_rest_stream_message(struct tr_exchange *x, struct tr_span message) TR_MUST_USE;
void tr_rest_stream_end(struct tr_exchange *x, const struct tr_headers *trailers);
void tr_rest_abort(struct tr_exchange *x);
uint64_t tr_rest_tick(struct tr_exchange *x, uint64_t now_ns);
void tr_rest_free(struct tr_exchange *x);

#endif
