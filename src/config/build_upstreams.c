/* Listeners, upstreams and descriptor sets of a snapshot. */
#include "config/build.h"
#include "http/uri.h"
#include "io/listener.h"
#include "upstream/eslot.h"

static void add_status(struct tr_build *b, struct tr_span where, const struct tr_status *st)
{
    struct tr_span text = tr_status_text(st);
    tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where, "%.*s", (int)text.len, text.ptr);
}

static void on_link_problem(void *ctx, const struct tr_status *st)
{
    add_status(ctx, TR_SPAN("/descriptors"), st);
}

static bool builtin_bytes(struct tr_build *b, struct tr_span name, struct tr_span *ret)
{
    for (const struct tr_builtin_set *s = b->builtin; s && s->name.ptr; s++) {
        if (tr_span_eq(s->name, name)) {
            *ret = s->bytes;
            return true;
        }
    }
    return false;
}

void tr_build_descriptors(struct tr_build *b)
{
    struct tr_snapshot *snap = b->snap;
    struct tr_status st;
    tr_status_clear(&st);
    if (tr_typepool_new(&snap->pool)) {
        tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/descriptors"), "out of memory");
        return;
    }
    for (uint32_t i = 0; i < snap->config.descriptors.count; i++) {
        struct tr_span path = snap->config.descriptors.items[i], bytes;
        struct tr_span where = tr_build_where(b, "/descriptors/%u", i);
        struct tr_arena file; /* the set's bytes are not needed once its types are taken in */
        if (!path.ptr)
            continue;
        tr_arena_init(&file, NULL);
        tr_status_clear(&st);
        enum tr_err err = TR_OK;
        if (!builtin_bytes(b, path, &bytes))
            err = tr_file_read(path, &file, &bytes, &st);
        if (!err)
            err = tr_typepool_add(snap->pool, bytes, &st);
        if (err)
            add_status(b, where, &st);
        tr_arena_fini(&file);
    }
    tr_status_clear(&st);
    (void)!tr_typepool_link(snap->pool, on_link_problem, b, &st);
}

static struct tr_tls_ctx *listener_tls(struct tr_build *b, const struct tr_cfg_listener_tls *tls,
                                       struct tr_span where)
{
    const struct tr_cfg_certificate *more = tls->certificates.items;
    size_t count = 1 + (size_t)tls->certificates.count;
    struct tr_tls_certificate *certs = tr_arena_calloc(&b->snap->arena, count, sizeof *certs);
    struct tr_tls_ctx *ctx = NULL;
    struct tr_status st;
    if (!certs || !tls->certificate.ptr || !tls->private_key.ptr)
        return NULL;
    certs[0] = (struct tr_tls_certificate){tls->certificate, tls->private_key};
    for (uint32_t i = 0; i < tls->certificates.count; i++)
        certs[1 + i] = (struct tr_tls_certificate){more[i].certificate, more[i].private_key};
    if (tls->client_certificate != TR_TLS_CLIENT_NONE && tls->client_ca.len == 0) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                   "client_certificate needs client_ca");
        return NULL;
    }
    if (tls->client_certificate == TR_TLS_CLIENT_NONE && tls->client_ca.len)
        tr_problem(&b->snap->problems, TR_PROBLEM_WARNING, where,
                   "client_ca is not used: client_certificate is neither optional nor required");
    struct tr_tls_server_params params = {certs, count, tls->client_ca,
                                          (enum tr_tls_client_certificate)tls->client_certificate};
    tr_status_clear(&st);
    if (tr_tls_server_new(&params, &ctx, &st))
        add_status(b, where, &st);
    return ctx;
}

/* An address as io/addr.h reads it; the path of a socket is relative to the file, as all paths are.
 */
static enum tr_err parse_addr(struct tr_build *b, struct tr_span text, struct tr_addr *ret_addr,
                              struct tr_status *st)
{
    struct tr_span path =
        tr_span_starts(text, TR_SPAN("unix:")) ? tr_span_from(text, 5) : TR_SPAN("/");
    if (path.len == 0 || path.ptr[0] == '/' || path.ptr[0] == '@' || b->folder.len == 0)
        return tr_addr_parse(text, ret_addr, st);
    struct tr_span whole = tr_build_where(b, "unix:%.*s/%.*s", (int)b->folder.len, b->folder.ptr,
                                          (int)path.len, path.ptr);
    return tr_addr_parse(whole, ret_addr, st);
}

