/* The keys of the pipeline: identity, quotas, retries, breakers and what else a call goes through.
 */
#include "config/config.h"
#include "config/policy.h"
#include "config/tables.h"

#define COUNT(a) (uint32_t)(sizeof(a) / sizeof((a)[0]))
#define MS       ((uint64_t)1000000)
#define SECOND   ((uint64_t)1000000000)
#define KIB      ((uint64_t)1024)
#define MIB      ((uint64_t)1024 * 1024)
#define AT(s, m) offsetof(struct s, m)

/* One line a key, so that it reads as a table. */
/* clang-format off */

/* ---- upstreams ------------------------------------------------------------------------------- */

static const struct tr_key circuit_breaker_keys[] = {
    {.name = "failure_ratio", .type = TR_KEY_RATIO, .offset = AT(tr_cfg_circuit_breaker, failure_ratio), .default_text = "0.5", .doc = "Share of failures in the window at which it opens."},
    {.name = "minimum_requests", .type = TR_KEY_U32, .offset = AT(tr_cfg_circuit_breaker, minimum_requests), .default_text = "20", .min = 1, .max = 1000000, .doc = "Calls that the window must have before the ratio means anything."},
    {.name = "window", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_circuit_breaker, window), .default_text = "10s", .min = 100 * MS, .max = 3600 * SECOND, .doc = "How far back calls are counted."},
    {.name = "open_for", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_circuit_breaker, open_for), .default_text = "5s", .min = 10 * MS, .max = 3600 * SECOND, .doc = "How long calls are refused before the first probe, give or take a tenth."},
    {.name = "probes", .type = TR_KEY_U32, .offset = AT(tr_cfg_circuit_breaker, probes), .default_text = "3", .min = 1, .max = 1000, .doc = "Calls that must succeed, after that time, for it to close again; one failure opens it anew."},
};
const struct tr_keys tr_keys_circuit_breaker = {"upstreams.*.circuit_breaker", sizeof(struct tr_cfg_circuit_breaker), circuit_breaker_keys, COUNT(circuit_breaker_keys)};

static const struct tr_key outlier_detection_keys[] = {
    {.name = "consecutive_failures", .type = TR_KEY_U32, .offset = AT(tr_cfg_outlier_detection, consecutive_failures), .default_text = "5", .min = 1, .max = 10000, .doc = "Failures of one endpoint in a row, over all workers, that eject it."},
    {.name = "base_ejection", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_outlier_detection, base_ejection), .default_text = "30s", .min = 10 * MS, .max = 3600 * SECOND, .doc = "How long the first ejection lasts; the n-th in a row n times as long, ten times at most."},
    {.name = "max_ejected_percent", .type = TR_KEY_U32, .offset = AT(tr_cfg_outlier_detection, max_ejected_percent), .default_text = "50", .min = 0, .max = 100, .doc = "Share of the endpoints that may be ejected at once."},
};
const struct tr_keys tr_keys_outlier_detection = {"upstreams.*.outlier_detection", sizeof(struct tr_cfg_outlier_detection), outlier_detection_keys, COUNT(outlier_detection_keys)};

static const struct tr_key health_check_keys[] = {
    {.name = "interval", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_health_check, interval), .default_text = "5s", .min = 10 * MS, .max = 3600 * SECOND, .doc = "Between two checks of one endpoint, over all workers, give or take a tenth."},
    {.name = "timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_health_check, timeout), .default_text = "1s", .min = 1 * MS, .max = 300 * SECOND, .doc = "A check that takes longer has failed."},
    {.name = "service", .type = TR_KEY_STRING, .offset = AT(tr_cfg_health_check, service), .default_text = "", .doc = "The `service` to ask grpc.health.v1 for; empty: the server as a whole."},
};
const struct tr_keys tr_keys_health_check = {"upstreams.*.health_check", sizeof(struct tr_cfg_health_check), health_check_keys, COUNT(health_check_keys)};

