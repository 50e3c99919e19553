#include "base/alloc.h"
#include "base/counter.h"
#include "base/rand.h"
#include "filters/authn_int.h"
#include "filters/registry.h"

#include <stdio.h>

#define CACHE_ENTRY_BYTES ((size_t)4096) /* of the cache's bound in bytes, for each entry */
#define FAILURE_ENTRIES   16384          /* addresses whose failures are counted */
#define UNSEEN_MAX        2048           /* requests whose tokens wait; half of all that may wait */
#define UNSEEN_BYTES      ((size_t)32 << 20) /* of what was read from their tokens */
#define UNSEEN_NS         UINT64_C(4000000)  /* of verifying in a turn */

static const struct tr_authn_policy *policy_of(const struct tr_exchange *x)
{
    return x->policy->slots[TR_POLICY_AUTHN];
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void challenge(struct tr_exchange *x, const struct tr_authn_policy *p,
                      enum tr_authn_shown shown, struct tr_span text)
{
    bool token = ((p->any | p->all) & ((UINT64_C(1) << TR_AUTHN_PROVIDERS_MAX) - 1)) != 0;
    char *out = tr_arena_alloc(&x->hs->arena, 160 + text.len);
    if (!out)
        return;
    int n = !token ? snprintf(out, 160, "ApiKey realm=\"transom\"")
            : shown == TR_AUTHN_MISSING
                ? snprintf(out, 160, "Bearer realm=\"transom\"")
                : snprintf(out, 160 + text.len,
                           "Bearer realm=\"transom\", error=\"invalid_token\", "
                           "error_description=\"%.*s\"",
                           (int)text.len, text.ptr);
    (void)!tr_exchange_header(x, TR_SPAN("www-authenticate"), tr_span(out, (size_t)n),
                              TR_TOKEN_NONE);
}

static enum tr_verdict refuse_limited(struct tr_exchange *x, struct tr_authn_worker *w,
                                      uint64_t wait_ns)
{
    tr_count(&w->outcomes[TR_AUTHN_OUTCOME_LIMITED]);
    tr_exchange_retry_after(x, wait_ns);
    (void)tr_fail(tr_exchange_status(x), TR_ERR_AUTH_TOO_MANY, "%s",
                  tr_err_info(TR_ERR_AUTH_TOO_MANY)->text.ptr);
    return TR_FAIL;
}

static enum tr_verdict refuse(struct tr_exchange *x, struct tr_authn_worker *w,
                              const struct tr_authn_verdict *v)
{
    enum tr_err err = tr_authn_err(v->shown);
    struct tr_span text =
        v->why != TR_JWT_OK && v->shown != TR_AUTHN_UNAVAILABLE && v->shown != TR_AUTHN_MISSING
            ? tr_jwt_result_text(v->why)
            : tr_err_info(err)->text;
    tr_count(&w->outcomes[TR_AUTHN_OUTCOME_REFUSED]);
    if (v->why == TR_JWT_NOMEM) { /* nothing was found out */
        (void)tr_fail(tr_exchange_status(x), TR_ERR_NOMEM, "out of memory");
        return TR_FAIL;
    }
    if (err != TR_ERR_AUTH_UNAVAILABLE)
        challenge(x, policy_of(x), v->shown, text);
    (void)tr_fail(tr_exchange_status(x), err, "%.*s", (int)text.len, text.ptr);
    return TR_FAIL;
}

/* ---- waiting for keys ------------------------------------------------------------------------ */

static void on_keys(struct tr_jwks_waiter *waiter)
{
    struct tr_authn_state *s = tr_container_of(waiter, struct tr_authn_state, waiter);
    s->waits = NULL;
    tr_exchange_resume(s->x->w, s->handle);
}

static enum tr_verdict go_on(struct tr_authn_state *s, struct tr_authn_worker *w);

/* NOLINTNEXTLINE(misc-no-recursion): each provider is waited for once for each reason */
static enum tr_verdict wait(struct tr_authn_state *s, struct tr_authn_worker *w,
                            const struct tr_authn_verdict *v)
{
    struct tr_exchange *x = s->x;
    uint64_t bit = UINT64_C(1) << v->wait_provider;
    if (v->wait_ask == TR_JWKS_ASK_KID)
        s->asked_kid |= bit;
    else
        s->asked_keys |= bit;
    if (!tr_exchange_pause(x, &s->handle)) {
        (void)tr_fail(tr_exchange_status(x), TR_ERR_OVERLOADED, "too many requests wait");
        return TR_FAIL;
    }
    struct tr_jwks_view *view = &w->views[v->wait_provider];
    switch (tr_jwks_view_wait(view, &s->waiter, v->wait_ask, on_keys, tr_loop_now_ns(w->loop))) {
    case TR_JWKS_WAIT:
        s->waits = view;
        return TR_PAUSE;
    case TR_JWKS_WAIT_REFUSED:
        tr_exchange_unpause(x);
        return go_on(s, w); /* at most once for each provider and reason */
    case TR_JWKS_WAIT_FULL:
        break;
    }
    tr_exchange_unpause(x);
    (void)tr_fail(tr_exchange_status(x), TR_ERR_OVERLOADED, "too many requests wait for keys");
    return TR_FAIL;
}

/* ---- what follows for the request ------------------------------------------------------------ */

/* NOLINTNEXTLINE(misc-no-recursion): see wait */
static enum tr_verdict act(struct tr_authn_state *s, struct tr_authn_worker *w,
                           const struct tr_authn_verdict *v)
{
    struct tr_exchange *x = s->x;
    const struct tr_authn_policy *p = policy_of(x);
    if (v->limited)
        return refuse_limited(x, w, v->limited_ns);
    if (v->shown == TR_AUTHN_OK) {
        x->identity = &s->identity;
        tr_count(&w->outcomes[TR_AUTHN_OUTCOME_AUTHENTICATED]);
        return TR_CONTINUE;
    }
    if (v->shown == TR_AUTHN_WAIT)
        return wait(s, w, v);
    if (v->shown == TR_AUTHN_MISSING && p->allow_missing) {
        tr_count(&w->outcomes[TR_AUTHN_OUTCOME_ANONYMOUS]);
        return TR_CONTINUE;
    }
    if (v->shown == TR_AUTHN_UNAVAILABLE && p->open) {
        tr_count(&w->outcomes[TR_AUTHN_OUTCOME_FAIL_OPEN]);
        x->fail_open |= TR_FAIL_OPEN_AUTHENTICATION;
        return TR_CONTINUE;
    }
    return refuse(x, w, v);
}

/* ---- tokens seen first ----------------------------------------------------------------------- */

/* A signature takes longer than all the rest of a request, and code and data of its own. So those
 * of a turn are verified one after another at its end, for UNSEEN_NS; then all these requests go
 * on. What is left waits for the next turn, after everybody else's requests. */

static bool postpone(struct tr_authn_state *s, struct tr_authn_worker *w)
{
    /* A token of 16 KiB makes a block of 200: whoever sends it has shown nothing yet. */
    size_t bytes = s->has_opened && s->opened->jwt ? s->opened->jwt->bytes : 0;
    if (w->unseen_count >= UNSEEN_MAX || w->unseen_bytes + bytes > UNSEEN_BYTES ||
        !tr_exchange_pause(s->x, &s->handle))
        return false;
    s->queued = true;
    s->queued_bytes = bytes;
    w->unseen_count++;
    w->unseen_bytes += bytes;
    tr_count(&w->postponed);
    tr_list_push_back(&w->unseen, &s->node);
    if (w->verifying)
        tr_loop_next_turn(w->loop, &w->verify);
    else
        tr_loop_defer(w->loop, &w->verify);
    return true;
}

static void leave_queue(struct tr_authn_state *s, struct tr_authn_worker *w)
{
    if (!s->queued)
        return;
    s->queued = false;
    w->unseen_count--;
    w->unseen_bytes -= s->queued_bytes;
    tr_list_remove(&s->node);
}

static void on_verify(struct tr_task *task)
{
    struct tr_authn_worker *w = tr_container_of(task, struct tr_authn_worker, verify);
    uint64_t until = tr_loop_clock_ns(w->loop) + UNSEEN_NS;
    struct tr_list judged, *node;
    tr_list_init(&judged);
    while (!tr_list_empty(&w->unseen)) {
        node = tr_list_pop_front(&w->unseen);
        struct tr_authn_state *s = tr_container_of(node, struct tr_authn_state, node);
        (void)tr_authn_judge(s, w, true, &s->verdict);
        s->judged = true;
        tr_list_push_back(&judged, node);
        if (tr_loop_clock_ns(w->loop) >= until)
            break;
    }
    if (!tr_list_empty(&w->unseen))
        tr_loop_next_turn(w->loop, &w->verify);
    w->verifying = true;
    while (!tr_list_empty(&judged)) { /* one that goes on may end others, which leave the list */
        struct tr_authn_state *s = tr_container_of(judged.next, struct tr_authn_state, node);
        leave_queue(s, w);
        tr_exchange_resume(s->x->w, s->handle);
    }
    w->verifying = false;
}

/* NOLINTNEXTLINE(misc-no-recursion): see wait */
static enum tr_verdict go_on(struct tr_authn_state *s, struct tr_authn_worker *w)
{
    struct tr_authn_verdict v;
    if (!tr_authn_judge(s, w, false, &v)) {
        if (postpone(s, w))
            return TR_PAUSE;
        tr_count(&w->at_once);
        (void)tr_authn_judge(s, w, true, &v); /* too many wait: the loop's lag shall tell of it */
    }
    return act(s, w, &v);
}

/* ---- the hooks ------------------------------------------------------------------------------- */

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    struct tr_authn_worker *w = tr_filter_worker(x, TR_FILTER_AUTHN);
    struct tr_authn_state *s = state;
    if (!policy_of(x) || !w)
        return TR_CONTINUE;
    s->x = x;
    return go_on(s, w);
}