static bool has_port_zero(const struct tr_addr *addr)
{
    char text[TR_ADDR_TEXT_MAX];
    return addr->ss.ss_family != AF_UNIX && tr_span_ends(tr_addr_text(addr, text), TR_SPAN(":0"));
}

/* Sockets of one process may share an address (workers do): the kernel would spread connections
 * over two listeners, or over a listener and the operator's endpoints. */
static void refuse_taken(struct tr_build *b, const struct tr_addr *addr, uint32_t listeners,
                         struct tr_span where)
{
    char mine[TR_ADDR_TEXT_MAX], other[TR_ADDR_TEXT_MAX];
    struct tr_span text = tr_addr_text(addr, mine);
    if (addr->len == 0 || has_port_zero(addr))
        return;
    for (uint32_t i = 0; i < listeners; i++) {
        const struct tr_addr *taken = &b->snap->listeners[i].addr;
        if (taken->len && tr_span_eq(text, tr_addr_text(taken, other))) {
            tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                       "%.*s is the address of /listeners/%u already", (int)text.len, text.ptr, i);
            return;
        }
    }
}

static void check_admin(struct tr_build *b)
{
    struct tr_snapshot *snap = b->snap;
    struct tr_status st;
    tr_status_clear(&st);
    if (snap->config.admin.address.len == 0)
        return;
    if (parse_addr(b, snap->config.admin.address, &snap->admin_addr, &st))
        add_status(b, TR_SPAN("/admin/address"), &st);
    refuse_taken(b, &snap->admin_addr, snap->listener_count, TR_SPAN("/admin/address"));
}

void tr_build_listeners(struct tr_build *b)
{
    struct tr_snapshot *snap = b->snap;
    const struct tr_cfg_listener *cfg = snap->config.listeners.items;
    uint32_t count = snap->config.listeners.count;
    if (count == 0) {
        struct tr_cfg_listener *one = TR_ARENA_NEW(&snap->arena, struct tr_cfg_listener);
        if (!one)
            return;
        one->address = TR_SPAN("0.0.0.0:8080");
        one->max_connections = 10000;
        cfg = one;
        count = 1;
    }
    snap->listeners = tr_arena_calloc(&snap->arena, count, sizeof *snap->listeners);
    if (!snap->listeners)
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct tr_listener_conf *l = &snap->listeners[snap->listener_count++];
        struct tr_status st;
        tr_status_clear(&st);
        l->cfg = &cfg[i];
        if (cfg[i].address.ptr && parse_addr(b, cfg[i].address, &l->addr, &st))
            add_status(b, tr_build_where(b, "/listeners/%u/address", i), &st);
        refuse_taken(b, &l->addr, i, tr_build_where(b, "/listeners/%u/address", i));
        if (cfg[i].tls)
            l->tls = listener_tls(b, cfg[i].tls, tr_build_where(b, "/listeners/%u/tls", i));
    }
    check_admin(b);
}

static bool is_numeric_host(struct tr_span text)
{
    if (text.len && text.ptr[0] == '[')
        return true;
    for (size_t i = 0; i < text.len; i++)
        if (!tr_is_digit(text.ptr[i]) && text.ptr[i] != '.' && text.ptr[i] != ':')
            return false;
    return text.len > 0;
}

static bool is_name(struct tr_span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!tr_is_alpha(s.ptr[i]) && !tr_is_digit(s.ptr[i]) && s.ptr[i] != '-' &&
            s.ptr[i] != '.' && s.ptr[i] != '_')
            return false;
    return s.len > 0;
}

/* "dns:///name:port", "dns:name:port", or "name:port" alone; false: it is no name. */
static bool dns_endpoint(struct tr_span text, struct tr_endpoint_conf *ep)
{
    struct tr_span rest;
    if (tr_span_starts(text, TR_SPAN("dns:///")))
        rest = tr_span_from(text, 7);
    else if (tr_span_starts(text, TR_SPAN("dns:")))
        rest = tr_span_from(text, 4);
    else if (!is_numeric_host(text))
        rest = text;
    else
        return false;
    size_t colon = tr_span_rfind(rest, ':');
    uint64_t port;
    ep->host = is_name(tr_span(rest.ptr, colon)) ? tr_span(rest.ptr, colon) : TR_SPAN("");
    ep->authority = rest;
    if (colon == rest.len || colon == 0 || !tr_span_u64(tr_span_from(rest, colon + 1), &port) ||
        port == 0 || port > 65535)
        ep->host.len = 0; /* reported by the caller */
    else
        ep->port = (uint16_t)port;
    return true;
}

