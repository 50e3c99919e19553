#include "config/keys.h"

#include "base/num.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tr_span pointer_join(struct tr_keys_ctx *ctx, struct tr_span base,
                                   struct tr_span part)
{
    size_t max = base.len + 1 + part.len * 2 + 1;
    char *p = tr_arena_alloc(ctx->arena, max);
    if (!p)
        return base;
    size_t n = base.len;
    if (n)
        memcpy(p, base.ptr, n);
    p[n++] = '/';
    for (size_t i = 0; i < part.len; i++) { /* RFC 6901 §3 */
        char c = part.ptr[i];
        if (c == '~' || c == '/') {
            p[n++] = '~';
            p[n++] = c == '~' ? '0' : '1';
        } else {
            p[n++] = c;
        }
    }
    return tr_span(p, n);
}

static struct tr_span pointer_index(struct tr_keys_ctx *ctx, struct tr_span base, size_t i)
{
    char digits[TR_NUM_MAX];
    return pointer_join(ctx, base, tr_span(digits, tr_num_u64(digits, i)));
}

static struct tr_span json_text(const json_t *v)
{
    return tr_span(json_string_value(v), json_string_length(v));
}

static void wrong(struct tr_keys_ctx *ctx, struct tr_span where, const char *want)
{
    tr_problem(ctx->problems, TR_PROBLEM_ERROR, where, "expected %s", want);
}

static struct tr_span copy_text(struct tr_keys_ctx *ctx, struct tr_span s)
{
    return tr_arena_copy(ctx->arena, s);
}

static struct tr_span copy_path(struct tr_keys_ctx *ctx, struct tr_span s)
{
    if (s.len == 0 || s.ptr[0] == '/' || s.ptr[0] == '@' || ctx->folder.len == 0)
        return copy_text(ctx, s);
    size_t len = ctx->folder.len + 1 + s.len;
    char *p = tr_arena_alloc(ctx->arena, len + 1);
    if (!p)
        return (struct tr_span){NULL, 0};
    memcpy(p, ctx->folder.ptr, ctx->folder.len);
    p[ctx->folder.len] = '/';
    memcpy(p + ctx->folder.len + 1, s.ptr, s.len);
    p[len] = '\0';
    return tr_span(p, len);
}

static bool enum_parse(const char *choices, struct tr_span text, uint8_t *ret)
{
    struct tr_span rest = tr_span_cstr(choices);
    for (uint8_t i = 0; rest.ptr; i++) {
        struct tr_span one = tr_span_cut(&rest, ' ');
        if (tr_span_eq(one, text)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool in_bounds(const struct tr_key *key, uint64_t v)
{
    return v >= key->min && (key->max == 0 || v <= key->max);
}

static void out_of_bounds(const struct tr_key *key, struct tr_keys_ctx *ctx, struct tr_span where)
{
    if (key->type == TR_KEY_DURATION)
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, where, "must be between %gs and %gs",
                   (double)key->min / 1e9, key->max ? (double)key->max / 1e9 : 9e9);
    else
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, where, "must be between %llu and %llu",
                   (unsigned long long)key->min, key->max ? (unsigned long long)key->max : ~0ull);
}

/* A scalar from its text form, as defaults are written. */
static bool scalar_from_text(const struct tr_key *key, struct tr_span text, struct tr_keys_ctx *ctx,
                             void *field)
{
    uint64_t v = 0;
    switch (key->type) {
    case TR_KEY_BOOL:
        *(bool *)field = tr_span_eq(text, TR_SPAN("true"));
        return true;
    case TR_KEY_U32:
        if (!tr_span_u64(text, &v))
            return false;
        *(uint32_t *)field = (uint32_t)v;
        return true;
    case TR_KEY_SIZE:
        return tr_size_parse(text, field);
    case TR_KEY_DURATION:
        return tr_duration_parse(text, field);
    case TR_KEY_STRING:
        *(struct tr_span *)field = copy_text(ctx, text);
        return true;
    case TR_KEY_PATH:
        *(struct tr_span *)field = copy_path(ctx, text);
        return true;
    case TR_KEY_ENUM:
        return enum_parse(key->choices, text, field);
    case TR_KEY_STRINGS:
    case TR_KEY_PATHS:
    case TR_KEY_OBJECT:
    case TR_KEY_OPTIONAL:
    case TR_KEY_ARRAY:
    case TR_KEY_ONE_OR_MANY:
    case TR_KEY_MAP:
    case TR_KEY_STRING_MAP:
    case TR_KEY_STRING_OR_ITEM:
    case TR_KEY_RAW:
    case TR_KEY_OBJECT_OR_NONE:
    case TR_KEY_STRINGS_OR_ANY:
    case TR_KEY_LISTS:
        return false;
    case TR_KEY_SECRET:
        *(struct tr_span *)field = copy_text(ctx, text);
        return true;
    case TR_KEY_RATIO:
        return tr_ratio_parse(text, field);
    }
    return false;
}

static void parse_number(const struct tr_key *key, const json_t *v, struct tr_span where,
                         struct tr_keys_ctx *ctx, void *field)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        wrong(ctx, where, "a number that is not negative");
        return;
    }
    uint64_t n = (uint64_t)json_integer_value(v);
    if (!in_bounds(key, n) || n > UINT32_MAX) {
        out_of_bounds(key, ctx, where);
        return;
    }
    *(uint32_t *)field = (uint32_t)n;
}

