/* The access log: one line for each request, also for those that no filter saw.
 *
 * Filters run only where a route was found, so that the line is not made by `done`: the exchange
 * calls w->on_finish once, whatever happened. The filter here has the life of what is needed for
 * it: fields and configuration version, the writer, each worker's buffer. */
#include "base/alloc.h"
#include "filters/query_mask.h"
#include "filters/registry.h"
#include "obs/accesslog.h"
#include "obs/expo.h"
#include "obs/logwriter.h"
#include "pipeline/client_addr.h"
#include "route/path.h"

#include <stdatomic.h>
#include <time.h>

#define RING_BYTES ((size_t)1024 * 1024) /* of each worker */

struct conf {
    struct tr_access_fields fields;
    struct tr_span output, version;
    struct tr_strings credentials; /* parameters of the query that carry them */
};

struct control {
    struct tr_logwriter *writer;
    _Atomic uint32_t producers; /* given to workers */
};

struct worker {
    const struct conf *conf;
    struct tr_logwriter *writer;
    uint32_t producer;
    struct tr_buf line;
    bool key_filter[TR_FILTER__COUNT], quota_filter[TR_FILTER__COUNT]; /* whose waits these are */
};

/* ---- load ------------------------------------------------------------------------------------ */

static void read_fields(struct tr_snapshot *snap, struct tr_access_fields *ret_fields)
{
    const struct tr_strings *names = &snap->config.access_log.fields;
    if (names->count == 0) {
        tr_access_fields_default(ret_fields);
        return;
    }
    ret_fields->count = 0;
    for (uint32_t i = 0; i < names->count; i++) {
        struct tr_span name = names->items[i];
        enum tr_access_field field = tr_access_field_from(name);
        if (field == TR_ACCESS__COUNT)
            tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/access_log/fields"),
                       "no field is named \"%.*s\"", (int)(name.len < 100 ? name.len : 100),
                       name.ptr);
        else if (tr_access_fields_has(ret_fields, field))
            tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/access_log/fields"),
                       "\"%.*s\" is named twice", (int)name.len, name.ptr);
        else
            ret_fields->items[ret_fields->count++] = (uint8_t)field;
    }
}

/* "stdout", "stderr", or a path from the file's folder. */
static struct tr_span output_of(struct tr_snapshot *snap)
{
    struct tr_span s = snap->config.access_log.output;
    if (tr_span_eq(s, TR_SPAN("stdout")) || tr_span_eq(s, TR_SPAN("stderr")) ||
        tr_span_starts(s, TR_SPAN("/")) || snap->folder.len == 0)
        return s;
    size_t len = snap->folder.len + 1 + s.len;
    char *p = tr_arena_alloc(&snap->arena, len);
    if (!p)
        return tr_span(NULL, 0);
    memcpy(p, snap->folder.ptr, snap->folder.len);
    p[snap->folder.len] = '/';
    memcpy(p + snap->folder.len + 1, s.ptr, s.len);
    return tr_span(p, len);
}

/* Where the configuration has tokens and keys come from the query. */
static enum tr_err read_credentials(struct tr_snapshot *snap, struct tr_strings *ret_names)
{
    const struct tr_cfg_authentication *a = snap->config.authentication;
    const struct tr_cfg_provider *providers = a ? a->providers.items : NULL;
    uint32_t count = a ? a->providers.count : 0;
    struct tr_span *names = tr_arena_calloc(&snap->arena, count + 1u, sizeof *names);
    if (!names)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        names[i] = providers[i].token_query;
    names[count] = a && a->api_keys ? a->api_keys->query : TR_SPAN("");
    *ret_names = (struct tr_strings){names, count + 1u};
    return TR_OK;
}

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    struct conf *conf = TR_ARENA_NEW(&snap->arena, struct conf);
    char *version = tr_arena_alloc(&snap->arena, 16);
    if (!conf || !version)
        return TR_ERR_NOMEM;
    read_fields(snap, &conf->fields);
    if (snap->config.access_log.output.len == 0)
        return TR_OK;
    conf->output = output_of(snap);
    uint64_t hash = tr_span_hash(snap->problems.text, 0);
    for (size_t i = 0; i < 16; i++, hash <<= 4)
        version[i] = "0123456789abcdef"[hash >> 60];
    conf->version = tr_span(version, 16);
    *ret_conf = conf;
    return conf->output.ptr ? read_credentials(snap, &conf->credentials) : TR_ERR_NOMEM;
}

