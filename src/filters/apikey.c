#include "filters/apikey.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/digest.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((off_t)64 * 1024 * 1024)

struct tr_apikey_set {
    _Atomic uint32_t refs;
    struct tr_arena arena;
    struct tr_apikey *keys; /* open addressing by the digest's first bytes */
    uint32_t mask, count;
};

static bool hex_digit(char c, unsigned *ret)
{
    char l = tr_lower(c);
    if (tr_is_digit(c))
        *ret = (unsigned)(c - '0');
    else if (l >= 'a' && l <= 'f')
        *ret = (unsigned)(l - 'a') + 10;
    else
        return false;
    return true;
}

static bool read_digest(const char *hex, size_t len, uint8_t out[TR_APIKEY_DIGEST])
{
    if (len != 2 * TR_APIKEY_DIGEST)
        return false;
    for (size_t i = 0; i < TR_APIKEY_DIGEST; i++) {
        unsigned high, low;
        if (!hex_digit(hex[2 * i], &high) || !hex_digit(hex[2 * i + 1], &low))
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static uint32_t home(const struct tr_apikey_set *set, const uint8_t digest[TR_APIKEY_DIGEST])
{
    uint32_t h;
    memcpy(&h, digest, sizeof h);
    return h & set->mask;
}

static bool same(const uint8_t *a, const uint8_t *b)
{
    unsigned differ = 0;
    for (size_t i = 0; i < TR_APIKEY_DIGEST; i++)
        differ |= (unsigned)(a[i] ^ b[i]);
    return differ == 0;
}

static struct tr_span text_of(struct tr_apikey_set *set, const json_t *v)
{
    if (!json_is_string(v))
        return TR_SPAN("");
    return tr_arena_copy(&set->arena, tr_span(json_string_value(v), json_string_length(v)));
}

static enum tr_err bad(struct tr_status *st, size_t i, const char *why)
{
    return tr_fail(st, TR_ERR_CONFIG, "keys[%zu]: %s", i, why);
}

static enum tr_err read_scopes(struct tr_apikey_set *set, const json_t *v, size_t at,
                               struct tr_apikey *key, struct tr_status *st)
{
    if (!v)
        return TR_OK;
    if (!json_is_array(v))
        return bad(st, at, "scopes is not an array of strings");
    key->scopes = tr_arena_calloc(&set->arena, json_array_size(v) + 1, sizeof *key->scopes);
    if (!key->scopes)
        return TR_ERR_NOMEM;
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (!json_is_string(json_array_get(v, i)))
            return bad(st, at, "scopes is not an array of strings");
        struct tr_span scope = text_of(set, json_array_get(v, i));
        if (!scope.ptr)
            return TR_ERR_NOMEM;
        key->scopes[key->scope_count++] = scope;
    }
    return TR_OK;
}

static bool is_visible(struct tr_span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x21 || (unsigned char)s.ptr[i] > 0x7E)
            return false;
    return s.len > 0;
}

static enum tr_err read_key(struct tr_apikey_set *set, const json_t *v, size_t i,
                            struct tr_status *st)
{
    const char *name;
    json_t *member;
    struct tr_apikey key = {.tier = TR_SPAN("")};
    const json_t *digest = json_object_get(v, "sha256");
    if (!json_is_object(v))
        return bad(st, i, "not an object");
    json_object_foreach((json_t *)(uintptr_t)v, name, member)
    {
        if (strcmp(name, "sha256") != 0 && strcmp(name, "consumer") != 0 &&
            strcmp(name, "tier") != 0 && strcmp(name, "scopes") != 0)
            return bad(st, i, "there are sha256, consumer, tier and scopes");
    }
    if (!json_is_string(digest) ||
        !read_digest(json_string_value(digest), json_string_length(digest), key.digest))
        return bad(st, i, "sha256 is not 64 hexadecimal digits");
    const json_t *tier = json_object_get(v, "tier");
    key.consumer = text_of(set, json_object_get(v, "consumer"));
    key.tier = text_of(set, tier);
    if (!key.consumer.ptr || !key.tier.ptr)
        return TR_ERR_NOMEM;
    if (!is_visible(key.consumer))
        return bad(st, i, "consumer is not a name without spaces");
    if (tier && !is_visible(key.tier))
        return bad(st, i, "tier is not a name without spaces");
    enum tr_err err = read_scopes(set, json_object_get(v, "scopes"), i, &key, st);
    if (err)
        return err;
    uint32_t at = home(set, key.digest);
    while (set->keys[at].consumer.len) {
        if (same(set->keys[at].digest, key.digest))
            return bad(st, i, "the same key stands there twice");
        at = (at + 1) & set->mask;
    }
    set->keys[at] = key;
    set->count++;
    return TR_OK;
}

