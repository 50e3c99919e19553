#include "filters/jwks.h"

#include "base/alloc.h"
#include "base/base64.h"

#include <jansson.h>

struct entry {
    char *kid_text;     /* owned */
    struct tr_span kid; /* ptr NULL: none */
    uint32_t algorithms;
    struct tr_jwt_key *key;
};

struct tr_jwks {
    uint32_t refs; /* atomic */
    uint32_t count;
    uint64_t generation;
    bool secret;
    uint32_t skipped[TR_JWKS_SKIP__COUNT];
    struct entry entries[];
};

const char *tr_jwks_skip_name(enum tr_jwks_skip skip)
{
    static const char *const names[TR_JWKS_SKIP__COUNT] = {
        [TR_JWKS_SKIP_TYPE] = "type",       [TR_JWKS_SKIP_SYMMETRIC] = "symmetric",
        [TR_JWKS_SKIP_USE] = "use",         [TR_JWKS_SKIP_WEAK] = "weak",
        [TR_JWKS_SKIP_PRIVATE] = "private", [TR_JWKS_SKIP_MALFORMED] = "malformed",
    };
    return skip < TR_JWKS_SKIP__COUNT ? names[skip] : "unknown";
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct tr_jwks *new_set(size_t room)
{
    static uint64_t generations; /* of the process: atomic */
    struct tr_jwks *set = tr_calloc(1, sizeof *set + room * sizeof set->entries[0]);
    if (set) {
        set->refs = 1;
        set->generation = __atomic_add_fetch(&generations, 1, __ATOMIC_RELAXED);
    }
    return set;
}

struct tr_jwks *tr_jwks_ref(struct tr_jwks *set)
{
    __atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
    return set;
}

void tr_jwks_unref(struct tr_jwks *set)
{
    if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        tr_jwt_key_free(set->entries[i].key);
        tr_free(set->entries[i].kid_text);
    }
    tr_free(set);
}

uint64_t tr_jwks_generation(const struct tr_jwks *set)
{
    return set->generation;
}

bool tr_jwks_is_secret(const struct tr_jwks *set)
{
    return set->secret;
}

uint32_t tr_jwks_count(const struct tr_jwks *set)
{
    return set->count;
}

uint32_t tr_jwks_skipped(const struct tr_jwks *set, enum tr_jwks_skip why)
{
    return why < TR_JWKS_SKIP__COUNT ? set->skipped[why] : 0;
}

uint32_t tr_jwks_algorithms(const struct tr_jwks *set)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < set->count; i++)
        mask |= set->entries[i].algorithms;
    return mask;
}

bool tr_jwks_equal(const struct tr_jwks *a, const struct tr_jwks *b)
{
    if (a->count != b->count || a->secret != b->secret)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct entry *x = &a->entries[i], *y = &b->entries[i];
        if (!x->kid.ptr != !y->kid.ptr || (x->kid.ptr && !tr_span_eq(x->kid, y->kid)) ||
            x->algorithms != y->algorithms || !tr_jwt_key_equal(x->key, y->key))
            return false;
    }
    return true;
}

/* ---- members --------------------------------------------------------------------------------- */

static struct tr_span text_of(const json_t *s)
{
    return tr_span(json_string_value(s), json_string_length(s));
}

/* A member that must be a string where it is there. */
static bool string_member(const json_t *jwk, const char *name, struct tr_span *ret)
{
    const json_t *v = json_object_get(jwk, name);
    *ret = tr_span(NULL, 0);
    if (v && !json_is_string(v))
        return false;
    if (v)
        *ret = text_of(v);
    return true;
}

/* The same of bytes in base64url. A member that is longer than what any key has is malformed. */
static bool bytes_member(const json_t *jwk, const char *name, char *room, struct tr_span *ret)
{
    struct tr_span text;
    if (!string_member(jwk, name, &text) || text.len > TR_JWK_MEMBER_MAX / 3 * 4)
        return false;
    size_t len = 0;
    if (!tr_jwt_base64url(room, text, &len))
        return false;
    *ret = tr_span(room, len);
    return true;
}