static enum tr_err control_start(const struct tr_control *control, const struct tr_snapshot *snap,
                                 void *conf, void **ret_control, struct tr_status *st)
{
    const struct conf *c = conf;
    (void)snap;
    if (!c)
        return TR_OK;
    struct control *ours = tr_calloc(1, sizeof *ours);
    *ret_control = ours;
    return ours ? tr_logwriter_new(c->output, control->worker_count, RING_BYTES, &ours->writer, st)
                : TR_ERR_NOMEM;
}

static void control_stop(void *control)
{
    struct control *ours = control;
    tr_logwriter_free(ours->writer);
    tr_free(ours);
}

/* ---- a request ------------------------------------------------------------------------------- */

static struct tr_span header(const struct tr_exchange *x, struct tr_span name)
{
    const struct tr_header *h = tr_headers_find_name(&x->hs->head.headers, name);
    return h ? h->value : TR_SPAN("");
}

static struct tr_span request_id(const struct tr_exchange *x)
{
    const struct tr_headers *from = x->metadata_made ? &x->metadata : &x->hs->head.headers;
    const struct tr_header *h = tr_headers_find(from, TR_TOKEN_X_REQUEST_ID, NULL);
    bool good = h && h->value.len <= 128 && tr_http_is_token(h->value) &&
                !tr_headers_find(from, TR_TOKEN_X_REQUEST_ID, h);
    return good ? h->value : TR_SPAN("");
}

/* Of "00-<32 hex digits>-<16>-<2>" (W3C Trace Context). */
static struct tr_span trace_id(const struct tr_exchange *x)
{
    const struct tr_header *h = tr_headers_find(&x->hs->head.headers, TR_TOKEN_TRACEPARENT, NULL);
    if (!h || h->value.len < 55 || h->value.ptr[2] != '-' || h->value.ptr[35] != '-')
        return TR_SPAN("");
    for (size_t i = 3; i < 35; i++)
        if (tr_hex_value(h->value.ptr[i]) < 0)
            return TR_SPAN("");
    return tr_span_sub(h->value, 3, 32);
}

static struct tr_span fail_open(const struct tr_exchange *x)
{
    static const struct tr_span words[4] = {TR_SPAN_INIT(""), TR_SPAN_INIT("authentication"),
                                            TR_SPAN_INIT("quota"),
                                            TR_SPAN_INIT("authentication,quota")};
    return words[x->fail_open & 3];
}

/* As the router sees it, where it is well-formed; native gRPC compares bytes. */
static struct tr_span path_of(struct tr_exchange *x)
{
    struct tr_span path = x->hs->head.path, canonical;
    struct tr_status st;
    if (tr_span_find(path, '%') == path.len || x->dialect != &tr_dialect_rest ||
        tr_path_check(path, &st) || tr_path_canonical(path, &x->hs->arena, &canonical))
        return path;
    return canonical;
}

static void put_request(struct tr_exchange *x, struct tr_access_entry *e)
{
    const struct tr_req_head *head = &x->hs->head;
    const struct tr_peer *peer = x->hs->conn->user;
    e->text[TR_ACCESS_REQUEST_ID] = request_id(x);
    e->text[TR_ACCESS_CLIENT] = tr_client_addr_text(x);
    e->text[TR_ACCESS_PEER] = peer ? tr_span(peer->ip, peer->ip_len) : TR_SPAN("");
    e->number[TR_ACCESS_TLS] = peer && peer->tls;
    e->text[TR_ACCESS_HTTP] = head->version >= 20   ? TR_SPAN("2")
                              : head->version == 10 ? TR_SPAN("1.0")
                                                    : TR_SPAN("1.1");
    e->text[TR_ACCESS_METHOD] = head->method_text;
    e->text[TR_ACCESS_AUTHORITY] = head->authority;
    e->text[TR_ACCESS_PATH] = path_of(x);
    e->text[TR_ACCESS_DIALECT] = x->dialect->name ? tr_span_cstr(x->dialect->name) : TR_SPAN("");
    e->number[TR_ACCESS_BYTES_IN] = x->bytes_in;
    e->number[TR_ACCESS_BYTES_OUT] = x->bytes_out;
}

