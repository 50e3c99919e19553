#include "io/kv_redis.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/num.h"
#include "base/rand.h"
#include "io/kv_redis_answer.h"
#include "io/stream.h"

#include <stdarg.h>
#include <stdio.h>

#define NS_PER_MS       UINT64_C(1000000)
#define TIMEOUT_NS      (20 * NS_PER_MS)
#define SILENCE_NS      (500 * NS_PER_MS)
#define CONNECT_NS      (1000 * NS_PER_MS)
#define BACKOFF_NS      (100 * NS_PER_MS)
#define BACKOFF_GROWTH  50u /* the longest against the first */
#define TELL_NS         (1000 * NS_PER_MS)
#define IDLE_NS         (10000 * NS_PER_MS)
#define IN_FLIGHT       1024u
#define IN_FLIGHT_MAX   (1u << 20)
#define CHUNK           ((size_t)16 * 1024)
#define CHUNKS_PER_TURN 4
#define SHA_LEN         40u

enum state { WAITING, RESOLVING, CONNECTING, GREETING, UP };
enum kind { KIND_AUTH, KIND_SELECT, KIND_SCRIPT, KIND_CALL };

/* A command whose answer is to come; answers come in the order of commands. */
struct slot {
    struct tr_kv_call *call; /* NULL: nobody waits any more */
    uint64_t sent_ns;
    uint8_t kind;
    bool timed_out;
};

struct tr_kv_redis {
    struct tr_loop *loop;
    struct tr_dns *dns;
    struct tr_kv_redis_url url;
    struct tr_span script;
    uint64_t timeout_ns, silence_ns, connect_ns, backoff_first_ns;

    enum state state;
    struct tr_timer
        timer;            /* always running: connecting, backing off, or looking for what is late */
    struct tr_task flush; /* also the start */
    struct tr_dns_query *query;
    struct tr_stream *stream;
    struct tr_kv_reader reader; /* open from on_ready on */
    uint64_t backoff_ns;
    uint32_t addr_turn; /* of the addresses of the name */
    struct tr_rand rand;

    char sha[SHA_LEN];
    struct tr_buf out;
    size_t out_pos;
    struct slot *slots;
    uint32_t slot_mask, head, tail, max_in_flight;
    struct tr_list waiting; /* calls, the oldest first */

    struct tr_kv_counters counters;
    char trouble[160], told[160];
    uint64_t told_ns;
};

/* ---- calls ----------------------------------------------------------------------------------- */

static uint64_t now_of(const struct tr_kv_redis *l)
{
    return tr_loop_now_ns(l->loop);
}

static uint32_t unanswered(const struct tr_kv_redis *l)
{
    return l->tail - l->head;
}

/* The call has ended; fn may do anything but free the link. */
static void finish(struct tr_kv_redis *l, struct tr_kv_call *call, enum tr_kv_failure failure,
                   const struct tr_kv_answer *a)
{
    tr_list_remove(&call->node);
    call->link = NULL;
    tr_count(&l->counters.results[failure]);
    if (a)
        tr_count_add(&l->counters.answered_ns, now_of(l) - call->start_ns);
    call->fn(call, failure, failure == TR_KV_OK ? l->reader.answer.ints : NULL,
             failure == TR_KV_OK ? l->reader.answer.count : 0);
}

/* The commands that are noted from here on are in l->out. */
static struct slot *push(struct tr_kv_redis *l, enum kind kind, struct tr_kv_call *call)
{
    struct slot *s = &l->slots[l->tail & l->slot_mask];
    *s = (struct slot){.call = call, .sent_ns = now_of(l), .kind = (uint8_t)kind};
    if (call)
        call->slot = l->tail;
    l->tail++;
    return s;
}

static enum tr_err put_head(struct tr_buf *out, uint32_t strings)
{
    enum tr_err err = tr_buf_reserve(out, TR_NUM_MAX + 3);
    if (err)
        return err;
    out->ptr[out->len++] = '*';
    out->len += tr_num_u64(tr_buf_end(out), strings);
    memcpy(tr_buf_end(out), "\r\n", 2);
    out->len += 2;
    return TR_OK;
}

static bool put_call(struct tr_kv_redis *l, struct tr_kv_call *call, bool whole)
{
    size_t at = l->out.len;
    if (put_head(&l->out, 3u + call->keys + call->args) == TR_OK &&
        tr_kv_put(&l->out, whole ? TR_SPAN("EVAL") : TR_SPAN("EVALSHA")) == TR_OK &&
        tr_kv_put(&l->out, whole ? l->script : tr_span(l->sha, SHA_LEN)) == TR_OK &&
        tr_kv_put_u64(&l->out, call->keys) == TR_OK && call->encode(call, &l->out) == TR_OK) {
        push(l, KIND_CALL, call);
        tr_loop_defer(l->loop, &l->flush);
        return true;
    }
    l->out.len = at;
    return false;
}

