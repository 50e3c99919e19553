/* Every key of the configuration: name, default, bounds, meaning. The reference and the schema are
 * printed from here. */
#include "config/tables.h"

#include "config/config.h"
#include "config/policy.h"

#define COUNT(a) (uint32_t)(sizeof(a) / sizeof((a)[0]))
#define MS       ((uint64_t)1000000)
#define SECOND   ((uint64_t)1000000000)
#define KIB      ((uint64_t)1024)
#define MIB      ((uint64_t)1024 * 1024)
#define AT(s, m) offsetof(struct s, m)

/* One line a key, so that it reads as a table. */
/* clang-format off */
static const struct tr_key certificate_keys[] = {
    {.name = "certificate", .type = TR_KEY_PATH, .offset = AT(tr_cfg_certificate, certificate), .doc = "PEM file with the certificate chain, leaf first."},
    {.name = "private_key", .type = TR_KEY_PATH, .offset = AT(tr_cfg_certificate, private_key), .doc = "PEM file with its private key."},
};
static const struct tr_keys certificate_table = {"listeners[].tls.certificates[]", sizeof(struct tr_cfg_certificate), certificate_keys, COUNT(certificate_keys)};

static const struct tr_key listener_tls_keys[] = {
    {.name = "certificate", .type = TR_KEY_PATH, .offset = AT(tr_cfg_listener_tls, certificate), .doc = "PEM file with the certificate chain, leaf first."},
    {.name = "private_key", .type = TR_KEY_PATH, .offset = AT(tr_cfg_listener_tls, private_key), .doc = "PEM file with its private key."},
    {.name = "certificates", .type = TR_KEY_ARRAY, .offset = AT(tr_cfg_listener_tls, certificates), .default_text = "", .sub = &certificate_table, .doc = "Further certificates, chosen by SNI; the first one above serves all other names."},
    {.name = "client_ca", .type = TR_KEY_PATH, .offset = AT(tr_cfg_listener_tls, client_ca), .default_text = "", .doc = "PEM file with the authorities that client certificates must chain to."},
    {.name = "client_certificate", .type = TR_KEY_ENUM, .offset = AT(tr_cfg_listener_tls, client_certificate), .default_text = "none", .choices = "none optional required", .doc = "Whether a client certificate is asked for or required; needs client_ca."},
};
static const struct tr_keys listener_tls_table = {"listeners[].tls", sizeof(struct tr_cfg_listener_tls), listener_tls_keys, COUNT(listener_tls_keys)};

static const struct tr_key listener_keys[] = {
    {.name = "address", .type = TR_KEY_STRING, .offset = AT(tr_cfg_listener, address), .doc = "host:port, [v6]:port (IPv6 only, [::] too) or unix:path. Port 0 takes a free one; `serve` prints it."},
    {.name = "tls", .type = TR_KEY_OPTIONAL, .offset = AT(tr_cfg_listener, tls), .default_text = "", .sub = &listener_tls_table, .doc = "TLS with ALPN h2 and http/1.1; without it the listener speaks HTTP/1.1 and, by its preface, HTTP/2 in cleartext."},
    {.name = "max_connections", .type = TR_KEY_U32, .offset = AT(tr_cfg_listener, max_connections), .default_text = "10000", .min = 1, .max = 1000000, .doc = "Connections open at once on this listener, over all workers; further ones are closed at accept."},
    {.name = "health", .type = TR_KEY_BOOL, .offset = AT(tr_cfg_listener, health), .default_text = "false", .doc = "Serve /healthz and /readyz on this listener too."},
};
static const struct tr_keys listener_table = {"listeners[]", sizeof(struct tr_cfg_listener), listener_keys, COUNT(listener_keys)};

static const struct tr_key admin_keys[] = {
    {.name = "address", .type = TR_KEY_STRING, .offset = AT(tr_cfg_admin, address), .default_text = "", .doc = "Where /healthz, /readyz and /metrics are served, in cleartext; keep it on loopback. Empty: nowhere."},
};
static const struct tr_keys admin_table = {"admin", sizeof(struct tr_cfg_admin), admin_keys, COUNT(admin_keys)};