static enum tr_err fill(struct tr_apikey_set *set, const json_t *root, struct tr_status *st)
{
    const json_t *keys = json_object_get(root, "keys");
    if (!json_is_array(keys) || json_object_size(root) != 1)
        return tr_fail(st, TR_ERR_CONFIG, "expected {\"keys\": [...]}");
    size_t n = json_array_size(keys), slots = 16;
    if (n > TR_APIKEY_MAX)
        return tr_fail(st, TR_ERR_CONFIG, "more than %d keys", TR_APIKEY_MAX);
    while (slots < 2 * n)
        slots *= 2;
    set->mask = (uint32_t)(slots - 1);
    set->keys = tr_arena_calloc(&set->arena, slots, sizeof *set->keys);
    if (!set->keys)
        return TR_ERR_NOMEM;
    enum tr_err err = TR_OK;
    for (size_t i = 0; i < n && !err; i++)
        err = read_key(set, json_array_get(keys, i), i, st);
    return err;
}

enum tr_err tr_apikey_parse(struct tr_span json, struct tr_apikey_set **ret_set,
                            struct tr_status *st)
{
    json_error_t je;
    struct tr_apikey_set *set = tr_calloc(1, sizeof *set);
    if (!set)
        return TR_ERR_NOMEM;
    atomic_init(&set->refs, 1);
    tr_arena_init(&set->arena, NULL);
    json_t *root = json_loadb(json.ptr ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES, &je);
    enum tr_err err =
        root ? fill(set, root, st)
             : tr_fail(st, TR_ERR_CONFIG, "line %d, column %d: not JSON", je.line, je.column);
    json_decref(root);
    if (err)
        tr_apikey_unref(set);
    else
        *ret_set = set;
    return err;
}

static enum tr_err read_all(int fd, off_t size, char **ret, size_t *ret_len)
{
    char *p = tr_malloc((size_t)size + 1);
    size_t n = 0;
    while (p && n < (size_t)size) {
        ssize_t r = read(fd, p + n, (size_t)size - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    *ret = p;
    *ret_len = n;
    return p ? TR_OK : TR_ERR_NOMEM;
}

enum tr_err tr_apikey_load(struct tr_span file, struct tr_apikey_set **ret_set,
                           struct tr_status *st)
{
    struct stat sb;
    char path[4096], *text = NULL;
    size_t len = 0;
    if (file.len >= sizeof path)
        return tr_fail(st, TR_ERR_CONFIG, "the path is too long");
    memcpy(path, file.ptr, file.len);
    path[file.len] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tr_fail(st, TR_ERR_CONFIG, "cannot open %s: %s", path, strerrordesc_np(errno));
    enum tr_err err = TR_OK;
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode) || sb.st_size > FILE_MAX_BYTES)
        err = tr_fail(st, TR_ERR_CONFIG, "%s is not a regular file of at most 64 MiB", path);
    if (!err)
        err = read_all(fd, sb.st_size, &text, &len);
    (void)close(fd);
    if (!err)
        err = tr_apikey_parse(tr_span(text, len), ret_set, st);
    tr_free(text);
    return err;
}