static void parse_size(const struct tr_key *key, const json_t *v, struct tr_span where,
                       struct tr_keys_ctx *ctx, void *field)
{
    uint64_t n = 0;
    bool ok = false;
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        n = (uint64_t)json_integer_value(v);
        ok = true;
    } else if (json_is_string(v)) {
        ok = tr_size_parse(json_text(v), &n);
    }
    if (!ok)
        wrong(ctx, where, "a size: an integer of bytes or \"64KiB\", \"4MiB\", \"1GiB\"");
    else if (!in_bounds(key, n))
        out_of_bounds(key, ctx, where);
    else
        *(uint64_t *)field = n;
}

static void parse_duration(const struct tr_key *key, const json_t *v, struct tr_span where,
                           struct tr_keys_ctx *ctx, void *field)
{
    uint64_t n = 0;
    if (!json_is_string(v) || !tr_duration_parse(json_text(v), &n))
        wrong(ctx, where, "a duration: \"1.5s\", \"200ms\", \"5m\"");
    else if (!in_bounds(key, n))
        out_of_bounds(key, ctx, where);
    else
        *(uint64_t *)field = n;
}

static void parse_strings(const struct tr_key *key, const json_t *v, struct tr_span where,
                          struct tr_keys_ctx *ctx, void *field)
{
    if (!json_is_array(v)) {
        wrong(ctx, where, "an array of strings");
        return;
    }
    size_t count = json_array_size(v);
    struct tr_span *items = tr_arena_calloc(ctx->arena, count ? count : 1, sizeof *items);
    if (!items)
        return;
    for (size_t i = 0; i < count; i++) {
        const json_t *e = json_array_get(v, i);
        if (!json_is_string(e)) {
            wrong(ctx, pointer_index(ctx, where, i), "a string");
            continue;
        }
        items[i] =
            key->type == TR_KEY_PATHS ? copy_path(ctx, json_text(e)) : copy_text(ctx, json_text(e));
    }
    *(struct tr_strings *)field = (struct tr_strings){items, (uint32_t)count};
}

