/* The text is read into a small syntax tree, which is then held against the type with a list of
 * pairs (syntax, node) still to do: no recursion in either. */
#include "transcode/fields.h"

/* must be last */
#include "base/banned.h"

/* -- syntax -- */

struct syntax {
    struct tr_span name;
    struct syntax *first, *last, *next; /* children, each name once */
    bool whole;                         /* named without anything below at least once */
};

struct parser {
    struct tr_arena *arena;
    struct tr_span text;
    size_t at;
    uint32_t names;
    struct tr_status *st;
};

static enum tr_err refuse(struct parser *p, const char *why)
{
    tr_status_set_field(p->st, TR_SPAN("$fields"));
    if (p->st)
        p->st->offset = p->at;
    return tr_fail(p->st, TR_ERR_SYSTEM_PARAMETER, "%s at byte %zu of $fields", why, p->at);
}

static enum tr_err refuse_name(struct tr_status *st, struct tr_span name, const char *why)
{
    tr_status_set_field(st, TR_SPAN("$fields"));
    return tr_fail(st, TR_ERR_SYSTEM_PARAMETER, "$fields: \"%.*s\" %s",
                   name.len > 100 ? 100 : (int)name.len, name.ptr, why);
}

static void skip_spaces(struct parser *p)
{
    while (p->at < p->text.len && p->text.ptr[p->at] == ' ')
        p->at++;
}

static bool is_name_char(char c)
{
    return c != ',' && c != '/' && c != '.' && c != '(' && c != ')' && c != '[' && c != ']' &&
           (unsigned char)c > ' ';
}

/* A name and the spaces around it. */
static enum tr_err take_name(struct parser *p, struct syntax *parent, struct syntax **ret)
{
    skip_spaces(p);
    size_t from = p->at;
    if (from < p->text.len && p->text.ptr[from] == '[') {
        p->at += tr_span_find(tr_span_from(p->text, from), ']');
        if (p->at >= p->text.len)
            return refuse(p, "a bracket is not closed");
        p->at++;
    } else {
        while (p->at < p->text.len && is_name_char(p->text.ptr[p->at]))
            p->at++;
    }
    if (p->at == from)
        return refuse(p, "a name is missing");
    if (++p->names > TR_FIELDS_NAMES_MAX)
        return refuse(p, "too many names");
    struct tr_span name = tr_span_sub(p->text, from, p->at - from);
    skip_spaces(p);
    struct syntax *node = parent->first;
    while (node && !tr_span_eq(node->name, name))
        node = node->next;
    if (node) {
        *ret = node;
        return TR_OK;
    }
    node = TR_ARENA_NEW(p->arena, struct syntax);
    if (!node)
        return TR_ERR_NOMEM;
    node->name = name;
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    *ret = node;
    return TR_OK;
}

/* What follows a name; the end of the text is as a comma. */
static char peek(const struct parser *p)
{
    if (p->at < p->text.len)
        return p->text.ptr[p->at];
    return ',';
}

struct level {
    struct syntax *node;
    unsigned depth;
};

/* Closing parentheses and the comma or the end after an item. *ret_end: the text is used up. */
static enum tr_err end_item(struct parser *p, unsigned *open, bool *ret_end)
{
    while (peek(p) == ')') {
        if (!*open)
            return refuse(p, "a parenthesis is not open");
        --*open;
        p->at++;
        skip_spaces(p);
    }
    if (peek(p) != ',')
        return refuse(p, "unexpected character");
    *ret_end = p->at >= p->text.len;
    if (*ret_end && *open)
        return refuse(p, "a parenthesis is not closed");
    p->at++;
    return TR_OK;
}

static enum tr_err parse(struct parser *p, struct syntax *root)
{
    struct level paren[TR_FIELDS_DEPTH_MAX + 1] = {{root, 0}};
    unsigned open = 0, depth = 0;
    struct syntax *parent = root, *node = NULL;
    bool end = false;
    while (!end) {
        enum tr_err err = take_name(p, parent, &node);
        if (err)
            return err;
        if (++depth > TR_FIELDS_DEPTH_MAX)
            return refuse(p, "names are nested too deeply");
        char c = peek(p);
        if (c == '/' || c == '.' || c == '(') {
            p->at++;
            parent = node;
            if (c == '(')
                paren[++open] = (struct level){node, depth};
            continue;
        }
        node->whole = true; /* NOLINT(clang-analyzer-core.NullDereference): tr_fail fails */
        err = end_item(p, &open, &end);
        if (err)
            return err;
        parent = paren[open].node;
        depth = paren[open].depth;
    }
    return TR_OK;
}

