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

enum { TR_ON_UNAVAILABLE_DENY, TR_ON_UNAVAILABLE_ALLOW };

struct tr_policy_authentication {
    bool none;                        /* "none": public */
    struct tr_strings any_of, all_of; /* names of providers, "api_key", "client_certificate" */
    bool allow_missing;
    uint8_t on_unavailable; /* deny allow */
};

struct tr_policy_authorization {
    bool none;
    struct tr_strings scopes, any_scope, consumers;
    struct tr_items
        claims; /* of struct tr_named_strings: one of the values, as it is or in a list */
};

enum {
    TR_QUOTA_ON_FAILURE_STORE,
    TR_QUOTA_ON_FAILURE_LOCAL,
    TR_QUOTA_ON_FAILURE_ALLOW,
    TR_QUOTA_ON_FAILURE_DENY
};
enum { TR_QUOTA_STORE_SHARED, TR_QUOTA_STORE_LOCAL };

struct tr_policy_quota {
    struct tr_span name;
    struct tr_strings
        key; /* "claim:x", "consumer", "header:x", "client_address", "method", "constant:x" */
    uint32_t limit;
    uint64_t window;
    uint32_t burst;       /* 0: limit */
    struct json_t *tiers; /* {"from": "claim:plan" | "tier", NAME: {limit, window, burst}} */
    uint8_t store;        /* shared local */
    uint8_t on_failure;   /* store local allow deny */
    bool before_authentication;
};

struct tr_policy_backoff {
    uint64_t base, max;
};

struct tr_policy_retry {
    uint32_t attempts;    /* with the first; 1: none */
    struct tr_strings on; /* names of gRPC codes */
    uint32_t on_codes;    /* the same as bits: 1 << code */
    struct tr_policy_backoff backoff;
    uint64_t per_try_timeout; /* 0: none */
    uint64_t replay_bytes;
};

struct tr_policy_cors {
    bool none;
    struct tr_strings origins, allow_headers, expose_headers;
    bool credentials;
    uint64_t max_age;
};

struct tr_policy_ip {
    bool none;
    struct tr_strings allow, deny; /* CIDRs or addresses */
};

/* What a filter made of a policy at load (tr_filter.prepare), by enum. */
enum tr_policy_slot {
    TR_POLICY_AUTHN,
    TR_POLICY_AUTHZ,
    TR_POLICY_QUOTA,
    TR_POLICY_CORS,
    TR_POLICY_IP,
    TR_POLICY_SLOTS
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
    const struct tr_policy_authentication *authentication; /* NULL: not said */
    const struct tr_policy_authorization *authorization;
    struct tr_items quotas; /* of struct tr_policy_quota */
    uint32_t quota_cost;
    struct tr_policy_retry retry;
    const struct tr_policy_cors *cors;
    const struct tr_policy_ip *ip;
    const void *slots[TR_POLICY_SLOTS]; /* set while the snapshot is made, immutable after */
};

struct tr_policy_set;

/* policies: the "policies" object (may be NULL). Checks each key's form and each policy's keys by
 * themselves. */
struct tr_policy_set *tr_policy_set_new(const struct json_t *policies, struct tr_keys_ctx *ctx);
/* Query parameters with credentials: passed over on every method, beside ignored_query_parameters.
 * Before any policy is resolved. */
void tr_policy_set_credentials(struct tr_policy_set *set, struct tr_strings names);
/* The set lies in the arena of ctx; this gives back what does not. NULL is accepted. */
void tr_policy_set_fini(struct tr_policy_set *set);
/* The effective policy of a method ("pkg.Service.Method"); equal merges share one struct. NULL: out
 * of memory. */
const struct tr_policy *tr_policy_resolve(struct tr_policy_set *set, struct tr_span method);
/* Every effective policy once, for what is compiled at load. */
void tr_policy_each(struct tr_policy_set *set, void (*fn)(void *ctx, struct tr_policy *policy),
                    void *ctx);
/* For problems of an effective policy: the JSON pointer of the most specific rule that sets `key`
 * ("quotas"), or of "/policies". */
struct tr_span tr_policy_where(struct tr_policy_set *set, const struct tr_policy *policy,
                               const char *key);
struct tr_cfg_service;
/* Tells the keys that matched no method: an error where they would protect one. Call after all were
 * resolved. */
void tr_policy_report_unused(struct tr_policy_set *set, const struct tr_cfg_service *services,
                             uint32_t count);
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