static bool is_private(const json_t *jwk)
{
    static const char *const names[] = {"d", "p", "q", "dp", "dq", "qi", "oth"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (json_object_get(jwk, names[i]))
            return true;
    return false;
}

/* RFC 7517 §4.2-4.4: false when use, key_ops or alg say that the key is not for this. A name that
 * is not known says so, too. *ret_mask is what `alg` leaves of all algorithms. */
static bool for_signatures(const json_t *jwk, uint32_t *ret_mask, bool *ret_malformed)
{
    struct tr_span use, alg;
    const json_t *ops = json_object_get(jwk, "key_ops");
    *ret_malformed = !string_member(jwk, "use", &use) || !string_member(jwk, "alg", &alg) ||
                     (ops && !json_is_array(ops));
    if (*ret_malformed || (use.ptr && !tr_span_eq(use, TR_SPAN("sig"))))
        return false;
    bool verifies = !ops;
    for (size_t i = 0; i < json_array_size(ops); i++)
        verifies |= tr_span_eq(text_of(json_array_get(ops, i)), TR_SPAN("verify"));
    enum tr_jwa jwa;
    *ret_mask = TR_JWA_ASYMMETRIC;
    if (alg.ptr && !tr_jwa_find(alg, &jwa))
        return false;
    if (alg.ptr)
        *ret_mask = TR_JWA_BIT(jwa);
    return verifies;
}

/* TR_OK and *ret_key NULL: skipped, *ret_skip says why. */
static enum tr_err make_key(const json_t *jwk, struct tr_jwt_key **ret_key, uint32_t *ret_algs,
                            enum tr_jwks_skip *ret_skip)
{
    char n[TR_JWK_MEMBER_MAX + 4], e[TR_JWK_MEMBER_MAX + 4];
    struct tr_jwk parts;
    uint32_t mask = 0;
    bool malformed;
    *ret_key = NULL;
    *ret_skip = TR_JWKS_SKIP_MALFORMED;
    if (!json_is_object(jwk) || !string_member(jwk, "kty", &parts.kty) || !parts.kty.ptr ||
        !string_member(jwk, "crv", &parts.crv))
        return TR_OK;
    if (tr_span_eq(parts.kty, TR_SPAN("oct"))) {
        *ret_skip = TR_JWKS_SKIP_SYMMETRIC;
        return TR_OK;
    }
    if (is_private(jwk)) {
        *ret_skip = TR_JWKS_SKIP_PRIVATE;
        return TR_OK;
    }
    if (!for_signatures(jwk, &mask, &malformed)) {
        *ret_skip = malformed ? TR_JWKS_SKIP_MALFORMED : TR_JWKS_SKIP_USE;
        return TR_OK;
    }
    bool rsa = tr_span_eq(parts.kty, TR_SPAN("RSA"));
    parts.n = parts.e = parts.x = parts.y = tr_span(NULL, 0);
    if (!bytes_member(jwk, rsa ? "n" : "x", n, rsa ? &parts.n : &parts.x) ||
        !bytes_member(jwk, rsa ? "e" : "y", e, rsa ? &parts.e : &parts.y))
        return TR_OK;
    enum tr_jwk_fault fault = TR_JWK_MALFORMED;
    enum tr_err err = tr_jwt_key_new(&parts, ret_key, &fault, NULL);
    if (err == TR_ERR_NOMEM)
        return err;
    if (err) {
        *ret_skip = fault == TR_JWK_TYPE   ? TR_JWKS_SKIP_TYPE
                    : fault == TR_JWK_WEAK ? TR_JWKS_SKIP_WEAK
                                           : TR_JWKS_SKIP_MALFORMED;
        *ret_key = NULL;
        return TR_OK;
    }
    *ret_algs = mask & tr_jwt_key_algorithms(*ret_key);
    if (!*ret_algs) {
        tr_jwt_key_free(*ret_key);
        *ret_key = NULL;
        *ret_skip = TR_JWKS_SKIP_USE;
    }
    return TR_OK;
}

static enum tr_err add_key(struct tr_jwks *set, const json_t *jwk)
{
    struct entry *e = &set->entries[set->count];
    enum tr_jwks_skip skip = TR_JWKS_SKIP_MALFORMED;
    struct tr_span kid = {NULL, 0};
    enum tr_err err = make_key(jwk, &e->key, &e->algorithms, &skip);
    if (err)
        return err;
    if (e->key && (!string_member(jwk, "kid", &kid) || kid.len > TR_JWKS_KID_MAX)) {
        tr_jwt_key_free(e->key);
        e->key = NULL;
        skip = TR_JWKS_SKIP_MALFORMED;
    }
    if (!e->key) {
        set->skipped[skip]++;
        return TR_OK;
    }
    if (kid.ptr) {
        e->kid_text = tr_malloc(kid.len + 1);
        if (!e->kid_text) {
            tr_jwt_key_free(e->key);
            return TR_ERR_NOMEM;
        }
        memcpy(e->kid_text, kid.ptr, kid.len);
        e->kid = tr_span(e->kid_text, kid.len);
    }
    set->count++;
    return TR_OK;
}

/* ---- documents ------------------------------------------------------------------------------- */

enum tr_err tr_jwks_from_dom(const struct json_t *doc, struct tr_jwks **ret, struct tr_status *st)
{
    const json_t *keys = json_object_get(doc, "keys");
    size_t n = json_array_size(keys);
    if (!json_is_array(keys))
        return tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "the key set has no array \"keys\"");
    if (n > TR_JWKS_KEYS_MAX)
        return tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "the key set has %zu keys, more than %d", n,
                       TR_JWKS_KEYS_MAX);
    struct tr_jwks *set = new_set(n);
    if (!set)
        return TR_ERR_NOMEM;
    enum tr_err err = TR_OK;
    for (size_t i = 0; i < n && !err; i++)
        err = add_key(set, json_array_get(keys, i));
    if (!err && !set->count) {
        const uint32_t *s = set->skipped;
        err = tr_fail(st, TR_ERR_AUTH_UNAVAILABLE,
                      "the key set has no usable key (%zu in it: %u symmetric, %u private, "
                      "%u for another use, %u weak, %u malformed, %u of another type)",
                      n, s[TR_JWKS_SKIP_SYMMETRIC], s[TR_JWKS_SKIP_PRIVATE], s[TR_JWKS_SKIP_USE],
                      s[TR_JWKS_SKIP_WEAK], s[TR_JWKS_SKIP_MALFORMED], s[TR_JWKS_SKIP_TYPE]);
    }
    if (err)
        tr_jwks_unref(set);
    else
        *ret = set;
    return err;
}