static void parse_pairs(const json_t *v, struct tr_span where, struct tr_keys_ctx *ctx, void *field)
{
    if (!json_is_object(v)) {
        wrong(ctx, where, "an object of strings");
        return;
    }
    size_t count = json_object_size(v);
    struct tr_span *names = tr_arena_calloc(ctx->arena, count + 1, sizeof *names);
    struct tr_span *values = tr_arena_calloc(ctx->arena, count + 1, sizeof *values);
    if (!names || !values)
        return;
    const char *name;
    json_t *e;
    uint32_t i = 0;
    json_object_foreach((json_t *)(uintptr_t)v, name, e)
    {
        if (json_is_null(e)) /* removes an inherited one */
            continue;
        if (!json_is_string(e)) {
            wrong(ctx, pointer_join(ctx, where, tr_span_cstr(name)), "a string");
            continue;
        }
        names[i] = copy_text(ctx, tr_span_cstr(name));
        values[i++] = copy_text(ctx, json_text(e));
    }
    *(struct tr_pairs *)field = (struct tr_pairs){names, values, i};
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables, not of the input */
static void parse_array(const struct tr_key *key, const json_t *v, struct tr_span where,
                        struct tr_keys_ctx *ctx, void *field)
{
    bool single = (key->type == TR_KEY_ONE_OR_MANY && json_is_object(v));
    if (!json_is_array(v) && !single) {
        wrong(ctx, where, "an array");
        return;
    }
    size_t count = single ? 1 : json_array_size(v);
    char *items = tr_arena_calloc(ctx->arena, count ? count : 1, key->sub->struct_size);
    if (!items)
        return;
    for (size_t i = 0; i < count; i++) {
        const json_t *e = single ? v : json_array_get(v, i);
        struct tr_span at = single ? where : pointer_index(ctx, where, i);
        void *item = items + i * key->sub->struct_size;
        if (key->type == TR_KEY_STRING_OR_ITEM && json_is_string(e)) {
            tr_keys_parse(key->sub, NULL, at, ctx, item);
            *(struct tr_span *)(void *)((char *)item + key->sub->keys[0].offset) =
                copy_text(ctx, json_text(e));
        } else {
            tr_keys_parse(key->sub, e, at, ctx, item);
        }
    }
    *(struct tr_items *)field = (struct tr_items){items, (uint32_t)count};
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables, not of the input */
static void parse_map(const struct tr_key *key, const json_t *v, struct tr_span where,
                      struct tr_keys_ctx *ctx, void *field)
{
    if (!json_is_object(v)) {
        wrong(ctx, where, "an object");
        return;
    }
    size_t count = json_object_size(v);
    char *items = tr_arena_calloc(ctx->arena, count ? count : 1, key->sub->struct_size);
    if (!items)
        return;
    const char *name;
    json_t *e;
    size_t i = 0;
    json_object_foreach((json_t *)(uintptr_t)v, name, e)
    {
        void *item = items + i++ * key->sub->struct_size;
        tr_keys_parse(key->sub, e, pointer_join(ctx, where, tr_span_cstr(name)), ctx, item);
        *(struct tr_span *)item = copy_text(ctx, tr_span_cstr(name));
    }
    *(struct tr_items *)field = (struct tr_items){items, (uint32_t)count};
}

static void parse_text(const struct tr_key *key, const json_t *v, struct tr_span where,
                       struct tr_keys_ctx *ctx, void *field)
{
    if (!json_is_string(v)) {
        wrong(ctx, where, key->type == TR_KEY_ENUM ? key->choices : "a string");
        return;
    }
    if (strlen(json_string_value(v)) != json_string_length(v)) {
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, where, "must not have U+0000");
        return;
    }
    if (!scalar_from_text(key, json_text(v), ctx, field))
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, where, "must be one of: %s", key->choices);
}

static void parse_ratio(const json_t *v, struct tr_span where, struct tr_keys_ctx *ctx, void *field)
{
    double n = json_is_number(v) ? json_number_value(v) : -1;
    if (!(n >= 0 && n <= 1))
        wrong(ctx, where, "a number from 0 to 1");
    else
        *(uint32_t *)field = (uint32_t)(n * 1e6 + 0.5);
}

static struct tr_span read_secret_file(struct tr_span path, struct tr_span where,
                                       struct tr_keys_ctx *ctx)
{
    char why[128], buf[65537];
    struct tr_span none = {NULL, 0};
    FILE *f = fopen(path.ptr, "re");
    if (!f) {
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, where, "cannot open %s: %s", path.ptr,
                   strerror_r(errno, why, sizeof why));
        return none;
    }
    size_t n = fread(buf, 1, sizeof buf, f);
    bool bad = ferror(f) || n == sizeof buf;
    (void)fclose(f);
    if (bad) {
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, where,
                   "%s cannot be read, or is larger than 64 KiB", path.ptr);
        return none;
    }
    while (n && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
        n--;
    struct tr_span secret = tr_arena_copy(ctx->arena, tr_span(buf, n));
    explicit_bzero(buf, sizeof buf);
    return secret;
}

