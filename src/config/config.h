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

struct tr_cfg_upstream {
    struct tr_span name;
    struct tr_items endpoints; /* of struct tr_cfg_endpoint */
    const struct tr_cfg_upstream_tls *tls;
    uint8_t load_balancing; /* least_request round_robin */
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