/* So that the timer runs out at `at` or before. A running timer is moved without memory. */
static void wake_at(struct tr_kv_redis *l, uint64_t at)
{
    uint64_t now = now_of(l);
    if (!tr_timer_running(&l->timer) || l->timer.due_ns > at)
        (void)tr_timer_start(&l->timer, at > now ? at - now : 0);
}

enum tr_kv_failure tr_kv_redis_call(struct tr_kv_redis *l, struct tr_kv_call *call)
{
    enum tr_kv_failure failure = TR_KV_OK;
    TR_ASSERT(!call->link);
    if (l->state != UP)
        failure = TR_KV_DOWN;
    else if (unanswered(l) >= l->max_in_flight)
        failure = TR_KV_BUSY;
    else if (!put_call(l, call, false))
        failure = TR_KV_NOMEM;
    if (failure) {
        tr_count(&l->counters.results[failure]);
        return failure;
    }
    call->link = l;
    call->repeated = false;
    call->start_ns = now_of(l);
    tr_list_push_back(&l->waiting, &call->node);
    wake_at(l, call->start_ns + l->timeout_ns);
    return TR_KV_OK;
}

/* The place of a call in the ring, when it still has one. */
static struct slot *slot_of(struct tr_kv_redis *l, const struct tr_kv_call *call)
{
    struct slot *s = &l->slots[call->slot & l->slot_mask];
    return call->slot - l->head < unanswered(l) && s->call == call ? s : NULL;
}

void tr_kv_cancel(struct tr_kv_call *call)
{
    struct tr_kv_redis *l = call->link;
    if (!l)
        return;
    struct slot *s = slot_of(l, call);
    if (s)
        s->call = NULL;
    tr_list_remove(&call->node);
    call->link = NULL;
    tr_count(&l->counters.cancelled);
}

/* ---- going down ------------------------------------------------------------------------------ */

static void disconnect(struct tr_kv_redis *l)
{
    if (l->query)
        tr_dns_cancel(l->query);
    l->query = NULL;
    if (l->stream)
        tr_stream_close(l->stream, true);
    l->stream = NULL;
    tr_kv_reader_close(&l->reader);
    tr_task_cancel(&l->flush);
    tr_buf_clear(&l->out);
    l->out_pos = 0;
    l->head = l->tail;
}

/* Says it once until it changes, and not more often than once a second. */
static void tell(struct tr_kv_redis *l, const char *what_now)
{
    uint64_t now = now_of(l);
    for (char *p = l->trouble; *p; p++) /* a peer's words come to the log */
        if (*p < ' ' || *p > '~')
            *p = '?';
    if (strcmp(l->told, l->trouble) == 0 || (l->told_ns && now - l->told_ns < TELL_NS))
        return;
    memcpy(l->told, l->trouble, sizeof l->told);
    l->told_ns = now;
    if (l->url.port)
        tr_log(TR_LOG_WARN, "quota store redis %s:%u: %s%s", l->url.host, l->url.port, l->trouble,
               what_now);
    else
        tr_log(TR_LOG_WARN, "quota store redis %s: %s%s", l->url.host, l->trouble, what_now);
}

