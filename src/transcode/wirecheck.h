/* Whether bytes are a message of a type, as a protobuf parser sees it: what a client sends in
 * binary is the client's fault when it is not, and not the backend's who would refuse it.
 *
 * Checked: tags, lengths and groups at every depth, to 100 messages; strings whose fields are
 * validated; packed numbers. A field in another wire type than its own is an unknown one, as in
 * parsers. The bytes of an Any are not looked into. */
#ifndef TR_TRANSCODE_WIRECHECK_H
#define TR_TRANSCODE_WIRECHECK_H

#include "base/status.h"
#include "proto/types.h"

/* TR_ERR_PROTO_MALFORMED, TR_ERR_PROTO_DEPTH, TR_ERR_PROTO_UTF8, with the path of the field. st may
 * be NULL. */
enum tr_err tr_wire_check(const struct tr_msgtype *type, struct tr_span wire,
                          struct tr_status *st) TR_MUST_USE;

#endif
