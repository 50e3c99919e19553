/* google.api.HttpRule, the value of the google.api.http annotation (extension 72295728 of
 * MethodOptions).
 *
 * Contract: wire is one serialized HttpRule, from an annotation or made from the JSON of a
 * configured rule; the result is copied into the arena. A rule whose pattern is not set has an
 * empty verb; nothing of the template is checked here. additional_bindings inside
 * additional_bindings set nested_additional and are dropped. Errors: TR_ERR_DESCRIPTOR (not an
 * HttpRule, too deep), TR_ERR_NOMEM. */
#ifndef TR_PROTO_ANNOT_H
#define TR_PROTO_ANNOT_H

#include "base/arena.h"
#include "proto/types.h"

#define TR_ANNOT_HTTP_FIELD 72295728

enum tr_err tr_annot_http_rule(struct tr_arena *arena, struct tr_span wire,
                               const struct tr_http_rule **ret_rule,
                               struct tr_status *st) TR_MUST_USE;

#endif