/* The link is down: what waits fails, and after a while it is made again. */
static void lost(struct tr_kv_redis *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void lost(struct tr_kv_redis *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(l->trouble, sizeof l->trouble, fmt, args);
    va_end(args);
    tr_count(l->state == UP ? &l->counters.losses : &l->counters.failed_connects);
    __atomic_store_n(&l->counters.up, 0, __ATOMIC_RELAXED);
    l->state = WAITING;
    disconnect(l);
    tell(l, "; trying again");

    uint64_t half = l->backoff_ns / 2;
    (void)tr_timer_start(&l->timer, half + tr_rand_below(&l->rand, half + 1));
    l->backoff_ns *= 2;
    if (l->backoff_ns > l->backoff_first_ns * BACKOFF_GROWTH)
        l->backoff_ns = l->backoff_first_ns * BACKOFF_GROWTH;

    while (!tr_list_empty(&l->waiting)) /* none is added: calls are refused in this state */
        finish(l, tr_container_of(l->waiting.next, struct tr_kv_call, node), TR_KV_LOST, NULL);
}

/* ---- what comes in --------------------------------------------------------------------------- */

static void note_error(struct tr_kv_redis *l, enum tr_kv_failure failure)
{
    const struct tr_kv_answer *a = &l->reader.answer;
    struct tr_span name = tr_kv_failure_name(failure);
    struct tr_span text = a->type == TR_KV_ANSWER_ERROR ? tr_kv_answer_text(a)
                                                        : TR_SPAN("an answer of the wrong form");
    (void)snprintf(l->trouble, sizeof l->trouble, "%.*s: %.*s", (int)name.len, name.ptr,
                   (int)(text.len < 120 ? text.len : 120), text.ptr);
    tell(l, "");
}

static void on_call_answer(struct tr_kv_redis *l, const struct slot *s)
{
    const struct tr_kv_answer *a = &l->reader.answer;
    struct tr_kv_call *call = s->call;
    if (!call) {
        if (s->timed_out)
            tr_count(&l->counters.late);
        return;
    }
    if (!call->repeated && tr_kv_answer_is_error(a, TR_SPAN("NOSCRIPT"))) {
        call->repeated = true;
        tr_count(&l->counters.repeated);
        if (!put_call(l, call, true))
            finish(l, call, TR_KV_NOMEM, NULL);
        return;
    }
    enum tr_kv_failure failure = tr_kv_answer_failure(a);
    bool leave = tr_kv_answer_is_error(a, TR_SPAN("READONLY")) ||
                 tr_kv_answer_is_error(a, TR_SPAN("MASTERDOWN"));
    if (failure && !leave) /* else it is told below */
        note_error(l, failure);
    finish(l, call, failure, a);
    if (leave)
        lost(l, "it is a replica, or has become one");
}

static void come_up(struct tr_kv_redis *l)
{
    l->state = UP;
    l->backoff_ns = l->backoff_first_ns;
    l->trouble[0] = 0;
    tr_count(&l->counters.connects);
    __atomic_store_n(&l->counters.up, 1, __ATOMIC_RELAXED);
    if (l->told[0])
        tr_log(TR_LOG_INFO, "quota store redis %s: the link is up", l->url.host);
    l->told[0] = 0;
    (void)tr_timer_start(&l->timer, IDLE_NS);
}

static void on_greeting_answer(struct tr_kv_redis *l, enum kind kind)
{
    static const char *const names[] = {"AUTH", "SELECT", "SCRIPT LOAD"};
    const struct tr_kv_answer *a = &l->reader.answer;
    if (a->type == TR_KV_ANSWER_ERROR) {
        lost(l, "%s was refused: %.*s", names[kind], (int)(a->text_len < 100 ? a->text_len : 100),
             a->text);
        return;
    }
    if (kind != KIND_SCRIPT) {
        if (a->type != TR_KV_ANSWER_STATUS)
            lost(l, "what answers does not speak as Redis does");
        return;
    }
    if (a->type != TR_KV_ANSWER_STRING || a->text_len != SHA_LEN) {
        lost(l, "what answers does not speak as Redis does");
        return;
    }
    memcpy(l->sha, a->text, SHA_LEN);
    come_up(l);
}

/* false: the link went down meanwhile. */
static bool take_answers(struct tr_kv_redis *l)
{
    const struct tr_stream *stream = l->stream;
    for (;;) {
        enum tr_err err = tr_kv_reader_next(&l->reader);
        if (err == TR_ERR_AGAIN)
            return true;
        if (err) {
            struct tr_span why = tr_kv_reader_error(&l->reader);
            lost(l, "an answer cannot be read: %.*s", (int)why.len, why.ptr);
            return false;
        }
        if (unanswered(l) == 0) {
            lost(l, "an answer came that nobody asked for");
            return false;
        }
        struct slot s = l->slots[l->head & l->slot_mask];
        l->head++;
        if (s.kind == KIND_CALL)
            on_call_answer(l, &s);
        else
            on_greeting_answer(l, (enum kind)s.kind);
        if (l->stream != stream)
            return false;
    }
}

static void on_readable(void *ctx)
{
    struct tr_kv_redis *l = ctx;
    char chunk[CHUNK];
    for (int i = 0; i < CHUNKS_PER_TURN; i++) {
        ssize_t n = tr_stream_read(l->stream, chunk, sizeof chunk);
        if (n == TR_STREAM_AGAIN)
            return;
        if (n == 0) {
            lost(l, "it closed the connection");
            return;
        }
        if (n < 0) {
            struct tr_span why = tr_stream_error(l->stream);
            lost(l, "the connection broke: %.*s", (int)why.len, why.ptr);
            return;
        }
        if (tr_kv_reader_feed(&l->reader, tr_span(chunk, (size_t)n))) {
            lost(l, "out of memory");
            return;
        }
        if (!take_answers(l) || (size_t)n < sizeof chunk)
            return;
    }
}

/* ---- what goes out --------------------------------------------------------------------------- */

static void send_out(struct tr_kv_redis *l)
{
    while (l->out_pos < l->out.len) {
        ssize_t n = tr_stream_write(l->stream, l->out.ptr + l->out_pos, l->out.len - l->out_pos);
        tr_count(&l->counters.writes);
        if (n < 0) {
            struct tr_span why = tr_stream_error(l->stream);
            lost(l, "the connection broke: %.*s", (int)why.len, why.ptr);
            return;
        }
        if (n == 0)
            break;
        l->out_pos += (size_t)n;
    }
    bool rest = l->out_pos < l->out.len;
    if (!rest) {
        tr_buf_clear(&l->out);
        l->out_pos = 0;
    } else if (l->out_pos > CHUNK) {
        tr_buf_consume(&l->out, l->out_pos);
        l->out_pos = 0;
    }
    tr_stream_want(l->stream, true, rest);
}

static void on_writable(void *ctx)
{
    send_out(ctx);
}

/* ---- coming up ------------------------------------------------------------------------------- */

static bool put_greeting(struct tr_kv_redis *l)
{
    const struct tr_kv_redis_url *u = &l->url;
    struct tr_buf *out = &l->out;
    if (u->password_len) {
        if (put_head(out, u->user_len ? 3 : 2) || tr_kv_put(out, TR_SPAN("AUTH")) ||
            (u->user_len && tr_kv_put(out, tr_span(u->user, u->user_len))) ||
            tr_kv_put(out, tr_span(u->password, u->password_len)))
            return false;
        push(l, KIND_AUTH, NULL);
    }
    if (u->db) {
        if (put_head(out, 2) || tr_kv_put(out, TR_SPAN("SELECT")) || tr_kv_put_u64(out, u->db))
            return false;
        push(l, KIND_SELECT, NULL);
    }
    if (put_head(out, 3) || tr_kv_put(out, TR_SPAN("SCRIPT")) || tr_kv_put(out, TR_SPAN("LOAD")) ||
        tr_kv_put(out, l->script))
        return false;
    push(l, KIND_SCRIPT, NULL);
    return true;
}

static void on_ready(void *ctx, enum tr_err err)
{
    struct tr_kv_redis *l = ctx;
    if (err) {
        struct tr_span why = tr_stream_error(l->stream);
        lost(l, "cannot connect: %.*s", (int)why.len, why.ptr);
        return;
    }
    l->state = GREETING;
    if (tr_kv_reader_open(&l->reader) || !put_greeting(l)) {
        lost(l, "out of memory");
        return;
    }
    send_out(l);
}

static const struct tr_stream_events events = {on_ready, on_readable, on_writable};

static void open_addr(struct tr_kv_redis *l, const struct tr_addr *addr)
{
    l->state = CONNECTING;
    enum tr_err err = tr_stream_connect(l->loop, addr, NULL, TR_SPAN(""), &events, l, &l->stream);
    if (err) {
        l->stream = NULL;
        lost(l, "cannot connect: %s", tr_err_info(err)->name);
    }
}

static void on_resolved(void *ctx, const struct tr_dns_answer *answer)
{
    struct tr_kv_redis *l = ctx;
    l->query = NULL;
    if (answer->err || answer->count == 0) {
        lost(l, "its name does not resolve");
        return;
    }
    open_addr(l, &answer->addrs[l->addr_turn++ % answer->count]);
}

static void start(struct tr_kv_redis *l)
{
    (void)tr_timer_start(&l->timer, l->connect_ns);
    if (l->url.addr.len) {
        open_addr(l, &l->url.addr);
        return;
    }
    l->state = RESOLVING;
    if (!l->dns) {
        lost(l, "there is no resolver for its name");
        return;
    }
    enum tr_err err =
        tr_dns_resolve(l->dns, tr_span_cstr(l->url.host), l->url.port, on_resolved, l, &l->query);
    if (err) {
        l->query = NULL;
        lost(l, "its name cannot be looked up: %s", tr_err_info(err)->name);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Fails what has waited too long, then sleeps until the next may have. Timers run before the
 * sockets are looked at: after a turn that took long an answer may be there already. */
static void expire(struct tr_kv_redis *l)
{
    uint64_t now = now_of(l), next = now + IDLE_NS;
    (void)tr_timer_start(&l->timer, IDLE_NS); /* first: its place in the heap is still there */
    if (unanswered(l) > 0)
        on_readable(l);
    if (l->state != UP)
        return;
    if (unanswered(l) > 0) {
        uint64_t end = l->slots[l->head & l->slot_mask].sent_ns + l->silence_ns;
        if (end <= now) {
            lost(l, "nothing was answered for %u ms", (unsigned)(l->silence_ns / NS_PER_MS));
            return;
        }
        next = end;
    }
    while (!tr_list_empty(&l->waiting)) {
        struct tr_kv_call *call = tr_container_of(l->waiting.next, struct tr_kv_call, node);
        uint64_t due = call->start_ns + l->timeout_ns;
        if (due > now) {
            next = due < next ? due : next;
            break;
        }
        struct slot *s = slot_of(l, call);
        if (s) {
            s->call = NULL;
            s->timed_out = true;
        }
        finish(l, call, TR_KV_TIMEOUT, NULL);
    }
    wake_at(l, next);
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_kv_redis *l = tr_container_of(timer, struct tr_kv_redis, timer);
    if (l->state == UP)
        expire(l);
    else if (l->state == WAITING)
        start(l);
    else
        lost(l, "%s",
             l->state == RESOLVING    ? "its name was not resolved in time"
             : l->state == CONNECTING ? "it did not accept the connection in time"
                                      : "it did not answer the greeting in time");
}

static void on_flush(struct tr_task *task)
{
    struct tr_kv_redis *l = tr_container_of(task, struct tr_kv_redis, flush);
    if (l->state == UP)
        send_out(l);
    else if (l->state == WAITING && !l->stream)
        start(l);
}

/* ---- life ------------------------------------------------------------------------------------ */

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

enum tr_err tr_kv_redis_new(const struct tr_kv_redis_options *o, struct tr_kv_redis **ret_link)
{
    struct tr_kv_redis *l = tr_calloc(1, sizeof *l);
    if (!l)
        return TR_ERR_NOMEM;
    l->loop = o->loop;
    l->dns = o->dns;
    l->url = *o->url;
    l->script = o->script;
    l->timeout_ns = or_default(o->timeout_ns, TIMEOUT_NS);
    l->silence_ns = or_default(o->silence_ns, SILENCE_NS);
    if (l->silence_ns < l->timeout_ns)
        l->silence_ns = l->timeout_ns;
    l->connect_ns = or_default(o->connect_timeout_ns, CONNECT_NS);
    l->backoff_ns = l->backoff_first_ns = or_default(o->backoff_ns, BACKOFF_NS);
    l->max_in_flight = o->max_in_flight ? o->max_in_flight : IN_FLIGHT;
    if (l->max_in_flight > IN_FLIGHT_MAX)
        l->max_in_flight = IN_FLIGHT_MAX;
    uint32_t slots = 4; /* the greeting has three */
    while (slots < l->max_in_flight)
        slots *= 2;
    l->slot_mask = slots - 1;
    tr_timer_init(&l->timer, l->loop, on_timer);
    tr_task_init(&l->flush, on_flush);
    tr_list_init(&l->waiting);
    tr_buf_init(&l->out);
    tr_rand_init(&l->rand);
    l->slots = tr_calloc(slots, sizeof *l->slots);
    if (!l->slots || tr_buf_reserve(&l->out, CHUNK) || tr_timer_start(&l->timer, IDLE_NS)) {
        tr_buf_fini(&l->out);
        tr_free(l->slots);
        tr_free(l);
        return TR_ERR_NOMEM;
    }
    tr_loop_defer(l->loop, &l->flush);
    *ret_link = l;
    return TR_OK;
}

void tr_kv_redis_free(struct tr_kv_redis *l)
{
    if (!l)
        return;
    tr_list_for_each (node, next, &l->waiting) {
        struct tr_kv_call *call = tr_container_of(node, struct tr_kv_call, node);
        tr_list_remove(node);
        call->link = NULL;
    }
    disconnect(l);
    tr_timer_stop(&l->timer);
    tr_buf_fini(&l->out);
    tr_free(l->slots);
    tr_free(l);
}

const struct tr_kv_counters *tr_kv_redis_counters(const struct tr_kv_redis *l)
{
    return &l->counters;
}

struct tr_span tr_kv_redis_trouble(const struct tr_kv_redis *l)
{
    return tr_span_cstr(l->trouble);
}