static const struct tr_key retry_budget_keys[] = {
    {.name = "percent", .type = TR_KEY_U32, .offset = AT(tr_cfg_retry_budget, percent), .default_text = "20", .min = 0, .max = 1000, .doc = "What each first attempt adds to the budget, in hundredths of a retry."},
    {.name = "min_per_second", .type = TR_KEY_U32, .offset = AT(tr_cfg_retry_budget, min_per_second), .default_text = "3", .min = 0, .max = 100000, .doc = "Retries a second that are there without any traffic."},
};
const struct tr_keys tr_keys_retry_budget = {"upstreams.*.retry_budget", sizeof(struct tr_cfg_retry_budget), retry_budget_keys, COUNT(retry_budget_keys)};

/* ---- identity -------------------------------------------------------------------------------- */

static const struct tr_key jwks_keys[] = {
    {.name = "uri", .type = TR_KEY_STRING, .offset = AT(tr_cfg_jwks, uri), .default_text = "", .doc = "http or https URL of the key set, fetched at start and again before it ages; redirects are not followed."},
    {.name = "file", .type = TR_KEY_PATH, .offset = AT(tr_cfg_jwks, file), .default_text = "", .doc = "The key set as a file, read at start."},
    {.name = "inline", .type = TR_KEY_RAW, .offset = AT(tr_cfg_jwks, inline_keys), .default_text = "", .doc = "The key set itself: {\"keys\": [...]}."},
    {.name = "ca", .type = TR_KEY_PATH, .offset = AT(tr_cfg_jwks, ca), .default_text = "", .doc = "PEM file with the authorities that the server of `uri` or of discovery must chain to; empty: the system's."},
    {.name = "timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_jwks, timeout), .default_text = "5s", .min = 10 * MS, .max = 300 * SECOND, .doc = "For one fetch, from the name to the last byte."},
    {.name = "max_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_cfg_jwks, max_bytes), .default_text = "1MiB", .min = 256, .max = 4 * MIB, .doc = "Of one answer; a larger one is a failed fetch."},
    {.name = "refresh_interval", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_jwks, refresh_interval), .default_text = "5m", .min = 100 * MS, .max = 86400 * SECOND, .doc = "How often the key set is fetched again; sooner when its Cache-Control says so."},
    {.name = "max_stale", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_jwks, max_stale), .default_text = "24h", .min = 0, .max = 30 * 86400 * SECOND, .doc = "How long keys are used on while fetching fails."},
    {.name = "unknown_kid_interval", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_jwks, unknown_kid_interval), .default_text = "10s", .min = 10 * MS, .max = 86400 * SECOND, .doc = "A token with a key id that is not known fetches the key set at most this often."},
};
static const struct tr_keys jwks_table = {"authentication.providers.*.jwks", sizeof(struct tr_cfg_jwks), jwks_keys, COUNT(jwks_keys)};

static const struct tr_key provider_keys[] = {
    {.name = "issuer", .type = TR_KEY_STRING, .offset = AT(tr_cfg_provider, issuer), .doc = "What `iss` must be, exactly."},
    {.name = "audiences", .type = TR_KEY_STRINGS_OR_ANY, .offset = AT(tr_cfg_provider, audiences), .doc = "One of these must be in `aud`; \"any\": whatever it is."},
    {.name = "algorithms", .type = TR_KEY_STRINGS, .offset = AT(tr_cfg_provider, algorithms), .default_text = "", .doc = "Signature algorithms to accept, of RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA HS256 HS384 HS512; empty: all asymmetric ones, or with `secret` the HS ones."},
    {.name = "jwks", .type = TR_KEY_OBJECT, .offset = AT(tr_cfg_provider, jwks), .default_text = "", .sub = &jwks_table, .doc = "Where the keys are; without uri, file and inline they are found by OpenID Connect discovery from the issuer."},
    {.name = "secret", .type = TR_KEY_SECRET, .offset = AT(tr_cfg_provider, secret), .default_text = "", .doc = "Shared secret of HS256, HS384 and HS512, instead of jwks; at least 32 bytes."},
    {.name = "clock_skew", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_provider, clock_skew), .default_text = "60s", .min = 0, .max = 3600 * SECOND, .doc = "By how much `exp` and `nbf` may be off."},
    {.name = "token_header", .type = TR_KEY_STRING, .offset = AT(tr_cfg_provider, token_header), .default_text = "authorization", .doc = "The header with the token; in authorization after \"Bearer \", elsewhere with or without it; empty: none."},
    {.name = "token_query", .type = TR_KEY_STRING, .offset = AT(tr_cfg_provider, token_query), .default_text = "", .doc = "A query parameter with the token."},
    {.name = "token_cookie", .type = TR_KEY_STRING, .offset = AT(tr_cfg_provider, token_cookie), .default_text = "", .doc = "A cookie with the token."},
    {.name = "claims_to_headers", .type = TR_KEY_STRING_MAP, .offset = AT(tr_cfg_provider, claims_to_headers), .default_text = "", .doc = "Claims by name (dots go into objects) to headers for the backend; several values are joined by commas. What clients send under these names is dropped everywhere."},
    {.name = "forward_token", .type = TR_KEY_BOOL, .offset = AT(tr_cfg_provider, forward_token), .default_text = "false", .doc = "Pass the token on to the backend, if it came in a header."},
};
static const struct tr_keys provider_table = {"authentication.providers.*", sizeof(struct tr_cfg_provider), provider_keys, COUNT(provider_keys)};

