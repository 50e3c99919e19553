/* Reading and writing serialized messages record by record: all that the demo's store needs of
 * protobuf. Malformed input ends the walk; nothing is trusted. */
#ifndef TR_GATEWAY_DEMO_WIRE_H
#define TR_GATEWAY_DEMO_WIRE_H

#include "base/buf.h"

struct tr_demo_record {
    uint32_t number, type;
    struct tr_span whole, value; /* value: of LEN records */
    uint64_t varint;
};

/* Advances *p; false at the end, or where the bytes are no record. */
bool tr_demo_next_record(const char **p, const char *end, struct tr_demo_record *r);

/* The last length-delimited record of this number; empty when there is none. */
struct tr_span tr_demo_get_text(struct tr_span message, uint32_t number);

/* The last varint of this number; 0 when there is none. */
uint64_t tr_demo_get_varint(struct tr_span message, uint32_t number);

/* A message field may come in pieces, which merge by being put behind one another (protobuf's "Last
 * One Wins"). */
enum tr_err tr_demo_get_message(struct tr_span message, uint32_t number,
                                struct tr_buf *out) TR_MUST_USE;

/* Append one record; put_time a google.protobuf.Timestamp of whole seconds. TR_ERR_NOMEM. */
enum tr_err tr_demo_put_varint(struct tr_buf *out, uint32_t number, uint64_t v) TR_MUST_USE;

enum tr_err tr_demo_put_text(struct tr_buf *out, uint32_t number, struct tr_span s) TR_MUST_USE;

enum tr_err tr_demo_put_time(struct tr_buf *out, uint32_t number, int64_t unix_s) TR_MUST_USE;

/* Appends all records of message with this number, or (others) all without it. */
enum tr_err tr_demo_copy_records(struct tr_buf *out, struct tr_span message, uint32_t number,
                                 bool others) TR_MUST_USE;

#endif