/* Room for what is not in the request as it is logged. */
struct texts {
    char time[TR_ACCESSLOG_TIME_LEN], query[TR_QUERY_MASK_MAX], referer[TR_QUERY_MASK_MAX];
};

/* Searched for only where they are asked for. */
static void put_headers(const struct tr_exchange *x, const struct conf *conf,
                        struct tr_access_entry *e, struct texts *texts)
{
    const struct tr_access_fields *fields = &conf->fields;
    static const struct {
        enum tr_access_field field;
        struct tr_span name;
    } asked[] = {{TR_ACCESS_USER_AGENT, TR_SPAN_INIT("user-agent")},
                 {TR_ACCESS_REFERER, TR_SPAN_INIT("referer")},
                 {TR_ACCESS_ORIGIN, TR_SPAN_INIT("origin")}};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        if (tr_access_fields_has(fields, asked[i].field))
            e->text[asked[i].field] = header(x, asked[i].name);
    if (tr_access_fields_has(fields, TR_ACCESS_TRACE_ID))
        e->text[TR_ACCESS_TRACE_ID] = trace_id(x);
    struct tr_span *referer = &e->text[TR_ACCESS_REFERER], query = x->hs->head.query;
    if (referer->len)
        *referer = tr_query_mask_url(texts->referer, *referer, &conf->credentials);
    if (query.len && tr_access_fields_has(fields, TR_ACCESS_QUERY))
        e->text[TR_ACCESS_QUERY] = tr_query_mask(texts->query, query, &conf->credentials);
}

static void put_end(const struct tr_exchange *x, struct tr_access_entry *e)
{
    if (x->route) {
        e->text[TR_ACCESS_ROUTE] = x->route->label;
        e->text[TR_ACCESS_RPC] = x->route->rpc->full_name;
        e->text[TR_ACCESS_UPSTREAM] = x->route->upstream->conf->name;
    }
    if (x->call.endpoint)
        e->text[TR_ACCESS_ENDPOINT] = x->call.endpoint->text;
    e->number[TR_ACCESS_ATTEMPTS] = x->attempts;
    e->number[TR_ACCESS_STATUS] = x->http_status ? x->http_status : x->end.http_status;
    e->number[TR_ACCESS_GRPC_CODE] = x->end.code;
    if (x->end.err && !x->end.from_backend)
        e->text[TR_ACCESS_REASON] = tr_span_cstr(tr_err_info(x->end.err)->name);
    if (x->identity && x->identity->count)
        e->text[TR_ACCESS_PROVIDER] = x->identity->items[0].provider;
    e->text[TR_ACCESS_SUBJECT] = tr_identity_subject(x->identity);
    e->text[TR_ACCESS_CONSUMER] = tr_identity_consumer(x->identity);
    e->text[TR_ACCESS_FAIL_OPEN] = fail_open(x);
    if (x->fail_open & TR_FAIL_LOCAL_QUOTA)
        e->text[TR_ACCESS_FAIL_LOCAL] = TR_SPAN("quota");
}