static const struct tr_key limits_keys[] = {
    {.name = "max_headers", .type = TR_KEY_U32, .offset = AT(tr_cfg_limits, max_headers), .default_text = "100", .min = 1, .max = 10000, .doc = "Header fields of one request; more are 431."},
    {.name = "max_header_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_cfg_limits, max_header_bytes), .default_text = "64KiB", .min = 1024, .max = 16 * MIB, .doc = "Bytes of one request's header section; more are 431."},
    {.name = "max_path_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_cfg_limits, max_path_bytes), .default_text = "8KiB", .min = 64, .max = 1 * MIB, .doc = "Bytes of the path of a request, without its query; more are 414."},
    {.name = "max_concurrent_streams", .type = TR_KEY_U32, .offset = AT(tr_cfg_limits, max_concurrent_streams), .default_text = "100", .min = 1, .max = 100000, .doc = "Streams open at once on one HTTP/2 connection; more are refused with REFUSED_STREAM."},
    {.name = "max_buffered_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_cfg_limits, max_buffered_bytes), .default_text = "8MiB", .min = 64 * KIB, .max = 1024 * MIB, .doc = "Bytes waiting to be written on one connection; above it the upstream streams that feed it are held."},
    {.name = "header_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_limits, header_timeout), .default_text = "10s", .min = 10 * MS, .max = 3600 * SECOND, .doc = "From the first byte of a request to the end of its header section; later is 408."},
    {.name = "tls_handshake_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_limits, tls_handshake_timeout), .default_text = "10s", .min = 10 * MS, .max = 3600 * SECOND, .doc = "From accept to the end of the TLS handshake."},
    {.name = "body_idle_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_limits, body_idle_timeout), .default_text = "30s", .min = 10 * MS, .max = 86400 * SECOND, .doc = "Between two pieces of a request body; later is 408."},
    {.name = "write_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_limits, write_timeout), .default_text = "30s", .min = 10 * MS, .max = 86400 * SECOND, .doc = "How long a client may leave an answer without reading any of it."},
    {.name = "keepalive_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_limits, keepalive_timeout), .default_text = "75s", .min = 10 * MS, .max = 86400 * SECOND, .doc = "How long a connection without requests stays open."},
    {.name = "max_resets", .type = TR_KEY_U32, .offset = AT(tr_cfg_limits, max_resets), .default_text = "200", .min = 1, .max = 1000000, .doc = "Resets and stream errors of one HTTP/2 connection at once (refilled at 10 a second); more end the connection."},
};
static const struct tr_keys limits_table = {"limits", sizeof(struct tr_cfg_limits), limits_keys, COUNT(limits_keys)};

static const struct tr_key endpoint_keys[] = {
    {.name = "address", .type = TR_KEY_STRING, .offset = AT(tr_cfg_endpoint, address), .doc = "host:port, [v6]:port, dns:///name:port or unix:path. A name is looked up again by TTL."},
    {.name = "weight", .type = TR_KEY_U32, .offset = AT(tr_cfg_endpoint, weight), .default_text = "1", .min = 1, .max = 1000, .doc = "Its share of the load against the others."},
};
static const struct tr_keys endpoint_table = {"upstreams.*.endpoints[]", sizeof(struct tr_cfg_endpoint), endpoint_keys, COUNT(endpoint_keys)};

static const struct tr_key upstream_tls_keys[] = {
    {.name = "ca", .type = TR_KEY_PATH, .offset = AT(tr_cfg_upstream_tls, ca), .default_text = "", .doc = "PEM file with the authorities to trust; empty: the system's."},
    {.name = "server_name", .type = TR_KEY_STRING, .offset = AT(tr_cfg_upstream_tls, server_name), .default_text = "", .doc = "The name to send as SNI and to verify; empty: the endpoint's host."},
    {.name = "certificate", .type = TR_KEY_PATH, .offset = AT(tr_cfg_upstream_tls, certificate), .default_text = "", .doc = "PEM file with a client certificate."},
    {.name = "private_key", .type = TR_KEY_PATH, .offset = AT(tr_cfg_upstream_tls, private_key), .default_text = "", .doc = "PEM file with its private key."},
};
static const struct tr_keys upstream_tls_table = {"upstreams.*.tls", sizeof(struct tr_cfg_upstream_tls), upstream_tls_keys, COUNT(upstream_tls_keys)};

static const struct tr_key upstream_keys[] = {
    {.name = "endpoints", .type = TR_KEY_STRING_OR_ITEM, .offset = AT(tr_cfg_upstream, endpoints), .sub = &endpoint_table, .doc = "Where the backend is: strings, or objects with a weight."},
    {.name = "tls", .type = TR_KEY_OPTIONAL, .offset = AT(tr_cfg_upstream, tls), .default_text = "", .sub = &upstream_tls_table, .doc = "TLS to the backend ({} for the system's roots); ALPN must give h2."},
    {.name = "load_balancing", .type = TR_KEY_ENUM, .offset = AT(tr_cfg_upstream, load_balancing), .default_text = "least_request", .choices = "least_request round_robin ring_hash", .doc = "How a stream finds its endpoint; ring_hash needs hash_on."},
    {.name = "hash_on", .type = TR_KEY_STRING, .offset = AT(tr_cfg_upstream, hash_on), .default_text = "", .doc = "What ring_hash goes by: \"header:NAME\", \"claim:NAME\" or \"field:NAME\" of the request message."},
    {.name = "slow_start", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_upstream, slow_start), .default_text = "0s", .min = 0, .max = 3600 * SECOND, .doc = "Over this time the share of an endpoint that comes back grows from a tenth to its whole; 0s: at once."},
    {.name = "circuit_breaker", .type = TR_KEY_OPTIONAL, .offset = AT(tr_cfg_upstream, circuit_breaker), .default_text = "", .sub = &tr_keys_circuit_breaker, .doc = "Refuses calls at once while the upstream fails; absent: never."},
    {.name = "outlier_detection", .type = TR_KEY_OPTIONAL, .offset = AT(tr_cfg_upstream, outlier_detection), .default_text = "", .sub = &tr_keys_outlier_detection, .doc = "Leaves out endpoints that fail; absent: never."},
    {.name = "health_check", .type = TR_KEY_OPTIONAL, .offset = AT(tr_cfg_upstream, health_check), .default_text = "", .sub = &tr_keys_health_check, .doc = "Asks each endpoint's grpc.health.v1; absent: never."},
    {.name = "retry_budget", .type = TR_KEY_OBJECT, .offset = AT(tr_cfg_upstream, retry_budget), .default_text = "", .sub = &tr_keys_retry_budget, .doc = "How many retries the upstream is given, over all workers."},
    {.name = "connect_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_upstream, connect_timeout), .default_text = "1s", .min = 1 * MS, .max = 300 * SECOND, .doc = "For connecting and the TLS handshake; a request that finds no connection by then is 503."},
    {.name = "authority", .type = TR_KEY_STRING, .offset = AT(tr_cfg_upstream, authority), .default_text = "", .doc = ":authority of the requests; empty: the endpoint as written."},
    {.name = "max_connections", .type = TR_KEY_U32, .offset = AT(tr_cfg_upstream, max_connections), .default_text = "4", .min = 1, .max = 10000, .doc = "Connections to one endpoint from one worker."},
    {.name = "max_requests", .type = TR_KEY_U32, .offset = AT(tr_cfg_upstream, max_requests), .default_text = "4096", .min = 1, .max = 10000000, .doc = "Requests active at once, in the whole process; more are 503."},
    {.name = "max_pending", .type = TR_KEY_U32, .offset = AT(tr_cfg_upstream, max_pending), .default_text = "1024", .min = 1, .max = 10000000, .doc = "Requests waiting for a connection at once, in the whole process; more are 503."},
    {.name = "max_response_header_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_cfg_upstream, max_response_header_bytes), .default_text = "64KiB", .min = 1024, .max = 16 * MIB, .doc = "Bytes of an answer's header section or trailers; more are 502."},
};
static const struct tr_keys upstream_table = {"upstreams.*", sizeof(struct tr_cfg_upstream), upstream_keys, COUNT(upstream_keys)};

static const struct tr_key service_keys[] = {
    {.name = "name", .type = TR_KEY_STRING, .offset = AT(tr_cfg_service, name), .doc = "Full name of a service in the descriptor sets."},
    {.name = "upstream", .type = TR_KEY_STRING, .offset = AT(tr_cfg_service, upstream), .doc = "Which of the upstreams serves it."},
    {.name = "expose", .type = TR_KEY_ENUM, .offset = AT(tr_cfg_service, expose), .default_text = "annotated", .choices = "annotated all", .doc = "annotated: only methods with a rule are reachable, in every dialect; all: the others too, as POST /pkg.Service/Method with body \\*."},
    {.name = "path_prefix", .type = TR_KEY_STRING, .offset = AT(tr_cfg_service, path_prefix), .default_text = "", .doc = "Put before the path of each of its REST routes, as in \"/books-api\"."},
};
static const struct tr_keys service_table = {"services[]", sizeof(struct tr_cfg_service), service_keys, COUNT(service_keys)};

static const struct tr_key config_keys[] = {
    {.name = "listeners", .type = TR_KEY_ARRAY, .offset = AT(tr_config, listeners), .default_text = "", .sub = &listener_table, .doc = "Where clients connect. Without any: one on 0.0.0.0:8080 in cleartext."},
    {.name = "admin", .type = TR_KEY_OBJECT, .offset = AT(tr_config, admin), .default_text = "", .sub = &admin_table, .doc = "The operator's endpoints."},
    {.name = "workers", .type = TR_KEY_U32, .offset = AT(tr_config, workers), .default_text = "0", .min = 0, .max = 256, .doc = "Threads that serve requests; 0: one for each processor."},
    {.name = "drain_delay", .type = TR_KEY_DURATION, .offset = AT(tr_config, drain_delay), .default_text = "5s", .min = 0, .max = 3600 * SECOND, .doc = "After SIGTERM: how long /readyz fails before connections are asked to go."},
    {.name = "drain_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_config, drain_timeout), .default_text = "30s", .min = 0, .max = 86400 * SECOND, .doc = "After that: how long requests may take to finish."},
    {.name = "descriptors", .type = TR_KEY_PATHS, .offset = AT(tr_config, descriptors), .doc = "Descriptor sets: the output of `protoc --include_imports --descriptor_set_out` or `buf build`."},
    {.name = "upstreams", .type = TR_KEY_MAP, .offset = AT(tr_config, upstreams), .sub = &upstream_table, .doc = "The backends by name."},
    {.name = "services", .type = TR_KEY_ARRAY, .offset = AT(tr_config, services), .sub = &service_table, .doc = "The services to serve."},
    {.name = "http_rules", .type = TR_KEY_RAW, .offset = AT(tr_config, http_rules), .default_text = "", .doc = "google.api.HttpRule objects as JSON; the last one whose selector (exact, or ending in .\\*) names a method replaces all bindings of its annotation."},
    {.name = "on_route_conflict", .type = TR_KEY_ENUM, .offset = AT(tr_config, on_route_conflict), .default_text = "error", .choices = "error first", .doc = "When two methods claim one verb and path: an error, or the first one wins with a warning."},
    {.name = "trusted_hops", .type = TR_KEY_U32, .offset = AT(tr_config, trusted_hops), .default_text = "0", .min = 0, .max = 32, .doc = "Proxies in front whose x-forwarded-\\* headers are believed; 0: the headers are overwritten."},
    {.name = "identity_headers", .type = TR_KEY_STRINGS, .offset = AT(tr_config, identity_headers), .default_text = "", .doc = "Further headers that only the gateway may set: what clients send under these names is dropped on every route."},
    {.name = "limits", .type = TR_KEY_OBJECT, .offset = AT(tr_config, limits), .default_text = "", .sub = &limits_table, .doc = "Bounds of what a client can make the gateway hold or wait for."},
    {.name = "authentication", .type = TR_KEY_OPTIONAL, .offset = AT(tr_config, authentication), .default_text = "", .sub = &tr_keys_authentication, .doc = "How clients show who they are; where it stands, each method's policy must name an authentication, or \"none\"."},
    {.name = "quota_store", .type = TR_KEY_OBJECT, .offset = AT(tr_config, quota_store), .default_text = "", .sub = &tr_keys_quota_store, .doc = "Where quotas are counted."},
    {.name = "load_shedding", .type = TR_KEY_OBJECT, .offset = AT(tr_config, load_shedding), .default_text = "", .sub = &tr_keys_load_shedding, .doc = "When new requests are refused before any work."},
    {.name = "access_log", .type = TR_KEY_OBJECT, .offset = AT(tr_config, access_log), .default_text = "", .sub = &tr_keys_access_log, .doc = "One JSON line for each request."},
    {.name = "policies", .type = TR_KEY_RAW, .offset = AT(tr_config, policies), .default_text = "", .doc = "Policies by `*`, `pkg.*`, `pkg.Service.*` or full method name; merged from general to specific."},
    {.name = "log_level", .type = TR_KEY_ENUM, .offset = AT(tr_config, log_level), .default_text = "info", .choices = "error warn info debug", .doc = "How much the operator's log on standard error says."},
};
const struct tr_keys tr_config_keys = {"configuration", sizeof(struct tr_config), config_keys, COUNT(config_keys)};

static const struct tr_key set_headers_keys[] = {
    {.name = "request", .type = TR_KEY_STRING_MAP, .offset = AT(tr_policy_set_headers, request), .default_text = "", .doc = "In the metadata sent to the backend."},
    {.name = "response", .type = TR_KEY_STRING_MAP, .offset = AT(tr_policy_set_headers, response), .default_text = "", .doc = "In the headers sent to the client."},
};
static const struct tr_keys set_headers_table = {"policies.*.set_headers", sizeof(struct tr_policy_set_headers), set_headers_keys, COUNT(set_headers_keys)};

static const struct tr_key remove_headers_keys[] = {
    {.name = "request", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_remove_headers, request), .default_text = "", .doc = "From the metadata sent to the backend."},
    {.name = "response", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_remove_headers, response), .default_text = "", .doc = "From the headers sent to the client."},
};
static const struct tr_keys remove_headers_table = {"policies.*.remove_headers", sizeof(struct tr_policy_remove_headers), remove_headers_keys, COUNT(remove_headers_keys)};

static const struct tr_key policy_keys[] = {
    {.name = "timeout", .type = TR_KEY_DURATION, .offset = AT(tr_policy, timeout), .default_text = "15s", .min = 0, .max = 86400 * SECOND, .doc = "Deadline of a unary call, from the first byte of the request; 0s: none but the client's."},
    {.name = "stream_idle_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_policy, stream_idle_timeout), .default_text = "5m", .min = 0, .max = 86400 * SECOND, .doc = "How long a streaming call may pass no message in either direction; 0s: no bound."},
    {.name = "max_stream_duration", .type = TR_KEY_DURATION, .offset = AT(tr_policy, max_stream_duration), .default_text = "0s", .min = 0, .max = 30 * 86400 * SECOND, .doc = "How long a streaming call may last; 0s: no bound."},
    {.name = "max_request_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_policy, max_request_bytes), .default_text = "4MiB", .min = 1, .max = 2047 * MIB, .doc = "A unary body, or one message of a stream, after content decoding and in either form (JSON or protobuf); more is 413."},
    {.name = "max_stream_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_policy, max_stream_bytes), .default_text = "0", .doc = "All bytes of a client stream's body; 0: no bound; more is 413."},
    {.name = "max_response_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_policy, max_response_bytes), .default_text = "4MiB", .min = 1, .max = 2047 * MIB, .doc = "One message of the backend; more is 502, and so is JSON of more than sixteen times that."},
    {.name = "unknown_fields", .type = TR_KEY_ENUM, .offset = AT(tr_policy, unknown_fields), .default_text = "reject", .choices = "reject ignore", .doc = "Fields of a JSON body that the message does not have."},
    {.name = "unknown_query", .type = TR_KEY_ENUM, .offset = AT(tr_policy, unknown_query), .default_text = "reject", .choices = "reject ignore", .doc = "Query parameters that the message does not have."},
    {.name = "ignored_query_parameters", .type = TR_KEY_STRINGS, .offset = AT(tr_policy, ignored_query_parameters), .default_text = "", .doc = "Query parameters to pass over."},
    {.name = "emit_defaults", .type = TR_KEY_BOOL, .offset = AT(tr_policy, emit_defaults), .default_text = "false", .doc = "Print fields without presence that have their default."},
    {.name = "proto_names", .type = TR_KEY_BOOL, .offset = AT(tr_policy, proto_names), .default_text = "false", .doc = "Print snake_case names as declared instead of lowerCamelCase."},
    {.name = "enums_as_numbers", .type = TR_KEY_BOOL, .offset = AT(tr_policy, enums_as_numbers), .default_text = "false", .doc = "Print enums as numbers."},
    {.name = "pretty", .type = TR_KEY_BOOL, .offset = AT(tr_policy, pretty), .default_text = "false", .doc = "Print JSON with line breaks and indentation."},
    {.name = "url_unescape", .type = TR_KEY_ENUM, .offset = AT(tr_policy, path_unescape), .default_text = "all_except_slash", .choices = "all_except_slash all_except_reserved all", .doc = "What is decoded in a path variable of several segments."},
    {.name = "success_status", .type = TR_KEY_U32, .offset = AT(tr_policy, success_status), .default_text = "200", .min = 200, .max = 204, .doc = "HTTP status of a successful unary answer: 200, 201, 202 or 204 (then without a body)."},
    {.name = "error_format", .type = TR_KEY_ENUM, .offset = AT(tr_policy, error_format), .default_text = "status", .choices = "status aip193 problem", .doc = "Form of an error's body: google.rpc.Status, {\"error\": ...} of AIP-193, or RFC 9457."},
    {.name = "debug_info", .type = TR_KEY_BOOL, .offset = AT(tr_policy, debug_info), .default_text = "false", .doc = "Pass google.rpc.DebugInfo details of the backend on."},
    {.name = "sse_keepalive", .type = TR_KEY_DURATION, .offset = AT(tr_policy, sse_keepalive), .default_text = "15s", .min = 0, .max = 3600 * SECOND, .doc = "A comment is sent on a quiet text/event-stream this often; 0s: never."},
    {.name = "set_headers", .type = TR_KEY_OBJECT, .offset = AT(tr_policy, set_headers), .default_text = "", .sub = &set_headers_table, .doc = "Headers to set, replacing those of the same name."},
    {.name = "remove_headers", .type = TR_KEY_OBJECT, .offset = AT(tr_policy, remove_headers), .default_text = "", .sub = &remove_headers_table, .doc = "Headers to remove."},
    {.name = "authentication", .type = TR_KEY_OBJECT_OR_NONE, .offset = AT(tr_policy, authentication), .default_text = "", .sub = &tr_keys_policy_authentication, .doc = "What clients must show; \"none\": the method is public."},
    {.name = "authorization", .type = TR_KEY_OBJECT_OR_NONE, .offset = AT(tr_policy, authorization), .default_text = "", .sub = &tr_keys_policy_authorization, .doc = "What those who were authenticated need to have."},
    {.name = "quotas", .type = TR_KEY_ARRAY, .offset = AT(tr_policy, quotas), .default_text = "", .sub = &tr_keys_policy_quota, .doc = "Bounds on requests in time: all must have room, and none is charged when one has not."},
    {.name = "quota_cost", .type = TR_KEY_U32, .offset = AT(tr_policy, quota_cost), .default_text = "1", .min = 0, .max = 1000000, .doc = "How many requests one call of the method counts for."},
    {.name = "retry", .type = TR_KEY_OBJECT, .offset = AT(tr_policy, retry), .default_text = "", .sub = &tr_keys_policy_retry, .doc = "Whether and when a failed attempt is made again."},
    {.name = "cors", .type = TR_KEY_OBJECT_OR_NONE, .offset = AT(tr_policy, cors), .default_text = "", .sub = &tr_keys_policy_cors, .doc = "Cross-origin requests of browsers; absent or \"none\": not allowed."},
    {.name = "ip", .type = TR_KEY_OBJECT_OR_NONE, .offset = AT(tr_policy, ip), .default_text = "", .sub = &tr_keys_policy_ip, .doc = "Client addresses that may ask, by the address that trusted_hops gives."},
};
const struct tr_keys tr_policy_keys = {"policies.*", sizeof(struct tr_policy), policy_keys, COUNT(policy_keys)};
/* clang-format on */
