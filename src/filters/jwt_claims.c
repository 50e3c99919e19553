#include "filters/jwt_claims.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/num.h"

#include <math.h>

/* ---- registered claims ----------------------------------------------------------------------- */

static enum tr_jwt_registered registered(struct tr_span name)
{
    static const struct {
        struct tr_span name;
        enum tr_jwt_registered is;
    } names[] = {
        {TR_SPAN_INIT("iss"), TR_JWT_REG_ISS},     {TR_SPAN_INIT("aud"), TR_JWT_REG_AUD},
        {TR_SPAN_INIT("exp"), TR_JWT_REG_EXP},     {TR_SPAN_INIT("nbf"), TR_JWT_REG_NBF},
        {TR_SPAN_INIT("iat"), TR_JWT_REG_IAT},     {TR_SPAN_INIT("scp"), TR_JWT_REG_SCOPE},
        {TR_SPAN_INIT("scope"), TR_JWT_REG_SCOPE},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (tr_span_eq(name, names[i].name))
            return names[i].is;
    return TR_JWT_REG_NONE;
}

/* The words of s between spaces; `ret` may be NULL. */
static uint32_t words(struct tr_span s, struct tr_span *ret)
{
    uint32_t n = 0;
    while (s.ptr) {
        struct tr_span word = tr_span_cut(&s, ' ');
        if (word.len && ret)
            ret[n] = word;
        n += word.len != 0;
    }
    return n;
}

static bool date(const struct tr_jwt_claims_walk *w, enum tr_json_tok tok, double *ret)
{
    /* What is too large for a double is an error of the parser: never infinite. */
    return tok == TR_JSON_NUMBER && !tr_num_parse_double(w->r.scan.text, ret);
}

/* tok begins the value of a registered claim, or is an element of its array. */
static void note(struct tr_jwt_claims_walk *w, enum tr_json_tok tok)
{
    struct tr_span text = w->r.scan.text;
    double any;
    switch (w->registered) {
    case TR_JWT_REG_ISS:
        w->iss_right =
            tok == TR_JSON_STRING && !w->array_depth && tr_span_eq(text, w->rules->issuer);
        break;
    case TR_JWT_REG_AUD:
        w->aud_there = true;
        if (tok == TR_JSON_ARR_BEGIN && !w->array_depth)
            break;
        w->wrong |= tok != TR_JSON_STRING && !w->rules->any_audience;
        for (uint32_t i = 0; tok == TR_JSON_STRING && i < w->rules->audience_count; i++)
            w->aud_right |= tr_span_eq(text, w->rules->audiences[i]);
        break;
    case TR_JWT_REG_EXP:
        w->exp_there = date(w, tok, &w->exp);
        w->wrong |= !w->exp_there;
        break;
    case TR_JWT_REG_NBF:
        w->nbf_there = date(w, tok, &w->nbf);
        w->wrong |= !w->nbf_there;
        break;
    case TR_JWT_REG_IAT:
        w->wrong |= !date(w, tok, &any);
        break;
    case TR_JWT_REG_SCOPE:
        if (tok == TR_JSON_STRING)
            w->scopes += words(text, NULL);
        else if (tok == TR_JSON_NUMBER || tok == TR_JSON_TRUE || tok == TR_JSON_FALSE)
            w->scopes++;
        break;
    case TR_JWT_REG_NONE:
        break;
    }
}

/* ---- flattening ------------------------------------------------------------------------------ */

/* The dotted name of the member whose KEY is at hand. */
static void name_member(struct tr_jwt_claims_walk *w)
{
    struct tr_span key = w->r.scan.text;
    size_t at = w->prefix_len[w->level];
    w->registered = w->level == 1 ? registered(key) : TR_JWT_REG_NONE;
    w->name_long = at + (w->level > 1) + key.len > sizeof w->name;
    if (w->name_long)
        return;
    if (w->level > 1)
        w->name[at++] = '.';
    memcpy(w->name + at, key.ptr, key.len);
    w->name_len = at + key.len;
}

/* Names kept are at most twice TR_JWT_CLAIMS_MAX, of TR_JWT_CLAIM_NAME_MAX bytes each; a value's
 * text is never longer than what it stands as in the payload, and stands there once. */
_Static_assert(TR_JWT_TEXT_MAX <= UINT16_MAX, "slices are of 16 bits");
_Static_assert(TR_JWT_VALUES_MAX <= UINT16_MAX, "values are counted in 16 bits");

static struct tr_jwt_slice keep_text(struct tr_jwt_claims_walk *w, struct tr_span s)
{
    struct tr_jwt_slice at = {(uint16_t)w->text_len, (uint16_t)s.len};
    TR_DCHECK(s.len <= sizeof w->text - w->text_len);
    memcpy(w->text + w->text_len, s.ptr, s.len);
    w->text_len += (uint32_t)s.len;
    return at;
}

static struct tr_span text_of(const struct tr_jwt_claims_walk *w, struct tr_jwt_slice s)
{
    return tr_span(w->text + s.at, s.len);
}

static void begin_claim(struct tr_jwt_claims_walk *w)
{
    bool top = w->level == 1;
    uint32_t *count = top ? &w->top : &w->nested;
    w->kept = !w->name_long && *count < TR_JWT_CLAIMS_MAX;
    if (!w->kept)
        return;
    w->found[w->top + w->nested] =
        (struct tr_jwt_found){.name = keep_text(w, tr_span(w->name, w->name_len)),
                              .first = (uint16_t)w->values,
                              .top = top};
    ++*count;
}

static void add_value(struct tr_jwt_claims_walk *w, enum tr_json_tok tok)
{
    struct tr_span text = tok == TR_JSON_TRUE    ? TR_SPAN("true")
                          : tok == TR_JSON_FALSE ? TR_SPAN("false")
                                                 : w->r.scan.text;
    if (!w->kept || tok == TR_JSON_NULL)
        return;
    TR_DCHECK(w->values < TR_JWT_VALUES_MAX);
    w->value[w->values++] = keep_text(w, text);
    w->found[w->top + w->nested - 1].count++;
}

static void begin_container(struct tr_jwt_claims_walk *w, enum tr_json_tok tok)
{
    uint32_t depth = w->r.scan.depth;
    if (w->array_depth ||
        (tok == TR_JSON_OBJ_BEGIN && (w->level == TR_JWT_CLAIM_DEPTH_MAX || w->name_long))) {
        w->skip_depth = depth;
    } else if (tok == TR_JSON_OBJ_BEGIN) {
        w->level = depth;
        w->prefix_len[depth] = w->name_len;
    } else {
        w->array_depth = depth;
        begin_claim(w);
    }
}

static void end_container(struct tr_jwt_claims_walk *w)
{
    uint32_t ended = w->r.scan.depth + 1;
    if (w->skip_depth == ended)
        w->skip_depth = 0;
    else if (w->array_depth == ended)
        w->array_depth = 0;
    else if (!w->skip_depth)
        w->level = ended - 1;
}

static void take(struct tr_jwt_claims_walk *w, enum tr_json_tok tok)
{
    if (tok == TR_JSON_OBJ_END || tok == TR_JSON_ARR_END) {
        end_container(w);
        return;
    }
    if (w->skip_depth)
        return;
    if (tok == TR_JSON_KEY) {
        name_member(w);
        return;
    }
    note(w, tok);
    if (tok == TR_JSON_OBJ_BEGIN || tok == TR_JSON_ARR_BEGIN) {
        begin_container(w, tok);
        return;
    }
    if (!w->array_depth && tok != TR_JSON_NULL)
        begin_claim(w);
    add_value(w, tok);
}

static enum tr_jwt_result walk(struct tr_jwt_claims_walk *w, struct tr_span payload)
{
    tr_jwt_json_begin(&w->r, payload, TR_JWT_CLAIMS);
    enum tr_json_tok tok = tr_jwt_json_next(&w->r);
    enum tr_jwt_result result = tok == TR_JSON_OBJ_BEGIN ? TR_JWT_OK : TR_JWT_MALFORMED;
    w->level = 1;
    w->prefix_len[1] = 0;
    w->array_depth = w->skip_depth = 0;
    w->kept = false;
    while (!result && tok != TR_JSON_END) {
        tok = tr_jwt_json_next(&w->r);
        if (tok == TR_JSON_ERROR)
            result = w->r.fault;
        else if (tok != TR_JSON_END)
            take(w, tok);
    }
    if (result && w->r.fault)
        result = w->r.fault;
    tr_jwt_json_end(&w->r);
    return result;
}

/* ---- the walk, and what follows -------------------------------------------------------------- */

enum tr_jwt_result tr_jwt_claims_read(struct tr_jwt_claims_walk *w, struct tr_span payload,
                                      const struct tr_jwt_rules *rules)
{
    w->rules = rules;
    w->iss_right = w->aud_there = w->aud_right = w->exp_there = w->nbf_there = w->wrong = false;
    w->exp = w->nbf = 0;
    w->top = w->nested = w->values = w->scopes = w->text_len = 0;
    enum tr_jwt_result result = walk(w, payload);
    if (!result && !w->iss_right)
        result = TR_JWT_ISSUER;
    return result;
}

enum tr_jwt_result tr_jwt_claims_judge(const struct tr_jwt_claims_walk *w, int64_t now_s)
{
    double now = (double)now_s, skew = w->rules->clock_skew_s;
    if (w->wrong || !w->exp_there)
        return TR_JWT_CLAIMS;
    if (!w->rules->any_audience && !w->aud_right)
        return TR_JWT_AUDIENCE;
    if (!(now < w->exp + skew))
        return TR_JWT_EXPIRED;
    if (w->nbf_there && !(now + skew >= w->nbf))
        return TR_JWT_NOT_YET;
    return TR_JWT_OK;
}

static int64_t until(double end)
{
    return end >= 9.2e18 ? INT64_MAX : end <= -9.2e18 ? INT64_MIN : (int64_t)ceil(end);
}

static void add_scopes(struct tr_jwt *jwt, struct tr_span *room, struct tr_span name)
{
    const struct tr_claim *c = tr_claims_find(&jwt->claims, name);
    for (uint32_t i = 0; c && i < c->count; i++)
        jwt->scope_count += words(c->values[i], room + jwt->scope_count);
}

static struct tr_span single(const struct tr_jwt *jwt, struct tr_span name)
{
    const struct tr_claim *c = tr_claims_find(&jwt->claims, name);
    return c && c->count == 1 ? c->values[0] : tr_span("", 0);
}

static size_t round8(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

/* Two claims may have one name: "a.b" beside {"a": {"b": ...}}. */
static bool is_repeated(const struct tr_claim *items, uint32_t count, struct tr_span name)
{
    for (uint32_t i = 0; i < count; i++)
        if (tr_span_eq(items[i].name, name))
            return true;
    return false;
}

/* Claims of the top level go first whatever their order, so that an object with many members cannot
 * push `sub` out. CLAIMS: two have one name. */
static enum tr_jwt_result fill(const struct tr_jwt_claims_walk *w, struct tr_claim *items,
                               struct tr_span *values, const char *text, uint32_t *ret_count)
{
    uint32_t count = 0, nested = 0;
    for (uint32_t i = 0; i < w->values; i++)
        values[i] = tr_span(text + w->value[i].at, w->value[i].len);
    for (uint32_t i = 0; i < w->top + w->nested; i++) {
        const struct tr_jwt_found *f = &w->found[i];
        if (!f->top && nested++ >= TR_JWT_CLAIMS_MAX - w->top)
            continue;
        if (is_repeated(items, count, text_of(w, f->name)))
            return TR_JWT_CLAIMS;
        items[count++] =
            (struct tr_claim){tr_span(text + f->name.at, f->name.len), values + f->first, f->count};
    }
    *ret_count = count;
    return TR_JWT_OK;
}

/* tr_jwt | claims | values | scopes | token | text */
enum tr_jwt_result tr_jwt_claims_make(const struct tr_jwt_claims_walk *w, struct tr_span token,
                                      struct tr_jwt **ret)
{
    size_t items_at = round8(sizeof(struct tr_jwt));
    size_t values_at = items_at + (w->top + w->nested) * sizeof(struct tr_claim);
    size_t scopes_at = values_at + w->values * sizeof(struct tr_span);
    size_t token_at = scopes_at + w->scopes * sizeof(struct tr_span);
    size_t text_at = token_at + token.len, bytes = text_at + w->text_len;
    char *block = tr_malloc(bytes);
    if (!block)
        return TR_JWT_NOMEM;
    struct tr_jwt *jwt = (struct tr_jwt *)(void *)block;
    struct tr_claim *items = (struct tr_claim *)(void *)(block + items_at);
    struct tr_span *scopes = (struct tr_span *)(void *)(block + scopes_at);
    *jwt = (struct tr_jwt){.claims = {.items = items}, .scopes = scopes};
    memcpy(block + token_at, token.ptr, token.len);
    memcpy(block + text_at, w->text, w->text_len);
    enum tr_jwt_result result = fill(w, items, (struct tr_span *)(void *)(block + values_at),
                                     block + text_at, &jwt->claims.count);
    if (result) {
        tr_free(block);
        return result;
    }
    add_scopes(jwt, scopes, TR_SPAN("scope"));
    add_scopes(jwt, scopes, TR_SPAN("scp"));
    TR_DCHECK(jwt->scope_count <= w->scopes);
    jwt->issuer = single(jwt, TR_SPAN("iss"));
    jwt->subject = single(jwt, TR_SPAN("sub"));
    jwt->valid_until_s = until(w->exp + w->rules->clock_skew_s);
    jwt->token = tr_span(block + token_at, token.len);
    jwt->bytes = bytes;
    jwt->refs = 1;
    tr_list_init(&jwt->node);
    *ret = jwt;
    return TR_JWT_OK;
}
