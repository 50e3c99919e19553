/* API keys: who shows the text whose SHA-256 stands in the file.
 *
 * Vocabulary: the *file* is JSON: {"keys": [{"sha256": HEX, "consumer": NAME, "tier": NAME,
 * "scopes": [NAME...]}]}; the last two may be absent. A *set* is what was read of it; the *store*
 * looks at the file on the control thread, and publishes new sets to the *view* of each worker.
 *
 * Contract: only digests are kept. A file is taken whole or not at all: a bad one is logged, and
 * the set in use stays. Look-up is by digest in constant time against what is found.
 *
 * Ownership: sets are counted (any thread). A view holds one reference. */
#ifndef TR_FILTERS_APIKEY_H
#define TR_FILTERS_APIKEY_H

#include "config/config.h"
#include "io/loop.h"
#include "pipeline/filter.h"
#include "pipeline/identity.h"

#define TR_APIKEY_MAX      100000 /* keys of a file */
#define TR_APIKEY_TEXT_MAX 512    /* bytes of a key; a longer one is none */
#define TR_APIKEY_DIGEST   32

struct tr_arena;

struct tr_apikey {
    uint8_t digest[TR_APIKEY_DIGEST];
    struct tr_span consumer, tier;
    struct tr_span *scopes;
    uint32_t scope_count;
};

struct tr_apikey_set;

/* CONFIG with text, NOMEM. */
enum tr_err tr_apikey_parse(struct tr_span json, struct tr_apikey_set **ret_set,
                            struct tr_status *st) TR_MUST_USE;
enum tr_err tr_apikey_load(struct tr_span file, struct tr_apikey_set **ret_set,
                           struct tr_status *st) TR_MUST_USE;
struct tr_apikey_set *tr_apikey_ref(struct tr_apikey_set *set);
void tr_apikey_unref(struct tr_apikey_set *set); /* NULL is fine */
uint32_t tr_apikey_count(const struct tr_apikey_set *set);
/* NULL: nobody's. set may be NULL. */
const struct tr_apikey *tr_apikey_find(const struct tr_apikey_set *set, struct tr_span key);
/* Into *ret, its words in the arena. false: out of memory. */
bool tr_apikey_credential(const struct tr_apikey *key, struct tr_arena *arena,
                          struct tr_credential *ret);

struct tr_apikey_store;
struct tr_apikey_view {
    struct tr_apikey_set *set;
    struct tr_apikey_store *store;
    struct tr_mailbox *box;
    struct tr_mail mail;
    uint32_t posted;            /* atomic: the mail is under way */
    struct tr_apikey_set *next; /* atomic: a reference under way */
};

/* Control thread. Reads the file at once. */
enum tr_err tr_apikey_store_new(const struct tr_control *control, const struct tr_cfg_api_keys *cfg,
                                struct tr_apikey_store **ret_store,
                                struct tr_status *st) TR_MUST_USE;
void tr_apikey_store_free(struct tr_apikey_store *store);
/* How often a file that had changed was read, well or not. */
void tr_apikey_store_reads(const struct tr_apikey_store *store, uint64_t *ret_ok,
                           uint64_t *ret_failed);
/* Before the worker's loop runs; the view must not move and outlives mail to the worker. */
enum tr_err tr_apikey_view_init(struct tr_apikey_view *view, struct tr_apikey_store *store,
                                struct tr_mailbox *box) TR_MUST_USE;
void tr_apikey_view_fini(struct tr_apikey_view *view); /* a zeroed one is fine */

#endif