struct tr_apikey_set *tr_apikey_ref(struct tr_apikey_set *set)
{
    (void)atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void tr_apikey_unref(struct tr_apikey_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    tr_arena_fini(&set->arena);
    tr_free(set);
}

uint32_t tr_apikey_count(const struct tr_apikey_set *set)
{
    return set ? set->count : 0;
}

const struct tr_apikey *tr_apikey_find(const struct tr_apikey_set *set, struct tr_span key)
{
    uint8_t digest[TR_APIKEY_DIGEST];
    if (!set || key.len > TR_APIKEY_TEXT_MAX)
        return NULL;
    tr_sha256(key, digest);
    for (uint32_t at = home(set, digest); set->keys[at].consumer.len; at = (at + 1) & set->mask)
        if (same(set->keys[at].digest, digest))
            return &set->keys[at];
    return NULL;
}

bool tr_apikey_credential(const struct tr_apikey *key, struct tr_arena *arena,
                          struct tr_credential *ret)
{
    struct tr_span *scopes = tr_arena_calloc(arena, key->scope_count + 1u, sizeof *scopes);
    if (!scopes)
        return false;
    for (uint32_t i = 0; i < key->scope_count; i++)
        scopes[i] = tr_arena_copy(arena, key->scopes[i]);
    struct tr_span consumer = tr_arena_copy(arena, key->consumer);
    *ret = (struct tr_credential){.kind = TR_CREDENTIAL_API_KEY,
                                  .provider = TR_SPAN("api_key"),
                                  .subject = consumer,
                                  .consumer = consumer,
                                  .tier = tr_arena_copy(arena, key->tier),
                                  .scopes = scopes,
                                  .scope_count = key->scope_count};
    return consumer.ptr != NULL && ret->tier.ptr != NULL;
}

/* ---- the file changes ------------------------------------------------------------------------ */

struct tr_apikey_store {
    const struct tr_cfg_api_keys *cfg;
    struct tr_timer timer;
    struct tr_apikey_set *set;
    struct tr_apikey_view **views;
    uint32_t view_count, view_cap;
    struct stat seen;
    bool gone; /* the file was not there when it was last looked for */
    uint64_t ok, failed;
};

static void on_mail(struct tr_mail *mail, void *ctx)
{
    struct tr_apikey_view *v = tr_container_of(mail, struct tr_apikey_view, mail);
    (void)ctx;
    __atomic_store_n(&v->posted, 0, __ATOMIC_SEQ_CST);
    struct tr_apikey_set *next = __atomic_exchange_n(&v->next, NULL, __ATOMIC_SEQ_CST);
    if (!next)
        return;
    tr_apikey_unref(v->set);
    v->set = next;
}

static void publish(struct tr_apikey_store *s)
{
    for (uint32_t i = 0; i < s->view_count; i++) {
        struct tr_apikey_view *v = s->views[i];
        tr_apikey_unref(__atomic_exchange_n(&v->next, tr_apikey_ref(s->set), __ATOMIC_SEQ_CST));
        if (__atomic_exchange_n(&v->posted, 1, __ATOMIC_SEQ_CST) == 0)
            tr_mailbox_post(v->box, &v->mail);
    }
}

static bool stat_file(const struct tr_apikey_store *s, struct stat *ret)
{
    char path[4096];
    struct tr_span file = s->cfg->file;
    if (file.len >= sizeof path)
        return false;
    memcpy(path, file.ptr, file.len);
    path[file.len] = '\0';
    return stat(path, ret) == 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void read_again(struct tr_apikey_store *s)
{
    struct tr_status st;
    struct tr_apikey_set *set = NULL;
    tr_status_clear(&st);
    if (tr_apikey_load(s->cfg->file, &set, &st)) {
        struct tr_span text = tr_status_text(&st);
        s->failed++;
        tr_log(TR_LOG_ERROR, "API keys: %.*s; those in use stay", (int)text.len, text.ptr);
        return;
    }
    tr_apikey_unref(s->set);
    s->set = set;
    s->ok++;
    tr_log(TR_LOG_INFO, "API keys: %u were read", tr_apikey_count(set));
    publish(s);
}

/* What is wrong is told once. */
static void on_timer(struct tr_timer *timer)
{
    struct tr_apikey_store *s = tr_container_of(timer, struct tr_apikey_store, timer);
    struct stat now;
    bool gone = !stat_file(s, &now);
    if (gone ? !s->gone : !is_same_file(&now, &s->seen)) {
        if (!gone)
            s->seen = now;
        read_again(s);
    }
    s->gone = gone;
    (void)tr_timer_start(&s->timer, s->cfg->reload_interval);
}

enum tr_err tr_apikey_store_new(const struct tr_control *control, const struct tr_cfg_api_keys *cfg,
                                struct tr_apikey_store **ret_store, struct tr_status *st)
{
    struct tr_apikey_store *s = tr_calloc(1, sizeof *s);
    if (!s)
        return TR_ERR_NOMEM;
    s->cfg = cfg;
    s->view_cap = control->worker_count;
    s->views = tr_calloc(s->view_cap + 1u, sizeof(void *));
    tr_timer_init(&s->timer, control->loop, on_timer);
    (void)stat_file(s, &s->seen);
    enum tr_err err = s->views ? tr_apikey_load(cfg->file, &s->set, st) : TR_ERR_NOMEM;
    if (!err)
        err = tr_timer_start(&s->timer, cfg->reload_interval);
    if (err) {
        tr_apikey_store_free(s);
        return err;
    }
    *ret_store = s;
    return TR_OK;
}

void tr_apikey_store_reads(const struct tr_apikey_store *store, uint64_t *ret_ok,
                           uint64_t *ret_failed)
{
    *ret_ok = store->ok;
    *ret_failed = store->failed;
}

void tr_apikey_store_free(struct tr_apikey_store *store)
{
    if (!store)
        return;
    tr_timer_stop(&store->timer);
    tr_apikey_unref(store->set);
    tr_free(store->views);
    tr_free(store);
}

enum tr_err tr_apikey_view_init(struct tr_apikey_view *view, struct tr_apikey_store *store,
                                struct tr_mailbox *box)
{
    *view = (struct tr_apikey_view){.store = store, .box = box, .mail.fn = on_mail};
    if (store->view_count == store->view_cap)
        return TR_ERR_NOMEM;
    view->set = tr_apikey_ref(store->set);
    store->views[store->view_count++] = view;
    return TR_OK;
}

void tr_apikey_view_fini(struct tr_apikey_view *view)
{
    tr_apikey_unref(view->set);
    tr_apikey_unref(view->next);
    view->set = view->next = NULL;
}