/* A string, {"file": "..."} or {"env": "..."}; it never stands in a message. */
static void parse_secret(const json_t *v, struct tr_span where, struct tr_keys_ctx *ctx,
                         void *field)
{
    struct tr_span *out = field;
    const json_t *file = json_object_get(v, "file"), *env = json_object_get(v, "env");
    if (json_is_string(v)) {
        *out = copy_text(ctx, json_text(v));
    } else if (json_object_size(v) == 1 && json_is_string(file)) {
        struct tr_span path = copy_path(ctx, json_text(file));
        if (path.ptr)
            *out = read_secret_file(path, where, ctx);
    } else if (json_object_size(v) == 1 && json_is_string(env)) {
        const char *text = getenv(json_string_value(env)); /* NOLINT(concurrency-mt-unsafe) */
        if (text)
            *out = copy_text(ctx, tr_span_cstr(text));
        else
            tr_problem(ctx->problems, TR_PROBLEM_ERROR, where,
                       "the environment has no variable \"%s\"", json_string_value(env));
    } else {
        wrong(ctx, where, "a string, {\"file\": path} or {\"env\": name}");
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables, not of the input */
static void parse_optional(const struct tr_key *key, const json_t *v, struct tr_span where,
                           struct tr_keys_ctx *ctx, void *field)
{
    void *sub = tr_arena_calloc(ctx->arena, 1, key->sub->struct_size);
    if (!sub)
        return;
    if (key->type == TR_KEY_OBJECT_OR_NONE && json_is_string(v)) {
        if (!tr_span_eq(json_text(v), TR_SPAN("none")))
            wrong(ctx, where, "an object or \"none\"");
        tr_keys_parse(key->sub, NULL, where, ctx, sub);
        *(bool *)sub = true;
    } else {
        tr_keys_parse(key->sub, v, where, ctx, sub);
    }
    *(void **)field = sub;
}

static void parse_lists(const json_t *v, struct tr_span where, struct tr_keys_ctx *ctx, void *field)
{
    static const struct tr_key values = {.name = "", .type = TR_KEY_STRINGS};
    if (!json_is_object(v)) {
        wrong(ctx, where, "an object of strings or arrays of strings");
        return;
    }
    struct tr_named_strings *items =
        tr_arena_calloc(ctx->arena, json_object_size(v) + 1, sizeof *items);
    const char *name;
    json_t *e;
    uint32_t i = 0;
    if (!items)
        return;
    json_object_foreach((json_t *)(uintptr_t)v, name, e)
    {
        if (json_is_null(e))
            continue;
        items[i].name = copy_text(ctx, tr_span_cstr(name));
        if (json_is_string(e)) {
            struct tr_span *one = tr_arena_calloc(ctx->arena, 1, sizeof *one);
            if (one)
                *one = copy_text(ctx, json_text(e));
            items[i].values = (struct tr_strings){one, one ? 1 : 0};
        } else {
            parse_strings(&values, e, pointer_join(ctx, where, items[i].name), ctx,
                          &items[i].values);
        }
        i++;
    }
    *(struct tr_items *)field = (struct tr_items){items, i};
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables, not of the input */
static void parse_value(const struct tr_key *key, const json_t *v, struct tr_span where,
                        struct tr_keys_ctx *ctx, void *field)
{
    switch (key->type) {
    case TR_KEY_BOOL:
        if (!json_is_boolean(v))
            wrong(ctx, where, "true or false");
        else
            *(bool *)field = json_is_true(v);
        break;
    case TR_KEY_U32:
        parse_number(key, v, where, ctx, field);
        break;
    case TR_KEY_SIZE:
        parse_size(key, v, where, ctx, field);
        break;
    case TR_KEY_DURATION:
        parse_duration(key, v, where, ctx, field);
        break;
    case TR_KEY_STRING:
    case TR_KEY_PATH:
    case TR_KEY_ENUM:
        parse_text(key, v, where, ctx, field);
        break;
    case TR_KEY_STRINGS:
    case TR_KEY_PATHS:
        parse_strings(key, v, where, ctx, field);
        break;
    case TR_KEY_OBJECT:
        tr_keys_parse(key->sub, v, where, ctx, field);
        break;
    case TR_KEY_OPTIONAL:
    case TR_KEY_OBJECT_OR_NONE:
        parse_optional(key, v, where, ctx, field);
        break;
    case TR_KEY_RATIO:
        parse_ratio(v, where, ctx, field);
        break;
    case TR_KEY_SECRET:
        parse_secret(v, where, ctx, field);
        break;
    case TR_KEY_STRINGS_OR_ANY:
        if (json_is_string(v) && tr_span_eq(json_text(v), TR_SPAN("any")))
            *(struct tr_strings *)field =
                (struct tr_strings){tr_arena_calloc(ctx->arena, 1, sizeof(struct tr_span)), 1};
        else
            parse_strings(key, v, where, ctx, field);
        break;
    case TR_KEY_LISTS:
        parse_lists(v, where, ctx, field);
        break;
    case TR_KEY_ARRAY:
    case TR_KEY_ONE_OR_MANY:
    case TR_KEY_STRING_OR_ITEM:
        parse_array(key, v, where, ctx, field);
        break;
    case TR_KEY_MAP:
        parse_map(key, v, where, ctx, field);
        break;
    case TR_KEY_STRING_MAP:
        parse_pairs(v, where, ctx, field);
        break;
    case TR_KEY_RAW:
        *(const json_t **)field = v;
        break;
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables, not of the input */
static void apply_default(const struct tr_key *key, struct tr_span pointer, struct tr_keys_ctx *ctx,
                          void *field, bool have_object)
{
    if (key->type == TR_KEY_OBJECT) {
        tr_keys_parse(key->sub, NULL, pointer, ctx, field);
        return;
    }
    if (!key->default_text) {
        if (have_object)
            tr_problem(ctx->problems, TR_PROBLEM_ERROR, pointer, "\"%s\" is required", key->name);
        return;
    }
    if (key->default_text[0])
        (void)scalar_from_text(key, tr_span_cstr(key->default_text), ctx, field);
}

/* Edit distance of at most 2, for "did you mean". */
static bool similar(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), pre = 0, suf = 0;
    while (pre < la && pre < lb && a[pre] == b[pre])
        pre++;
    while (suf < la - pre && suf < lb - pre && a[la - 1 - suf] == b[lb - 1 - suf])
        suf++;
    size_t ra = la - pre - suf, rb = lb - pre - suf;
    return (ra > rb ? ra : rb) <= 2;
}

static void unknown_key(const struct tr_keys *keys, const char *name, struct tr_span pointer,
                        struct tr_keys_ctx *ctx)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        if (similar(keys->keys[i].name, name)) {
            tr_problem(ctx->problems, TR_PROBLEM_ERROR, pointer,
                       "unknown key \"%s\"; did you mean \"%s\"?", name, keys->keys[i].name);
            return;
        }
    }
    char all[160];
    size_t len = 0;
    for (uint32_t i = 0; i < keys->count && len < sizeof all; i++)
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "",
                                keys->keys[i].name);
    if (len < sizeof all) /* of a long table the reference has them */
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, pointer, "unknown key \"%s\"; there %s %s",
                   name, keys->count == 1 ? "is" : "are", all);
    else
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, pointer, "unknown key \"%s\"", name);
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables, not of the input */
void tr_keys_parse(const struct tr_keys *keys, const json_t *obj, struct tr_span pointer,
                   struct tr_keys_ctx *ctx, void *out)
{
    if (obj && !json_is_object(obj)) {
        wrong(ctx, pointer, "an object");
        obj = NULL;
    }
    if (obj) {
        const char *name;
        json_t *v;
        json_object_foreach((json_t *)(uintptr_t)obj, name, v)
        {
            uint32_t i = 0;
            while (i < keys->count && strcmp(keys->keys[i].name, name) != 0)
                i++;
            if (i == keys->count)
                unknown_key(keys, name, pointer_join(ctx, pointer, tr_span_cstr(name)), ctx);
        }
    }
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct tr_key *key = &keys->keys[i];
        void *field = (char *)out + key->offset;
        const json_t *v = obj ? json_object_get(obj, key->name) : NULL;
        if (!v || json_is_null(v)) {
            apply_default(key, pointer, ctx, field, obj != NULL);
            continue;
        }
        apply_default(key, pointer, ctx, field, false);
        parse_value(key, v, pointer_join(ctx, pointer, tr_span_cstr(key->name)), ctx, field);
    }
}