static void endpoint(struct tr_build *b, const struct tr_cfg_endpoint *cfg, struct tr_span where,
                     struct tr_endpoint_conf *ep)
{
    struct tr_status st;
    tr_status_clear(&st);
    ep->text = cfg->address;
    ep->weight = cfg->weight;
    ep->authority = cfg->address;
    if (!cfg->address.ptr)
        return;
    if (tr_span_starts(cfg->address, TR_SPAN("unix:"))) {
        ep->authority = TR_SPAN("localhost");
    } else if (dns_endpoint(cfg->address, ep)) {
        if (ep->host.len == 0)
            tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                       "expected host:port, [v6]:port, dns:///name:port or unix:path");
        return;
    }
    if (parse_addr(b, cfg->address, &ep->addr, &st))
        add_status(b, where, &st);
    else if (has_port_zero(&ep->addr))
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where, "the port must be 1 to 65535");
}

static struct tr_tls_ctx *upstream_tls(struct tr_build *b, const struct tr_cfg_upstream_tls *tls,
                                       struct tr_span where)
{
    struct tr_tls_ctx *ctx = NULL;
    struct tr_status st;
    struct tr_tls_client_params params = {tls->ca, tls->certificate, tls->private_key, true};
    if ((tls->certificate.len == 0) != (tls->private_key.len == 0)) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                   "certificate and private_key go together");
        return NULL;
    }
    tr_status_clear(&st);
    if (tr_tls_client_new(&params, &ctx, &st))
        add_status(b, where, &st);
    return ctx;
}

/* Places for what all workers know of endpoints: those of names come and go. */
static bool shared_slots(struct tr_arena *arena, const struct tr_upstream_conf *conf,
                         struct tr_upstream_shared *shared)
{
    uint32_t count = 0, names = 0;
    for (uint32_t i = 0; i < conf->endpoint_count; i++) {
        names += conf->endpoints[i].host.len > 0;
        count += conf->endpoints[i].host.len == 0;
    }
    if (!conf->outlier && !conf->health)
        return true;
    count += names ? TR_ESLOTS_FOR_NAMES : 0;
    shared->slots = tr_arena_calloc(arena, count ? count : 1, sizeof *shared->slots);
    shared->slot_count = shared->slots ? count : 0;
    return shared->slots != NULL;
}

static bool resilience(struct tr_arena *arena, const struct tr_cfg_upstream *cfg,
                       struct tr_upstream_conf *conf)
{
    if (cfg->circuit_breaker) {
        const struct tr_cfg_circuit_breaker *from = cfg->circuit_breaker;
        struct tr_breaker_conf *to = TR_ARENA_NEW(arena, struct tr_breaker_conf);
        if (!to)
            return false;
        *to = (struct tr_breaker_conf){from->failure_ratio, from->minimum_requests, from->window,
                                       from->open_for, from->probes};
        conf->breaker = to;
    }
    if (cfg->outlier_detection) {
        const struct tr_cfg_outlier_detection *from = cfg->outlier_detection;
        struct tr_outlier_conf *to = TR_ARENA_NEW(arena, struct tr_outlier_conf);
        if (!to)
            return false;
        *to = (struct tr_outlier_conf){from->consecutive_failures, from->base_ejection,
                                       from->max_ejected_percent};
        conf->outlier = to;
    }
    if (cfg->health_check) {
        const struct tr_cfg_health_check *from = cfg->health_check;
        struct tr_health_conf *to = TR_ARENA_NEW(arena, struct tr_health_conf);
        if (!to)
            return false;
        *to = (struct tr_health_conf){from->interval, from->timeout, from->service};
        conf->health = to;
    }
    conf->slow_start_ns = cfg->slow_start;
    conf->budget =
        (struct tr_budget_conf){cfg->retry_budget.percent, cfg->retry_budget.min_per_second};
    return true;
}

static struct tr_span lower_copy(struct tr_arena *arena, struct tr_span s)
{
    char *p = tr_arena_alloc(arena, s.len + 1);
    for (size_t i = 0; p && i < s.len; i++)
        p[i] = tr_lower(s.ptr[i]);
    return tr_span(p, p ? s.len : 0);
}

