#include "filters/jwks_refresh.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/rand.h"
#include "http/h1_fetch.h"

#define SECOND      UINT64_C(1000000000)
#define DOCUMENT_NS (3600 * SECOND) /* how long what discovery said is believed */

struct tr_jwks_refresh {
    const struct tr_control *control;
    struct tr_jwks_source source;
    struct tr_tls_ctx *tls; /* NULL: nothing is https */
    struct tr_buf document; /* URL of the discovery document; empty: none */
    struct tr_jwks_schedule schedule;
    struct tr_timer timer;
    struct tr_rand rand;
    struct tr_h1_fetch *fetch; /* NULL: no attempt is under way */
    bool discovering;          /* fetch is of the document */
    size_t found_len;          /* what discovery gave; 0: not known */
    uint64_t found_ns;
    char found[TR_H1_FETCH_URL_MAX];
    struct tr_jwks *set;      /* in use; NULL: none */
    enum tr_jwks_state state; /* as published */
    struct tr_jwks_view **views;
    uint32_t view_count;
    uint64_t fetches, failures, refused;
};

static uint64_t now_of(const struct tr_jwks_refresh *r)
{
    return tr_loop_now_ns(r->control->loop);
}

/* -- publishing ------------------------------------------------------------------------------- */

static void publish(struct tr_jwks_refresh *r, enum tr_jwks_state state)
{
    r->state = state;
    for (uint32_t i = 0; i < r->view_count; i++)
        tr_jwks_view_publish(r->views[i], r->set, state, &r->schedule);
}

/* What time alone changes. */
static void age(struct tr_jwks_refresh *r)
{
    enum tr_jwks_state state = tr_jwks_schedule_state(&r->schedule, now_of(r));
    if (state == r->state)
        return;
    if (state == TR_JWKS_NONE) {
        tr_log(TR_LOG_ERROR, "jwks of %.*s: the keys are too old to be used; there are none now",
               (int)r->source.name.len, r->source.name.ptr);
        tr_jwks_unref(r->set);
        r->set = NULL;
    } else if (state == TR_JWKS_STALE) {
        tr_log(TR_LOG_WARN, "jwks of %.*s: the keys are stale, and used on",
               (int)r->source.name.len, r->source.name.ptr);
    }
    publish(r, state);
}

static void arm(struct tr_jwks_refresh *r)
{
    uint64_t now = now_of(r), wake = tr_jwks_schedule_wake_ns(&r->schedule, now);
    if (wake == UINT64_MAX)
        return;
    if (tr_timer_start(&r->timer, wake > now ? wake - now : 0) != TR_OK)
        tr_log(TR_LOG_ERROR, "jwks of %.*s: no memory for a timer", (int)r->source.name.len,
               r->source.name.ptr);
}

/* -- one attempt ------------------------------------------------------------------------------ */

/* The schedule knows how it ended: tell those who wait. */
static void ended(struct tr_jwks_refresh *r)
{
    age(r);
    for (uint32_t i = 0; i < r->view_count; i++)
        tr_jwks_view_answer(r->views[i], UINT32_MAX, &r->schedule);
    arm(r);
}

static void failed(struct tr_jwks_refresh *r, const struct tr_status *st)
{
    uint64_t now = now_of(r);
    struct tr_span why = tr_status_text(st);
    r->failures++;
    if (!r->discovering) /* perhaps the keys have moved */
        r->found_len = 0;
    tr_jwks_schedule_failed(&r->schedule, now, tr_rand_u64(&r->rand));
    tr_log(TR_LOG_WARN, "jwks of %.*s: %s failed: %.*s; again in %.1f s", (int)r->source.name.len,
           r->source.name.ptr, r->discovering ? "discovery" : "fetch", (int)why.len, why.ptr,
           (double)(r->schedule.next_ns - now) / 1e9);
    ended(r);
}

static void succeeded(struct tr_jwks_refresh *r, struct tr_jwks *set, int64_t max_age_s)
{
    bool same = r->set && tr_jwks_equal(r->set, set);
    r->fetches++;
    tr_jwks_schedule_ok(&r->schedule, now_of(r), max_age_s, tr_rand_u64(&r->rand));
    if (same) {
        tr_jwks_unref(set);
    } else {
        uint32_t skipped = 0;
        for (unsigned i = 0; i < TR_JWKS_SKIP__COUNT; i++)
            skipped += tr_jwks_skipped(set, (enum tr_jwks_skip)i);
        tr_log(TR_LOG_INFO, "jwks of %.*s: %u keys, %u of them not usable", (int)r->source.name.len,
               r->source.name.ptr, tr_jwks_count(set) + skipped, skipped);
        tr_jwks_unref(r->set);
        r->set = set;
        publish(r, TR_JWKS_FRESH);
    }
    ended(r);
}