static void put_time(const struct tr_exchange *x, const struct worker *w, struct tr_access_entry *e,
                     char *text)
{
    const uint64_t *spent = x->spent_ns;
    uint64_t *us = e->number, start = x->hs->start_ns;
    struct timespec t;
    us[TR_ACCESS_HEAD] = spent[TR_STEP_ROUTE] / 1000;
    us[TR_ACCESS_FILTERS] = spent[TR_STEP_ADMIT] / 1000;
    us[TR_ACCESS_BODY] = spent[TR_STEP_RECEIVE] / 1000;
    us[TR_ACCESS_RETRIES] = spent[TR_STEP_RETRY] / 1000;
    us[TR_ACCESS_CONNECT] = x->connect_ns / 1000;
    us[TR_ACCESS_FIRST_BYTE] = (spent[TR_STEP_ACQUIRE] - x->connect_ns) / 1000;
    us[TR_ACCESS_LAST_BYTE] = (spent[TR_STEP_RELAY] + spent[TR_STEP_REPLY]) / 1000;
    us[TR_ACCESS_DURATION] = us[TR_ACCESS_HEAD] + us[TR_ACCESS_FILTERS] + us[TR_ACCESS_BODY] +
                             us[TR_ACCESS_RETRIES] + us[TR_ACCESS_CONNECT] +
                             us[TR_ACCESS_FIRST_BYTE] + us[TR_ACCESS_LAST_BYTE];
    us[TR_ACCESS_DEADLINE] = x->deadline_ns > start ? (x->deadline_ns - start) / 1000 : 0;
    for (uint32_t i = 0; i < TR_FILTER__COUNT; i++) {
        us[TR_ACCESS_KEY_WAIT] += w->key_filter[i] ? x->waits_us[i] : 0;
        us[TR_ACCESS_QUOTA_WAIT] += w->quota_filter[i] ? x->waits_us[i] : 0;
    }
    (void)clock_gettime(CLOCK_REALTIME, &t);
    int64_t now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    e->text[TR_ACCESS_TIME] =
        tr_accesslog_time(text, now_ms - (int64_t)(us[TR_ACCESS_DURATION] / 1000));
}

static void on_finish(struct tr_exchange *x)
{
    struct worker *w = tr_filter_worker(x, TR_FILTER_ACCESS_LOG);
    struct tr_access_entry entry;
    struct texts texts;
    memset(&entry, 0, sizeof entry);
    put_request(x, &entry);
    put_headers(x, w->conf, &entry, &texts);
    put_end(x, &entry);
    put_time(x, w, &entry, texts.time);
    entry.text[TR_ACCESS_CONFIG] = w->conf->version;
    if (tr_accesslog_format(&w->line, &w->conf->fields, &entry) == TR_OK)
        (void)tr_logwriter_put(w->writer, w->producer, tr_buf_span(&w->line));
}

/* ---- workers --------------------------------------------------------------------------------- */

static enum tr_err worker_start(struct tr_pworker *w, void *conf, void *control, void **ret_worker)
{
    struct control *ours = control;
    if (!ours)
        return TR_OK;
    struct worker *own = tr_calloc(1, sizeof *own);
    *ret_worker = own;
    if (!own || tr_buf_reserve(&own->line, TR_ACCESSLOG_BUF_BYTES))
        return TR_ERR_NOMEM;
    own->conf = conf;
    own->writer = ours->writer;
    own->producer = atomic_fetch_add_explicit(&ours->producers, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < w->filter_count && i < TR_FILTER__COUNT; i++) {
        struct tr_span name = tr_span_cstr(w->filters[i]->name);
        own->quota_filter[i] = tr_span_starts(name, TR_SPAN("quota"));
        own->key_filter[i] = w->filters[i]->phase == TR_PHASE_AUTHN && !own->quota_filter[i];
    }
    w->on_finish = on_finish;
    return TR_OK;
}

static void worker_stop(void *worker)
{
    struct worker *own = worker;
    tr_buf_fini(&own->line);
    tr_free(own);
}

static void metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t count)
{
    const struct control *ours = control;
    (void)snap;
    (void)conf;
    (void)workers;
    (void)count;
    tr_expo_u64(e, TR_METRIC_ACCESS_LOG_DROPPED, NULL,
                ours ? tr_logwriter_dropped(ours->writer) : 0);
}

const struct tr_filter tr_filter_access_log = {
    .name = "access_log",
    .phase = TR_PHASE_BODY,
    .prepare = prepare,
    .control_start = control_start,
    .control_stop = control_stop,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .metrics = metrics,
};
