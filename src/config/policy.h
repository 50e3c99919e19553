/* What holds for one method: the merge of all policies whose key matches it, from general to
 * specific. */
#ifndef TR_CONFIG_POLICY_H
#define TR_CONFIG_POLICY_H

#include "config/keys.h"

enum { TR_UNKNOWN_REJECT, TR_UNKNOWN_IGNORE };

struct tr_policy_set_headers {
    struct tr_pairs request, response;
};
struct tr_policy_remove_headers {
    struct tr_strings request, response;
};

struct tr_policy {
    uint64_t timeout, stream_idle_timeout, max_stream_duration;       /* ns; 0: none */
    uint64_t max_request_bytes, max_stream_bytes, max_response_bytes; /* 0: none */
    uint8_t unknown_fields, unknown_query;                            /* reject ignore */
    struct tr_strings ignored_query_parameters;
    bool emit_defaults, proto_names, enums_as_numbers, pretty;
    uint8_t path_unescape; /* all_except_slash all_except_reserved all: enum tr_path_unescape */
    uint32_t success_status;
    uint8_t error_format; /* status aip193 problem */
    bool debug_info;
    uint64_t sse_keepalive;
    struct tr_policy_set_headers set_headers;
    struct tr_policy_remove_headers remove_headers;
};

struct tr_policy_set;

/* policies: the "policies" object (may be NULL). Checks each key's form and each policy's keys by
 * themselves. */
struct tr_policy_set *tr_policy_set_new(const struct json_t *policies, struct tr_keys_ctx *ctx);
/* The effective policy of a method ("pkg.Service.Method"); equal merges share one struct. NULL: out
 * of memory. */
const struct tr_policy *tr_policy_resolve(struct tr_policy_set *set, struct tr_span method);
/* Marks keys that matched no method as warnings; call after all were resolved. */
void tr_policy_report_unused(struct tr_policy_set *set);
/* For check and explain: calls fn for each leaf of the effective policy: dotted key, JSON text of
 * the value, the policy that set it
 * ("default" when none did). */
void tr_policy_sources(struct tr_policy_set *set, struct tr_span method,
                       void (*fn)(void *ctx, struct tr_span key, struct tr_span value,
                                  struct tr_span source),
                       void *ctx);
/* The matching policy keys, general to specific, joined by ", "; "default" when none match. */
struct tr_span tr_policy_source_names(struct tr_policy_set *set, struct tr_span method,
                                      struct tr_arena *arena);

#endif
