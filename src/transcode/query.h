/* The query string: fields of the request, and system parameters.
 *
 * Syntax: name=value pairs between '&', application/x-www-form-urlencoded ('+' is a space, %XX
 * decoded in names and values). A name is a dotted path in JSON or proto names; "map[key]" sets a
 * map entry. Rules: SPEC §4 "Query" and "System parameters", http.proto "Any fields in the request
 * message which are not bound by the path pattern become query parameters".
 *
 * Errors (all 400, st has the field path and what was wrong): TR_ERR_QUERY_SYNTAX (malformed %zz,
 * not UTF-8, nested too deeply), QUERY_UNKNOWN, QUERY_VALUE, QUERY_DUPLICATE (a singular field
 * twice), QUERY_ONEOF, QUERY_BOUND, QUERY_MESSAGE, SYSTEM_PARAMETER; TR_ERR_NOMEM. Work and memory
 * are linear in the length of the query, which the caller bounds. */
#ifndef TR_TRANSCODE_QUERY_H
#define TR_TRANSCODE_QUERY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "proto/types.h"
#include "transcode/bind.h"

enum tr_alt { TR_ALT_UNSET, TR_ALT_JSON, TR_ALT_JSON_INT_ENUMS, TR_ALT_PROTO };

struct tr_sysparams {
    enum tr_alt alt;
    int8_t pretty; /* -1: not given, 0, 1 */
    /* ptr NULL: not given; else decoded text in the arena */
    struct tr_span fields, key, access_token, quota_user, xgafv, api_version;
};

struct tr_query_opts {
    bool ignore_unknown;
    const struct tr_span *ignored; /* names that pass unread */
    uint32_t ignored_count;
    const struct tr_bind_field *const *path_binds; /* fields that the path binds */
    uint32_t path_bind_count;
    bool body_star;                    /* the body is the whole message: nothing binds */
    const struct tr_field *body_field; /* the body is this field of the request */
    const struct tr_field *mask_field; /* PATCH: tell whether it was set; NULL: no matter */
};

struct tr_query_result {
    struct tr_sysparams sys;
    bool mask_set; /* mask_field, or a member of it, was given */
};

/* raw: what follows '?', as sent. Fields are appended to out; on error out is as it was. */
enum tr_err tr_query_bind(const struct tr_msgtype *type, struct tr_span raw,
                          const struct tr_query_opts *opts, struct tr_arena *scratch,
                          struct tr_buf *out, struct tr_query_result *ret,
                          struct tr_status *st) TR_MUST_USE;

#endif