static enum tr_verdict on_resume(struct tr_exchange *x, void *state)
{
    struct tr_authn_worker *w = tr_filter_worker(x, TR_FILTER_AUTHN);
    struct tr_authn_state *s = state;
    if (!s->judged)
        return go_on(s, w);
    s->judged = false;
    return act(s, w, &s->verdict);
}

struct tr_span tr_authn_verified(const struct tr_exchange *x, uint32_t provider)
{
    const struct tr_authn_state *s = x->identity ? x->filter_state[TR_FILTER_AUTHN] : NULL;
    for (uint32_t i = 0; s && i < s->token_count; i++)
        if (s->token_providers[i] == provider)
            return s->tokens[i]->token;
    return TR_SPAN("");
}

static void done(struct tr_exchange *x, void *state)
{
    struct tr_authn_state *s = state;
    if (s->waits)
        tr_jwks_view_unwait(s->waits, &s->waiter);
    s->waits = NULL;
    leave_queue(s, tr_filter_worker(x, TR_FILTER_AUTHN));
    x->identity = NULL;
    tr_authn_drop(s);
}

/* ---- what lives longer ----------------------------------------------------------------------- */

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    struct tr_authn_conf *conf = TR_ARENA_NEW(&snap->arena, struct tr_authn_conf);
    if (!conf)
        return TR_ERR_NOMEM;
    *ret_conf = conf;
    enum tr_err err = tr_authn_compile(snap, conf);
    struct tr_status st;
    tr_status_clear(&st);
    if (!err && conf->has_api_keys && conf->cfg->api_keys->file.ptr) {
        struct tr_apikey_set *set = NULL;
        err = tr_apikey_load(conf->cfg->api_keys->file, &set, &st);
        if (err == TR_ERR_CONFIG) {
            struct tr_span text = tr_status_text(&st);
            tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/authentication/api_keys/file"),
                       "%.*s", (int)text.len, text.ptr);
            err = TR_OK;
        }
        tr_apikey_unref(set);
    }
    return err;
}