static const struct tr_key api_keys_keys[] = {
    {.name = "file", .type = TR_KEY_PATH, .offset = AT(tr_cfg_api_keys, file), .doc = "JSON file with the digests of the keys, as `transom api-key new` prints them; read again when it changes."},
    {.name = "reload_interval", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_api_keys, reload_interval), .default_text = "5s", .min = 100 * MS, .max = 86400 * SECOND, .doc = "How often the file is looked at."},
    {.name = "header", .type = TR_KEY_STRING, .offset = AT(tr_cfg_api_keys, header), .default_text = "x-api-key", .doc = "The header with the key; empty: none."},
    {.name = "query", .type = TR_KEY_STRING, .offset = AT(tr_cfg_api_keys, query), .default_text = "", .doc = "A query parameter with the key."},
    {.name = "consumer_header", .type = TR_KEY_STRING, .offset = AT(tr_cfg_api_keys, consumer_header), .default_text = "", .doc = "A header for the backend with the consumer's name."},
};
static const struct tr_keys api_keys_table = {"authentication.api_keys", sizeof(struct tr_cfg_api_keys), api_keys_keys, COUNT(api_keys_keys)};

static const struct tr_key client_certificate_keys[] = {
    {.name = "consumer", .type = TR_KEY_STRING, .offset = AT(tr_cfg_client_certificate, consumer), .doc = "Who it is."},
    {.name = "subject", .type = TR_KEY_STRING, .offset = AT(tr_cfg_client_certificate, subject), .default_text = "", .doc = "The whole subject, as in RFC 4514: \"CN=partner,O=Example\"."},
    {.name = "san", .type = TR_KEY_STRING, .offset = AT(tr_cfg_client_certificate, san), .default_text = "", .doc = "A subject alternative name: \"DNS:name\", \"URI:...\", \"email:...\" or \"IP:...\"."},
    {.name = "tier", .type = TR_KEY_STRING, .offset = AT(tr_cfg_client_certificate, tier), .default_text = "", .doc = "For the tiers of quotas."},
    {.name = "scopes", .type = TR_KEY_STRINGS, .offset = AT(tr_cfg_client_certificate, scopes), .default_text = "", .doc = "For authorization."},
};
static const struct tr_keys client_certificate_table = {"authentication.client_certificates[]", sizeof(struct tr_cfg_client_certificate), client_certificate_keys, COUNT(client_certificate_keys)};