static void fetch_keys(struct tr_jwks_refresh *r);

static void on_document(struct tr_jwks_refresh *r, const struct tr_h1_fetch_result *result)
{
    struct tr_status st;
    struct tr_h1_url url;
    size_t len = 0;
    tr_status_clear(&st);
    enum tr_err err =
        tr_jwks_discovery(result->body, r->source.issuer, r->found, sizeof r->found, &len, &st);
    r->found_len = 0;
    if (!err) {
        err = tr_h1_url_parse(tr_span(r->found, len), &url, &st);
        if (!err && !url.https)
            err = tr_fail(&st, TR_ERR_AUTH_UNAVAILABLE, "jwks_uri is not https");
    }
    if (err) {
        st.err = err;
        failed(r, &st);
        return;
    }
    r->found_len = len;
    r->found_ns = now_of(r);
    fetch_keys(r);
}

static void on_keys(struct tr_jwks_refresh *r, const struct tr_h1_fetch_result *result)
{
    struct tr_status st;
    struct tr_jwks *set = NULL;
    tr_status_clear(&st);
    enum tr_err err = tr_jwks_parse(result->body, &set, &st);
    if (err) {
        st.err = err;
        failed(r, &st);
        return;
    }
    succeeded(r, set, result->max_age_s);
}

static void on_fetched(void *ctx, const struct tr_h1_fetch_result *result)
{
    struct tr_jwks_refresh *r = ctx;
    r->fetch = NULL;
    if (!result->err && r->discovering)
        on_document(r, result);
    else if (!result->err)
        on_keys(r, result);
    else if (r->discovering && r->found_len) /* what it said last is still worth a try */
        fetch_keys(r);
    else
        failed(r, result->st);
}

static void fetch(struct tr_jwks_refresh *r, struct tr_span url)
{
    struct tr_status st;
    struct tr_h1_fetch_params params = {.loop = r->control->loop,
                                        .dns = r->control->dns,
                                        .tls = r->tls,
                                        .url = url,
                                        .accept =
                                            TR_SPAN("application/json, application/jwk-set+json"),
                                        .max_body = (size_t)r->source.max_bytes,
                                        .timeout_ns = r->source.timeout_ns};
    tr_status_clear(&st);
    enum tr_err err = tr_h1_fetch_start(&params, on_fetched, r, &r->fetch, &st);
    if (err) {
        st.err = err;
        failed(r, &st);
    }
}

static void fetch_keys(struct tr_jwks_refresh *r)
{
    r->discovering = false;
    fetch(r, r->found_len ? tr_span(r->found, r->found_len) : r->source.uri);
}

static void attempt(struct tr_jwks_refresh *r)
{
    uint64_t now = now_of(r);
    tr_jwks_schedule_begin(&r->schedule, now);
    if (r->document.len == 0 || (r->found_len && now - r->found_ns < DOCUMENT_NS)) {
        fetch_keys(r);
        return;
    }
    r->discovering = true;
    fetch(r, tr_buf_span(&r->document));
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_jwks_refresh *r = tr_container_of(timer, struct tr_jwks_refresh, timer);
    age(r);
    if (tr_jwks_schedule_due(&r->schedule, now_of(r)))
        attempt(r);
    arm(r);
}

void tr_jwks_refresh_asked(struct tr_jwks_refresh *r, struct tr_jwks_view *view, uint32_t asks)
{
    for (unsigned i = 0; i < TR_JWKS_ASK__COUNT; i++) {
        if (!(asks & UINT32_C(1) << i))
            continue;
        switch (tr_jwks_schedule_ask(&r->schedule, (enum tr_jwks_ask)i, now_of(r))) {
        case TR_JWKS_START:
            attempt(r);
            arm(r);
            break;
        case TR_JWKS_JOIN:
            break;
        case TR_JWKS_REFUSE:
            r->refused++;
            tr_jwks_view_answer(view, UINT32_C(1) << i, &r->schedule);
            break;
        }
    }
}