static void dispose(void *conf)
{
    struct tr_authn_conf *c = conf;
    for (uint32_t i = 0; i < c->provider_count; i++)
        tr_jwks_unref(c->providers[i].fixed);
}

static void control_stop(void *control)
{
    struct tr_authn_control *c = control;
    for (uint32_t i = 0; c->refreshes && i < c->conf->provider_count; i++)
        tr_jwks_refresh_free(c->refreshes[i]);
    tr_apikey_store_free(c->api_keys);
    tr_quota_local_free(c->failures);
    tr_free(c->refreshes);
    tr_free(c);
}

static enum tr_err control_start(const struct tr_control *control, const struct tr_snapshot *snap,
                                 void *conf, void **ret_control, struct tr_status *st)
{
    const struct tr_authn_conf *ac = conf;
    struct tr_rand rand;
    (void)snap;
    if (!ac || !ac->cfg)
        return TR_OK;
    struct tr_authn_control *c = tr_calloc(1, sizeof *c);
    if (!c)
        return TR_ERR_NOMEM;
    *ret_control = c;
    c->conf = ac;
    c->origin_ns = tr_loop_now_ns(control->loop);
    c->refreshes = tr_calloc(ac->provider_count + 1u, sizeof(void *));
    if (!c->refreshes)
        return TR_ERR_NOMEM;
    tr_rand_init(&rand);
    enum tr_err err = TR_OK;
    if (ac->cfg->max_failures)
        err = tr_quota_local_new(FAILURE_ENTRIES, tr_rand_u64(&rand), &c->failures);
    for (uint32_t i = 0; i < ac->provider_count && !err; i++)
        if (!ac->providers[i].fixed)
            err = tr_jwks_refresh_new(control, &ac->providers[i].source, &c->refreshes[i], st);
    if (!err && ac->has_api_keys)
        err = tr_apikey_store_new(control, ac->cfg->api_keys, &c->api_keys, st);
    return err;
}