static const struct tr_key authentication_keys[] = {
    {.name = "providers", .type = TR_KEY_MAP, .offset = AT(tr_cfg_authentication, providers), .default_text = "", .sub = &provider_table, .doc = "Issuers of JSON Web Tokens by name."},
    {.name = "api_keys", .type = TR_KEY_OPTIONAL, .offset = AT(tr_cfg_authentication, api_keys), .default_text = "", .sub = &api_keys_table, .doc = "API keys; policies name them \"api_key\"."},
    {.name = "client_certificates", .type = TR_KEY_ARRAY, .offset = AT(tr_cfg_authentication, client_certificates), .default_text = "", .sub = &client_certificate_table, .doc = "Whom verified client certificates stand for: the first whose subject and san, as far as given, match; policies name them \"client_certificate\"."},
    {.name = "client_certificate_header", .type = TR_KEY_STRING, .offset = AT(tr_cfg_authentication, client_certificate_header), .default_text = "", .doc = "A header for the backend with the consumer that the client certificate stands for."},
    {.name = "token_cache_entries", .type = TR_KEY_U32, .offset = AT(tr_cfg_authentication, token_cache_entries), .default_text = "4096", .min = 0, .max = 1000000, .doc = "Verified tokens that one worker remembers; 0: each request verifies."},
    {.name = "max_failures", .type = TR_KEY_U32, .offset = AT(tr_cfg_authentication, max_failures), .default_text = "100", .min = 0, .max = 1000000, .doc = "Failed authentications of one address (of an IPv6 address: of its /64) in failure_window, over all workers; more are 429 before they are looked at; 0: no bound."},
    {.name = "failure_window", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_authentication, failure_window), .default_text = "60s", .min = 1 * SECOND, .max = 86400 * SECOND, .doc = "See max_failures."},
};
const struct tr_keys tr_keys_authentication = {"authentication", sizeof(struct tr_cfg_authentication), authentication_keys, COUNT(authentication_keys)};

/* ---- quotas, shedding, log ------------------------------------------------------------------- */

static const struct tr_key quota_store_keys[] = {
    {.name = "redis", .type = TR_KEY_SECRET, .offset = AT(tr_cfg_quota_store, redis), .default_text = "", .doc = "redis://[user:password@]host:port/database or unix:path of the store that gateways share; empty: quotas count in this process."},
    {.name = "timeout", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_quota_store, timeout), .default_text = "20ms", .min = 1 * MS, .max = 10 * SECOND, .doc = "A call of the store that takes longer has failed."},
    {.name = "on_failure", .type = TR_KEY_ENUM, .offset = AT(tr_cfg_quota_store, on_failure), .default_text = "local", .choices = "local allow deny", .doc = "What a request gets when the store fails: counted by this process alone, let pass, or refused with 503."},
    {.name = "local_entries", .type = TR_KEY_U32, .offset = AT(tr_cfg_quota_store, local_entries), .default_text = "65536", .min = 64, .max = 16777216, .doc = "Counters that the process keeps for local quotas; idle ones are forgotten, and the idlest when it is full."},
};
const struct tr_keys tr_keys_quota_store = {"quota_store", sizeof(struct tr_cfg_quota_store), quota_store_keys, COUNT(quota_store_keys)};

static const struct tr_key load_shedding_keys[] = {
    {.name = "max_lag", .type = TR_KEY_DURATION, .offset = AT(tr_cfg_load_shedding, max_lag), .default_text = "0s", .min = 0, .max = 60 * SECOND, .doc = "Event-loop lag of a worker above which it refuses new requests with 503; 0s: no bound."},
    {.name = "max_memory", .type = TR_KEY_SIZE, .offset = AT(tr_cfg_load_shedding, max_memory), .default_text = "0", .doc = "Resident memory of the process above which new requests are refused with 503; 0: no bound."},
};
const struct tr_keys tr_keys_load_shedding = {"load_shedding", sizeof(struct tr_cfg_load_shedding), load_shedding_keys, COUNT(load_shedding_keys)};

static const struct tr_key access_log_keys[] = {
    {.name = "output", .type = TR_KEY_STRING, .offset = AT(tr_cfg_access_log, output), .default_text = "", .doc = "\"stdout\", \"stderr\" or a file to append to; empty: no access log."},
    {.name = "fields", .type = TR_KEY_STRINGS, .offset = AT(tr_cfg_access_log, fields), .default_text = "", .doc = "Which members a line has, in this order; empty: all but those that must be asked for (see the access log's page)."},
};
const struct tr_keys tr_keys_access_log = {"access_log", sizeof(struct tr_cfg_access_log), access_log_keys, COUNT(access_log_keys)};