/* -- life ------------------------------------------------------------------------------------- */

/* OpenID Connect Discovery 1.0 §4: a slash at the end of the issuer gives way. */
static enum tr_err document_url(const struct tr_jwks_source *source, struct tr_buf *out,
                                struct tr_status *st)
{
    struct tr_h1_url url;
    struct tr_span base = source->issuer;
    enum tr_err err = tr_h1_url_parse(base, &url, st);
    if (err)
        return err;
    if (!url.https || url.query.ptr)
        return tr_fail(st, TR_ERR_CONFIG,
                       "discovery needs an issuer that is an https URL without a query");
    if (tr_span_ends(base, TR_SPAN("/")))
        base.len--;
    err = tr_buf_printf(out, "%.*s/.well-known/openid-configuration", (int)base.len, base.ptr);
    if (err)
        return tr_fail(st, err, "out of memory");
    return tr_h1_url_parse(tr_buf_span(out), &url, st);
}

/* What needs no loop: the document's URL, and whom to trust. */
static enum tr_err prepare(const struct tr_jwks_source *source, struct tr_buf *ret_document,
                           struct tr_tls_ctx **ret_tls, struct tr_status *st)
{
    struct tr_h1_url url = {.https = true};
    struct tr_tls_client_params trust = {.ca_file = source->ca_file};
    enum tr_err err = source->uri.len ? tr_h1_url_parse(source->uri, &url, st)
                                      : document_url(source, ret_document, st);
    if (err || !url.https)
        return err;
    return tr_tls_client_new(&trust, ret_tls, st);
}

enum tr_err tr_jwks_source_check(const struct tr_jwks_source *source, struct tr_status *st)
{
    struct tr_buf document;
    struct tr_tls_ctx *tls = NULL;
    tr_buf_init(&document);
    enum tr_err err = prepare(source, &document, &tls, st);
    tr_buf_fini(&document);
    tr_tls_ctx_unref(tls);
    return err;
}

enum tr_err tr_jwks_refresh_new(const struct tr_control *control,
                                const struct tr_jwks_source *source, struct tr_jwks_refresh **ret,
                                struct tr_status *st)
{
    struct tr_jwks_refresh *r = tr_calloc(1, sizeof *r);
    if (!r)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    r->control = control;
    r->source = *source;
    r->state = TR_JWKS_NONE;
    tr_buf_init(&r->document);
    tr_rand_init(&r->rand);
    tr_timer_init(&r->timer, control->loop, on_timer);
    enum tr_err err = prepare(source, &r->document, &r->tls, st);
    if (!err) {
        tr_jwks_schedule_init(&r->schedule, &source->schedule, now_of(r));
        err = tr_timer_start(&r->timer, 0);
    }
    if (err) {
        tr_jwks_refresh_free(r);
        return err;
    }
    *ret = r;
    return TR_OK;
}

void tr_jwks_refresh_free(struct tr_jwks_refresh *r)
{
    if (!r)
        return;
    tr_h1_fetch_cancel(r->fetch);
    tr_timer_stop(&r->timer);
    tr_buf_fini(&r->document);
    tr_tls_ctx_unref(r->tls);
    tr_jwks_unref(r->set);
    tr_free(r->views);
    tr_free(r);
}

enum tr_err tr_jwks_refresh_add(struct tr_jwks_refresh *r, struct tr_jwks_view *view)
{
    size_t bytes = (r->view_count + 1) * sizeof(struct tr_jwks_view *);
    struct tr_jwks_view **views = tr_realloc(r->views, bytes);
    if (!views)
        return TR_ERR_NOMEM;
    r->views = views;
    views[r->view_count++] = view;
    return TR_OK;
}

struct tr_jwks_refresh_stats tr_jwks_refresh_stats(const struct tr_jwks_refresh *r)
{
    struct tr_jwks_refresh_stats stats = {
        .fetches = r->fetches, .failures = r->failures, .refused = r->refused, .state = r->state};
    for (uint32_t i = 0; i < r->view_count; i++) {
        stats.refused += tr_count_load(&r->views[i]->refused);
        stats.waiters += tr_count_load(&r->views[i]->waiters);
    }
    if (r->set) {
        stats.age_s = (now_of(r) - r->schedule.fetched_ns) / SECOND;
        stats.keys = tr_jwks_count(r->set);
    }
    return stats;
}