static void worker_stop(void *worker)
{
    struct tr_authn_worker *w = worker;
    tr_task_cancel(&w->verify);
    for (uint32_t i = 0; w->views && i < w->conf->provider_count; i++)
        tr_jwks_view_fini(&w->views[i]);
    tr_apikey_view_fini(&w->api_keys);
    tr_jwt_cache_fini(&w->cache);
    tr_free(w->views);
    tr_free(w->results);
    tr_free(w);
}

static enum tr_err worker_start(struct tr_pworker *p, void *conf, void *control, void **ret_worker)
{
    const struct tr_authn_conf *ac = conf;
    struct tr_authn_control *c = control;
    struct tr_rand rand;
    if (!c)
        return TR_OK;
    struct tr_authn_worker *w = tr_calloc(1, sizeof *w);
    if (!w)
        return TR_ERR_NOMEM;
    *ret_worker = w;
    w->conf = ac;
    w->control = c;
    w->loop = p->h->loop;
    tr_list_init(&w->unseen);
    tr_task_init(&w->verify, on_verify);
    tr_rand_init(&rand);
    enum tr_err err =
        tr_jwt_cache_init(&w->cache, ac->cfg->token_cache_entries,
                          ac->cfg->token_cache_entries * CACHE_ENTRY_BYTES, tr_rand_u64(&rand));
    w->views = tr_calloc(ac->provider_count + 1u, sizeof *w->views);
    w->results = tr_calloc(ac->provider_count + 1u, sizeof *w->results);
    if (!w->views || !w->results)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < ac->provider_count && !err; i++) {
        if (ac->providers[i].fixed)
            tr_jwks_view_init_fixed(&w->views[i], ac->providers[i].fixed);
        else
            err = tr_jwks_view_init(&w->views[i], c->refreshes[i], p->mailbox, p->control);
    }
    if (!err && c->api_keys)
        err = tr_apikey_view_init(&w->api_keys, c->api_keys, p->mailbox);
    return err;
}

const struct tr_filter tr_filter_authn = {
    .name = "authentication",
    .phase = TR_PHASE_AUTHN,
    .state_bytes = sizeof(struct tr_authn_state),
    .on_request = on_request,
    .on_resume = on_resume,
    .done = done,
    .prepare = prepare,
    .dispose = dispose,
    .control_start = control_start,
    .control_stop = control_stop,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .metrics = tr_authn_metrics,
};