/* ---- policies -------------------------------------------------------------------------------- */

static const struct tr_key policy_authentication_keys[] = {
    {.name = "any_of", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_authentication, any_of), .default_text = "", .doc = "One of these must be shown: names of providers, \"api_key\", \"client_certificate\"."},
    {.name = "all_of", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_authentication, all_of), .default_text = "", .doc = "All of these must be shown, beside one of any_of where that is given too."},
    {.name = "allow_missing", .type = TR_KEY_BOOL, .offset = AT(tr_policy_authentication, allow_missing), .default_text = "false", .doc = "Requests without any credential pass, without identity; wrong ones are refused all the same."},
    {.name = "on_unavailable", .type = TR_KEY_ENUM, .offset = AT(tr_policy_authentication, on_unavailable), .default_text = "deny", .choices = "deny allow", .doc = "When a token cannot be verified because its issuer's keys cannot be had: 503, or pass without identity."},
};
const struct tr_keys tr_keys_policy_authentication = {"policies.*.authentication", sizeof(struct tr_policy_authentication), policy_authentication_keys, COUNT(policy_authentication_keys)};

static const struct tr_key policy_authorization_keys[] = {
    {.name = "scopes", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_authorization, scopes), .default_text = "", .doc = "All of these scopes are needed."},
    {.name = "any_scope", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_authorization, any_scope), .default_text = "", .doc = "One of these scopes is needed."},
    {.name = "claims", .type = TR_KEY_LISTS, .offset = AT(tr_policy_authorization, claims), .default_text = "", .doc = "Each of these claims must be, or contain, one of the values given."},
    {.name = "consumers", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_authorization, consumers), .default_text = "", .doc = "Only these consumers of API keys and client certificates."},
};
const struct tr_keys tr_keys_policy_authorization = {"policies.*.authorization", sizeof(struct tr_policy_authorization), policy_authorization_keys, COUNT(policy_authorization_keys)};

static const struct tr_key policy_quota_keys[] = {
    {.name = "name", .type = TR_KEY_STRING, .offset = AT(tr_policy_quota, name), .doc = "Its name in headers and metrics; methods whose quotas have one name share the counter."},
    {.name = "key", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_quota, key), .default_text = "", .doc = "Whose counter: parts of \"claim:NAME\", \"consumer\", \"header:NAME\", \"client_address\", \"client_network\" (of IPv6 the /64), \"method\", \"constant:TEXT\"; empty: one for all."},
    {.name = "limit", .type = TR_KEY_U32, .offset = AT(tr_policy_quota, limit), .min = 1, .max = 1000000000, .doc = "Requests in the window."},
    {.name = "window", .type = TR_KEY_DURATION, .offset = AT(tr_policy_quota, window), .min = 1 * MS, .max = 366 * 86400 * SECOND, .doc = "One request is earned each window/limit."},
    {.name = "burst", .type = TR_KEY_U32, .offset = AT(tr_policy_quota, burst), .default_text = "0", .min = 0, .max = 1000000000, .doc = "Requests at once from idle; 0: limit."},
    {.name = "tiers", .type = TR_KEY_RAW, .offset = AT(tr_policy_quota, tiers), .default_text = "", .doc = "{\"from\": \"claim:NAME\" or \"tier\", TIER: {\"limit\", \"window\", \"burst\"}}: other limits for those who have that value."},
    {.name = "store", .type = TR_KEY_ENUM, .offset = AT(tr_policy_quota, store), .default_text = "shared", .choices = "shared local", .doc = "shared: in quota_store.redis, where that is configured; local: in this process."},
    {.name = "on_failure", .type = TR_KEY_ENUM, .offset = AT(tr_policy_quota, on_failure), .default_text = "store", .choices = "store local allow deny", .doc = "When the store fails; store: as quota_store says."},
    {.name = "before_authentication", .type = TR_KEY_BOOL, .offset = AT(tr_policy_quota, before_authentication), .default_text = "false", .doc = "Check it before authentication; its key must need no identity."},
};
const struct tr_keys tr_keys_policy_quota = {"policies.*.quotas[]", sizeof(struct tr_policy_quota), policy_quota_keys, COUNT(policy_quota_keys)};