/* -- compiling -- */

/* The tree while it is built; tree comes first, so that a pointer to one is a pointer to the other.
 */
struct node {
    struct tr_field_tree tree;
    uint32_t key_cap;
    struct node *every;
    const struct tr_msgtype
        *value; /* maps: the type of message values; NULL: scalars, or a Struct's */
};

struct todo {
    struct todo *next;
    const struct syntax *syntax; /* its children are to be applied */
    struct node *node;
    bool lenient; /* below `*`: names that are not there are no error */
};

struct compiler {
    struct tr_arena *arena;
    struct todo *todo;
    size_t bytes;
    struct tr_status *st;
};

uint32_t tr_field_slot(const struct tr_msgtype *type, const struct tr_field *field)
{
    if (!(field->flags & TR_FF_EXTENSION))
        return field->index;
    uint32_t lo = 0, hi = type->extension_count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (type->extensions[mid]->number < field->number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return type->field_count + lo;
}

static const struct tr_field *field_at(const struct tr_msgtype *type, uint32_t slot)
{
    return slot < type->field_count ? &type->fields[slot]
                                    : type->extensions[slot - type->field_count];
}

static void *take(struct compiler *c, size_t count, size_t size)
{
    c->bytes += count * size;
    return tr_arena_calloc(c->arena, count, size);
}

enum kind { KIND_LEAF, KIND_MESSAGE, KIND_MAP, KIND_DYNAMIC };

static enum kind kind_of_message(const struct tr_msgtype *type)
{
    switch ((enum tr_wkt)type->wkt) {
    case TR_WKT_NONE:
    case TR_WKT_HTTP_BODY:
    case TR_WKT_EMPTY:
        return KIND_MESSAGE;
    case TR_WKT_STRUCT:
    case TR_WKT_VALUE:
    case TR_WKT_LIST_VALUE:
        return KIND_DYNAMIC;
    case TR_WKT_ANY:
    case TR_WKT_TIMESTAMP:
    case TR_WKT_DURATION:
    case TR_WKT_FIELD_MASK:
    case TR_WKT_DOUBLE_VALUE:
    case TR_WKT_FLOAT_VALUE:
    case TR_WKT_INT64_VALUE:
    case TR_WKT_UINT64_VALUE:
    case TR_WKT_INT32_VALUE:
    case TR_WKT_UINT32_VALUE:
    case TR_WKT_BOOL_VALUE:
    case TR_WKT_STRING_VALUE:
    case TR_WKT_BYTES_VALUE:
        break;
    }
    return KIND_LEAF;
}

static enum kind kind_of_field(const struct tr_field *fd)
{
    if (fd->flags & TR_FF_MAP)
        return KIND_MAP;
    if (fd->type == TR_FT_MESSAGE || fd->type == TR_FT_GROUP)
        return kind_of_message(fd->sub.msg);
    return KIND_LEAF;
}

static struct node *new_node(struct compiler *c, enum kind kind, const struct tr_msgtype *type)
{
    struct node *n = take(c, 1, sizeof *n);
    if (!n)
        return NULL;
    n->tree.type = type;
    if (kind == KIND_MESSAGE) {
        n->tree.slot_count = type->field_count + type->extension_count;
        n->tree.bits = take(c, n->tree.slot_count / 64 + 1, sizeof *n->tree.bits);
        return n->tree.bits ? n : NULL;
    }
    n->tree.is_map = true;
    if (kind == KIND_MAP) {
        const struct tr_field *value = &type->fields[1];
        if (value->type == TR_FT_MESSAGE || value->type == TR_FT_GROUP)
            n->value = value->sub.msg;
    }
    return n;
}

static enum tr_err later(struct compiler *c, const struct syntax *syntax, struct node *node,
                         bool lenient)
{
    struct todo *t = take(c, 1, sizeof *t);
    if (!t)
        return TR_ERR_NOMEM;
    *t = (struct todo){c->todo, syntax, node, lenient};
    c->todo = t;
    return TR_OK;
}

static bool is_star(const struct syntax *s)
{
    return tr_span_eq(s->name, TR_SPAN("*"));
}

/* The tree is const to its readers only: all of it was made here. */
static struct node *node_of(const struct tr_field_tree *tree)
{
    return (struct node *)(uintptr_t)tree; /* NOLINT(performance-no-int-to-ptr) */
}

static void keep_whole(struct node *n, uint32_t slot)
{
    n->tree.bits[slot >> 6] |= (uint64_t)1 << (slot & 63);
    if (n->tree.sub)
        n->tree.sub[slot] = NULL;
}

/* A part of the field in slot: what s has below it. */
static enum tr_err keep_part(struct compiler *c, struct node *n, uint32_t slot,
                             const struct syntax *s, bool lenient)
{
    const struct tr_field *fd = field_at(n->tree.type, slot);
    bool has = tr_field_tree_has(&n->tree, slot);
    if (has && !(n->tree.sub && n->tree.sub[slot]))
        return TR_OK; /* whole already */
    if (!n->tree.sub) {
        n->tree.sub = take(c, n->tree.slot_count, sizeof(void *));
        if (!n->tree.sub)
            return TR_ERR_NOMEM;
    }
    struct node *sub =
        has ? node_of(n->tree.sub[slot]) : new_node(c, kind_of_field(fd), fd->sub.msg);
    if (!sub)
        return TR_ERR_NOMEM;
    n->tree.sub[slot] = &sub->tree;
    n->tree.bits[slot >> 6] |= (uint64_t)1 << (slot & 63);
    return later(c, s, sub, lenient);
}

/* Whether `*` followed by s enters this field. */
static bool star_enters(const struct tr_field *fd, const struct syntax *s)
{
    enum kind kind = kind_of_field(fd);
    if (kind == KIND_LEAF || kind == KIND_DYNAMIC)
        return false;
    if (kind == KIND_MAP)
        return true;
    for (const struct syntax *k = s->first; k; k = k->next) {
        if (is_star(k) || tr_msgtype_field_by_name(fd->sub.msg, k->name))
            return true;
    }
    return false;
}

static enum tr_err apply_to_message(struct compiler *c, struct node *n, const struct syntax *s,
                                    bool lenient)
{
    const struct tr_msgtype *type = n->tree.type;
    if (is_star(s)) {
        for (uint32_t slot = 0; slot < n->tree.slot_count; slot++) {
            enum tr_err err = TR_OK;
            if (s->whole)
                keep_whole(n, slot);
            else if (star_enters(field_at(type, slot), s))
                err = keep_part(c, n, slot, s, true);
            if (err)
                return err;
        }
        return TR_OK;
    }
    const struct tr_field *fd = tr_msgtype_field_by_name(type, s->name);
    if (!fd)
        return lenient ? TR_OK : refuse_name(c->st, s->name, "is not a field here");
    uint32_t slot = tr_field_slot(type, fd);
    if (s->whole) {
        keep_whole(n, slot);
        return TR_OK;
    }
    if (kind_of_field(fd) == KIND_LEAF)
        return lenient ? TR_OK : refuse_name(c->st, s->name, "has no fields to choose from");
    return keep_part(c, n, slot, s, lenient);
}

static enum tr_err find_key(struct compiler *c, struct node *n, struct tr_span key,
                            struct tr_field_key **ret, bool *ret_new)
{
    for (uint32_t i = 0; i < n->tree.key_count; i++) {
        if (tr_span_eq(n->tree.keys[i].key, key)) {
            *ret = &n->tree.keys[i];
            *ret_new = false;
            return TR_OK;
        }
    }
    if (n->tree.key_count == n->key_cap) {
        uint32_t cap = n->key_cap ? n->key_cap * 2 : 4;
        struct tr_field_key *keys = take(c, cap, sizeof *keys);
        if (!keys)
            return TR_ERR_NOMEM;
        if (n->tree.key_count)
            memcpy(keys, n->tree.keys, n->tree.key_count * sizeof *keys);
        n->tree.keys = keys;
        n->key_cap = cap;
    }
    struct tr_span copy = tr_arena_copy(c->arena, key);
    if (!copy.ptr)
        return TR_ERR_NOMEM;
    *ret = &n->tree.keys[n->tree.key_count++];
    **ret = (struct tr_field_key){copy, NULL};
    *ret_new = true;
    return TR_OK;
}

static struct node *value_node(struct compiler *c, const struct node *map)
{
    if (!map->value)
        return new_node(c, KIND_DYNAMIC, map->tree.type);
    return new_node(c, kind_of_message(map->value), map->value);
}

/* Whether values can be kept in part: messages, and what a Struct holds. */
static bool has_parts(const struct node *map)
{
    if (map->value)
        return kind_of_message(map->value) != KIND_LEAF;
    return !map->tree.type->is_map_entry;
}

static enum tr_err keep_every_key(struct compiler *c, struct node *n, const struct syntax *s,
                                  bool lenient)
{
    bool whole = s->whole || (n->tree.every_key && !n->every);
    n->tree.every_key = true;
    if (whole) {
        n->every = NULL;
        return TR_OK;
    }
    if (!n->every)
        n->every = value_node(c, n);
    return n->every ? later(c, s, n->every, lenient) : TR_ERR_NOMEM;
}

/* `*` is given to each key that is named too, so that both hold for it. */
static enum tr_err keep_key(struct compiler *c, struct node *n, const struct syntax *all,
                            const struct syntax *s, bool lenient)
{
    struct tr_field_key *key;
    bool is_new;
    enum tr_err err = find_key(c, n, s->name, &key, &is_new);
    if (err)
        return err;
    if (s->whole || (!is_new && !key->sub)) {
        key->sub = NULL;
        return TR_OK;
    }
    if (!is_new)
        return later(c, s, node_of(key->sub), lenient);
    struct node *sub = value_node(c, n);
    if (!sub)
        return TR_ERR_NOMEM;
    key->sub = &sub->tree;
    for (const struct syntax *k = all->first; k && !err; k = k->next) {
        if (is_star(k) && !k->whole)
            err = later(c, k, sub, lenient);
    }
    return err ? err : later(c, s, sub, lenient);
}

static enum tr_err apply_to_map(struct compiler *c, struct node *n, const struct syntax *all,
                                const struct syntax *s, bool lenient)
{
    if (!s->whole && !has_parts(n))
        return lenient ? TR_OK : refuse_name(c->st, s->name, "has no fields to choose from");
    return is_star(s) ? keep_every_key(c, n, s, lenient) : keep_key(c, n, all, s, lenient);
}

static enum tr_err compile(struct compiler *c)
{
    while (c->todo) {
        struct todo t = *c->todo;
        c->todo = t.next;
        for (const struct syntax *s = t.syntax->first; s; s = s->next) {
            enum tr_err err = t.node->tree.is_map ? apply_to_map(c, t.node, t.syntax, s, t.lenient)
                                                  : apply_to_message(c, t.node, s, t.lenient);
            if (err)
                return err;
            if (c->bytes > TR_FIELDS_BYTES_MAX)
                return refuse_name(c->st, s->name, "makes the selection too large");
        }
        t.node->tree.every_sub = t.node->every ? &t.node->every->tree : NULL;
    }
    return TR_OK;
}

enum tr_err tr_field_tree_compile(struct tr_arena *arena, const struct tr_msgtype *type,
                                  const struct tr_field *field, struct tr_span text,
                                  const struct tr_field_tree **ret_tree, struct tr_status *st)
{
    struct parser p = {.arena = arena, .text = text, .st = st};
    struct syntax root = {.first = NULL};
    enum tr_err err = parse(&p, &root);
    if (err)
        return err;
    bool whole = true;
    for (const struct syntax *s = root.first; s; s = s->next)
        whole = whole && is_star(s) && s->whole;
    if (whole) {
        *ret_tree = NULL;
        return TR_OK;
    }
    enum kind kind = field ? kind_of_field(field) : kind_of_message(type);
    if (kind == KIND_LEAF)
        return refuse_name(st, root.first->name, "cannot be chosen from a value without fields");
    struct compiler c = {.arena = arena, .st = st};
    struct node *top = new_node(&c, kind, field ? field->sub.msg : type);
    if (!top)
        return TR_ERR_NOMEM;
    err = later(&c, &root, top, false);
    if (!err)
        err = compile(&c);
    if (!err)
        *ret_tree = &top->tree;
    return err;
}

bool tr_field_tree_key(const struct tr_field_tree *tree, struct tr_span key,
                       const struct tr_field_tree **ret_sub)
{
    *ret_sub = NULL;
    if (tree->every_key && !tree->every_sub)
        return true;
    for (uint32_t i = 0; i < tree->key_count; i++) {
        if (tr_span_eq(tree->keys[i].key, key)) {
            *ret_sub = tree->keys[i].sub;
            return true;
        }
    }
    *ret_sub = tree->every_sub;
    return tree->every_key;
}