static enum tr_err load(struct tr_span json, json_t **ret, struct tr_status *st)
{
    json_error_t why;
    if (json.len > TR_JWKS_BYTES_MAX)
        return tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "the document has more than %zu bytes",
                       TR_JWKS_BYTES_MAX);
    *ret = json_loadb(json.len ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                      &why);
    if (json_is_object(*ret)) /* NULL is none */
        return TR_OK;
    bool nomem = !*ret && json_error_code(&why) == json_error_out_of_memory;
    bool parsed = *ret != NULL;
    json_decref(*ret);
    if (nomem)
        return TR_ERR_NOMEM;
    if (parsed)
        return tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "the document is not a JSON object");
    return tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "the document is not JSON, line %d, column %d",
                   why.line, why.column);
}

enum tr_err tr_jwks_parse(struct tr_span json, struct tr_jwks **ret, struct tr_status *st)
{
    json_t *doc = NULL;
    enum tr_err err = load(json, &doc, st);
    if (err)
        return err;
    err = tr_jwks_from_dom(doc, ret, st);
    json_decref(doc);
    return err;
}

enum tr_err tr_jwks_from_secret(struct tr_span secret, struct tr_jwks **ret, struct tr_status *st)
{
    struct tr_jwks *set = new_set(1);
    if (!set)
        return TR_ERR_NOMEM;
    enum tr_err err = tr_jwt_key_secret(secret, &set->entries[0].key, st);
    if (err) {
        tr_jwks_unref(set);
        return err;
    }
    set->entries[0].algorithms = tr_jwt_key_algorithms(set->entries[0].key);
    set->secret = true;
    set->count = 1;
    *ret = set;
    return TR_OK;
}

enum tr_err tr_jwks_discovery(struct tr_span json, struct tr_span issuer, char *uri, size_t cap,
                              size_t *ret_len, struct tr_status *st)
{
    json_t *doc = NULL;
    struct tr_span named, where;
    enum tr_err err = load(json, &doc, st);
    if (err)
        return err;
    if (!string_member(doc, "issuer", &named) || !named.ptr || !tr_span_is_printable(named))
        err = tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "discovery names no issuer");
    else if (!tr_span_eq(named, issuer))
        err = tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "discovery names another issuer: %.*s",
                      (int)(named.len < 100 ? named.len : 100), named.ptr);
    else if (!string_member(doc, "jwks_uri", &where) || !where.len || where.len > cap)
        err = tr_fail(st, TR_ERR_AUTH_UNAVAILABLE, "discovery has no usable jwks_uri");
    else {
        memcpy(uri, where.ptr, where.len);
        *ret_len = where.len;
    }
    json_decref(doc);
    return err;
}

/* ---- look-up --------------------------------------------------------------------------------- */

uint32_t tr_jwks_find(const struct tr_jwks *set, bool has_kid, struct tr_span kid, enum tr_jwa alg,
                      const struct tr_jwt_key *ret_keys[TR_JWKS_TRIES_MAX], bool *ret_known)
{
    bool known = !has_kid;
    for (uint32_t i = 0; i < set->count && !known; i++)
        known = set->entries[i].kid.ptr && tr_span_eq(set->entries[i].kid, kid);
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->count && n < TR_JWKS_TRIES_MAX; i++) {
        const struct entry *e = &set->entries[i];
        bool meant = !has_kid || (known ? e->kid.ptr && tr_span_eq(e->kid, kid) : !e->kid.ptr);
        if (meant && (e->algorithms & TR_JWA_BIT(alg)))
            ret_keys[n++] = e->key;
    }
    *ret_known = known;
    return n;
}