static const struct tr_key policy_backoff_keys[] = {
    {.name = "base", .type = TR_KEY_DURATION, .offset = AT(tr_policy_backoff, base), .default_text = "25ms", .min = 1 * MS, .max = 60 * SECOND, .doc = "Upper bound of the first wait; it doubles with each further one. The wait is drawn evenly between nothing and the bound."},
    {.name = "max", .type = TR_KEY_DURATION, .offset = AT(tr_policy_backoff, max), .default_text = "250ms", .min = 1 * MS, .max = 300 * SECOND, .doc = "The bound does not grow beyond this."},
};
static const struct tr_keys policy_backoff_table = {"policies.*.retry.backoff", sizeof(struct tr_policy_backoff), policy_backoff_keys, COUNT(policy_backoff_keys)};

static const struct tr_key policy_retry_keys[] = {
    {.name = "attempts", .type = TR_KEY_U32, .offset = AT(tr_policy_retry, attempts), .default_text = "1", .min = 1, .max = 10, .doc = "Attempts in all, the first one included; 1: no retry but of what the backend never read."},
    {.name = "on", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_retry, on), .default_text = "", .doc = "gRPC codes that are tried again where the method is idempotent; empty: UNAVAILABLE."},
    {.name = "backoff", .type = TR_KEY_OBJECT, .offset = AT(tr_policy_retry, backoff), .default_text = "", .sub = &policy_backoff_table, .doc = "How long to wait before the next attempt."},
    {.name = "per_try_timeout", .type = TR_KEY_DURATION, .offset = AT(tr_policy_retry, per_try_timeout), .default_text = "0s", .min = 0, .max = 86400 * SECOND, .doc = "How long one attempt may take to begin its answer; 0s: as long as the deadline."},
    {.name = "replay_bytes", .type = TR_KEY_SIZE, .offset = AT(tr_policy_retry, replay_bytes), .default_text = "64KiB", .max = 64 * MIB, .doc = "Larger requests are not sent again."},
};
const struct tr_keys tr_keys_policy_retry = {"policies.*.retry", sizeof(struct tr_policy_retry), policy_retry_keys, COUNT(policy_retry_keys)};

static const struct tr_key policy_cors_keys[] = {
    {.name = "origins", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_cors, origins), .default_text = "", .doc = "Origins that scripts may come from: \"https://app.example.com\", \"https://*.example.com\" (one label or more), or \"\\*\" for all, which does not go with credentials."},
    {.name = "allow_headers", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_cors, allow_headers), .default_text = "", .doc = "Request headers that scripts may set; empty: those that they ask for."},
    {.name = "expose_headers", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_cors, expose_headers), .default_text = "", .doc = "Response headers that scripts may read."},
    {.name = "credentials", .type = TR_KEY_BOOL, .offset = AT(tr_policy_cors, credentials), .default_text = "false", .doc = "Whether scripts may send cookies and other credentials."},
    {.name = "max_age", .type = TR_KEY_DURATION, .offset = AT(tr_policy_cors, max_age), .default_text = "10m", .min = 0, .max = 86400 * SECOND, .doc = "How long a browser may remember the answer to its preflight."},
};
const struct tr_keys tr_keys_policy_cors = {"policies.*.cors", sizeof(struct tr_policy_cors), policy_cors_keys, COUNT(policy_cors_keys)};

static const struct tr_key policy_ip_keys[] = {
    {.name = "allow", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_ip, allow), .default_text = "", .doc = "Addresses or networks (\"10.0.0.0/8\", \"2001:db8::/32\") that may ask; empty: all that are not denied."},
    {.name = "deny", .type = TR_KEY_STRINGS, .offset = AT(tr_policy_ip, deny), .default_text = "", .doc = "Addresses or networks that may not, also where `allow` has them."},
};
const struct tr_keys tr_keys_policy_ip = {"policies.*.ip", sizeof(struct tr_policy_ip), policy_ip_keys, COUNT(policy_ip_keys)};
/* clang-format on */