/* "header:NAME", "claim:NAME", "field:NAME". */
static void hash_on(struct tr_build *b, const struct tr_cfg_upstream *cfg, struct tr_span where,
                    struct tr_upstream_conf *conf)
{
    static const struct tr_span kinds[] = {
        [TR_HASH_ON_HEADER] = TR_SPAN_INIT("header:"),
        [TR_HASH_ON_CLAIM] = TR_SPAN_INIT("claim:"),
        [TR_HASH_ON_FIELD] = TR_SPAN_INIT("field:"),
    };
    bool ring = cfg->load_balancing == TR_BALANCE_RING_HASH;
    for (int k = TR_HASH_ON_HEADER; k <= TR_HASH_ON_FIELD; k++) {
        if (tr_span_starts(cfg->hash_on, kinds[k]) && cfg->hash_on.len > kinds[k].len) {
            conf->hash_on = (enum tr_hash_on)k;
            conf->hash_name = tr_span_from(cfg->hash_on, kinds[k].len);
        }
    }
    if (conf->hash_on == TR_HASH_ON_HEADER) {
        if (!tr_http_is_token(conf->hash_name))
            conf->hash_on = TR_HASH_ON_NOTHING;
        conf->hash_name = lower_copy(&b->snap->arena, conf->hash_name);
    }
    if ((ring || cfg->hash_on.len) && conf->hash_on == TR_HASH_ON_NOTHING)
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                   "expected header:NAME, claim:NAME or field:NAME");
    else if (!ring && cfg->hash_on.len)
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                   "hash_on is only used with load_balancing ring_hash");
}

static void upstream(struct tr_build *b, const struct tr_cfg_upstream *cfg, struct tr_upstream *up)
{
    struct tr_arena *arena = &b->snap->arena;
    struct tr_upstream_conf *conf = TR_ARENA_NEW(arena, struct tr_upstream_conf);
    struct tr_endpoint_conf *eps = tr_arena_calloc(arena, cfg->endpoints.count + 1, sizeof *eps);
    up->shared = TR_ARENA_NEW(arena, struct tr_upstream_shared);
    if (!conf || !eps || !up->shared)
        return;
    const struct tr_cfg_endpoint *ecfg = cfg->endpoints.items;
    for (uint32_t i = 0; i < cfg->endpoints.count; i++)
        endpoint(
            b, &ecfg[i],
            tr_build_where(b, "/upstreams/%.*s/endpoints/%u", (int)cfg->name.len, cfg->name.ptr, i),
            &eps[i]);
    if (cfg->authority.len && !tr_uri_is_authority(cfg->authority))
        tr_problem(
            &b->snap->problems, TR_PROBLEM_ERROR,
            tr_build_where(b, "/upstreams/%.*s/authority", (int)cfg->name.len, cfg->name.ptr),
            "expected a host with or without a port");
    if (cfg->endpoints.count == 0)
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR,
                   tr_build_where(b, "/upstreams/%.*s", (int)cfg->name.len, cfg->name.ptr),
                   "at least one endpoint is needed");
    *conf = (struct tr_upstream_conf){
        .name = cfg->name,
        .endpoints = eps,
        .endpoint_count = cfg->endpoints.count,
        .authority = cfg->authority,
        .balance = (enum tr_balance)cfg->load_balancing,
        .connect_timeout_ns = cfg->connect_timeout,
        .max_connections = cfg->max_connections,
        .max_requests = cfg->max_requests,
        .max_pending = cfg->max_pending,
        .max_header_bytes = (uint32_t)cfg->max_response_header_bytes,
    };
    if (cfg->tls) {
        conf->tls = upstream_tls(
            b, cfg->tls,
            tr_build_where(b, "/upstreams/%.*s/tls", (int)cfg->name.len, cfg->name.ptr));
        conf->server_name = cfg->tls->server_name;
    }
    hash_on(b, cfg, tr_build_where(b, "/upstreams/%.*s/hash_on", (int)cfg->name.len, cfg->name.ptr),
            conf);
    if (!resilience(arena, cfg, conf) || !shared_slots(arena, conf, up->shared))
        return; /* the arena remembers: the snapshot fails for want of memory */
    up->conf = conf;
}

void tr_build_upstreams(struct tr_build *b)
{
    struct tr_snapshot *snap = b->snap;
    const struct tr_cfg_upstream *cfg = snap->config.upstreams.items;
    uint32_t count = snap->config.upstreams.count;
    snap->upstreams = tr_arena_calloc(&snap->arena, count + 1, sizeof *snap->upstreams);
    if (!snap->upstreams)
        return;
    for (uint32_t i = 0; i < count; i++) {
        snap->upstreams[i].index = i;
        upstream(b, &cfg[i], &snap->upstreams[i]);
    }
    snap->upstream_count = count;
}
