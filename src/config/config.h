/* The configuration file as structs; the tables that fill them are in config/tables.c. Everything
 * lives in the arena of the snapshot. Defaults and documentation: config/tables.c, printed as
 * contrib/doc/configuration.md. */
#ifndef TR_CONFIG_CONFIG_H
#define TR_CONFIG_CONFIG_H

#include "config/keys.h"

struct tr_cfg_certificate {
    struct tr_span certificate, private_key;
};

struct tr_cfg_listener_tls {
    struct tr_span certificate, private_key;
    struct tr_items certificates; /* of struct tr_cfg_certificate: more, chosen by SNI */
    struct tr_span client_ca;
    uint8_t client_certificate; /* none optional required */
};

struct tr_cfg_listener {
    struct tr_span address;
    const struct tr_cfg_listener_tls *tls;
    uint32_t max_connections;
    bool health; /* /healthz and /readyz here too */
};

struct tr_cfg_admin {
    struct tr_span address; /* empty: none */
};

struct tr_cfg_limits {
    uint32_t max_headers;
    uint64_t max_header_bytes, max_path_bytes;
    uint32_t max_concurrent_streams;
    uint64_t max_buffered_bytes;
    uint64_t header_timeout, tls_handshake_timeout, body_idle_timeout, write_timeout,
        keepalive_timeout;
    uint32_t max_resets;
};

struct tr_cfg_endpoint {
    struct tr_span address;
    uint32_t weight;
};

struct tr_cfg_upstream_tls {
    struct tr_span ca, server_name, certificate, private_key;
};

struct tr_cfg_circuit_breaker {
    uint32_t failure_ratio; /* millionths */
    uint32_t minimum_requests;
    uint64_t window, open_for;
    uint32_t probes;
};

struct tr_cfg_outlier_detection {
    uint32_t consecutive_failures;
    uint64_t base_ejection;
    uint32_t max_ejected_percent;
};

struct tr_cfg_health_check {
    uint64_t interval, timeout;
    struct tr_span service;
};

struct tr_cfg_retry_budget {
    uint32_t percent, min_per_second;
};

struct tr_cfg_upstream {
    struct tr_span name;
    struct tr_items endpoints; /* of struct tr_cfg_endpoint */
    const struct tr_cfg_upstream_tls *tls;
    uint8_t load_balancing; /* least_request round_robin ring_hash */
    struct tr_span hash_on; /* "header:x", "claim:sub", "field:name" */
    uint64_t slow_start;
    const struct tr_cfg_circuit_breaker *circuit_breaker;
    const struct tr_cfg_outlier_detection *outlier_detection;
    const struct tr_cfg_health_check *health_check;
    struct tr_cfg_retry_budget retry_budget;
    uint64_t connect_timeout;
    struct tr_span authority;
    uint32_t max_connections, max_requests, max_pending;
    uint64_t max_response_header_bytes;
};

struct tr_cfg_service {
    struct tr_span name, upstream;
    uint8_t expose; /* annotated all */
    struct tr_span path_prefix;
};

struct tr_cfg_jwks {
    struct tr_span uri, file;
    struct json_t *inline_keys;
    struct tr_span ca;
    uint64_t timeout, max_bytes, refresh_interval, max_stale, unknown_kid_interval;
};

/* A token issuer. */
struct tr_cfg_provider {
    struct tr_span name;
    struct tr_span issuer;
    struct tr_strings audiences;  /* one empty string: any */
    struct tr_strings algorithms; /* empty: the asymmetric ones */
    struct tr_cfg_jwks jwks;      /* none of uri, file, inline: OIDC discovery from the issuer */
    struct tr_span secret;        /* for HS256, HS384, HS512 */
    uint64_t clock_skew;
    struct tr_span token_header, token_query, token_cookie;
    struct tr_pairs claims_to_headers;
    bool forward_token;
};

struct tr_cfg_api_keys {
    struct tr_span file;
    uint64_t reload_interval;
    struct tr_span header, query, consumer_header;
};

/* Who a client certificate stands for: the first that matches. */
struct tr_cfg_client_certificate {
    struct tr_span consumer;
    struct tr_span subject; /* whole, as RFC 4514 prints it */
    struct tr_span san;     /* "DNS:name", "URI:...", "email:...", "IP:..." */
    struct tr_span tier;
    struct tr_strings scopes;
};

struct tr_cfg_authentication {
    struct tr_items providers; /* of struct tr_cfg_provider */
    const struct tr_cfg_api_keys *api_keys;
    struct tr_items client_certificates; /* of struct tr_cfg_client_certificate */
    struct tr_span client_certificate_header;
    uint32_t token_cache_entries;
    uint32_t max_failures;
    uint64_t failure_window;
};

enum { TR_ON_FAILURE_LOCAL, TR_ON_FAILURE_ALLOW, TR_ON_FAILURE_DENY };

struct tr_cfg_quota_store {
    struct tr_span redis; /* a URL; empty: none */
    uint64_t timeout;
    uint8_t on_failure; /* local allow deny */
    uint32_t local_entries;
};

struct tr_cfg_load_shedding {
    uint64_t max_lag, max_memory; /* 0: no bound */
};

struct tr_cfg_access_log {
    struct tr_span output; /* empty: none; "stdout", "stderr", or a file */
    struct tr_strings fields;
};

struct tr_config {
    struct tr_items listeners; /* of struct tr_cfg_listener */
    struct tr_cfg_admin admin;
    uint32_t workers;
    uint64_t drain_delay, drain_timeout;
    struct tr_strings descriptors;
    struct tr_items upstreams; /* of struct tr_cfg_upstream */
    struct tr_items services;  /* of struct tr_cfg_service */
    struct json_t *http_rules;
    uint8_t on_route_conflict; /* error first */
    uint32_t trusted_hops;
    struct tr_strings identity_headers;
    struct tr_cfg_limits limits;
    const struct tr_cfg_authentication *authentication; /* NULL: none is configured */
    struct tr_cfg_quota_store quota_store;
    struct tr_cfg_load_shedding load_shedding;
    struct tr_cfg_access_log access_log;
    struct json_t *policies;
    uint8_t log_level;
};

enum { TR_CONFLICT_ERROR, TR_CONFLICT_FIRST };
enum { TR_EXPOSE_ANNOTATED, TR_EXPOSE_ALL };

extern const struct tr_keys tr_config_keys; /* of struct tr_config */
extern const struct tr_keys tr_policy_keys; /* of struct tr_policy, config/policy.h */

/* The reference (Markdown) and the JSON Schema, made from the tables. */
enum tr_err tr_config_reference(struct tr_buf *out) TR_MUST_USE;
enum tr_err tr_config_schema(struct tr_buf *out) TR_MUST_USE;

#endif
