#include "transcode/pb2json.h"

#include "json/emit.h"
#include "transcode/pb2json_priv.h"

/* must be last */
#include "base/banned.h"

/* -- errors -- */

/* The dotted path of fields that lead to the frame on top. */
static void set_field_path(struct tr_pj *j)
{
    enum { CHAIN = TR_PJ_DEPTH_MAX + 2 };
    const struct tr_pj_frame *chain[CHAIN];
    size_t n = 0;
    for (const struct tr_pj_frame *f = j->top; f && n < CHAIN; f = f->prev)
        chain[n++] = f;
    char path[TR_STATUS_FIELD_MAX];
    size_t len = 0;
    while (n) {
        const struct tr_pj_frame *f = chain[--n];
        if (!f->via)
            continue;
        struct tr_span name = f->via->names->proto;
        if (len + name.len + 1 > sizeof path)
            break;
        if (len)
            path[len++] = '.';
        memcpy(path + len, name.ptr, name.len);
        len += name.len;
    }
    tr_status_set_field(j->st, tr_span(path, len));
}

enum tr_err tr_pj_malformed(struct tr_pj *j)
{
    return tr_fail(j->st, TR_ERR_PROTO_MALFORMED, "%s", "the protobuf message is malformed");
}

enum tr_err tr_pj_oversized(struct tr_pj *j)
{
    return tr_fail(j->st, TR_ERR_UPSTREAM_OVERSIZED, "%s",
                   "the message is larger than max_response_bytes as JSON");
}

/* -- layout -- */

enum tr_err tr_pj_newline(struct tr_pj *j)
{
    enum tr_err err = tr_buf_reserve(j->out, 1 + 2 * (size_t)j->indent + TR_PJ_ROOM);
    if (err)
        return err;
    char *w = tr_buf_end(j->out);
    *w = '\n';
    memset(w + 1, ' ', 2 * (size_t)j->indent);
    j->out->len += 1 + 2 * (size_t)j->indent;
    return TR_OK;
}

/* The end of something that has at least one item. */
static enum tr_err close_bracket(struct tr_pj *j, char c)
{
    j->indent--;
    enum tr_err err = tr_unlikely(j->o->pretty) ? tr_pj_newline(j) : TR_OK;
    return err ? err : tr_buf_push(j->out, c);
}

enum tr_err tr_pj_close_extra(struct tr_pj *j, unsigned extra)
{
    while (extra--) {
        enum tr_err err = close_bracket(j, '}');
        if (err)
            return err;
    }
    return TR_OK;
}

static enum tr_err close_list(struct tr_pj *j, struct tr_pj_frame *f)
{
    char c = (f->cur->flags & TR_FF_MAP) ? '}' : ']';
    f->cur = NULL;
    return close_bracket(j, c);
}

static enum tr_err begin_key_pretty(struct tr_pj *j, struct tr_pj_frame *f, struct tr_span key)
{
    enum tr_err err = tr_buf_push(j->out, f->sep);
    if (!err)
        err = tr_pj_newline(j);
    if (!err)
        err = tr_buf_append(j->out, key);
    if (!err)
        err = tr_buf_push(j->out, ' ');
    if (!err)
        err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    return err;
}

/* Writes the separator and the name; leaves TR_PJ_ROOM reserved. */
static inline enum tr_err begin_key(struct tr_pj *j, struct tr_pj_frame *f,
                                    const struct tr_field *fd)
{
    if (f->cur) {
        enum tr_err err = close_list(j, f);
        if (err)
            return err;
    }
    char sep = f->sep;
    if (tr_unlikely(f->only != NULL)) {
        f->sep = ',';
        return tr_buf_reserve(j->out, TR_PJ_ROOM);
    }
    struct tr_span key = j->o->proto_names ? fd->names->proto_key : fd->names->json_key;
    if (tr_unlikely(j->o->pretty)) {
        enum tr_err err = begin_key_pretty(j, f, key);
        f->sep = ',';
        return err;
    }
    enum tr_err err = tr_buf_reserve(j->out, key.len + 1 + TR_PJ_ROOM);
    if (err)
        return err;
    char *w = tr_buf_end(j->out);
    *w = sep;
    memcpy(w + 1, key.ptr, key.len);
    j->out->len += key.len + 1;
    f->sep = ',';
    return TR_OK;
}

/* Opens the list or map of fd unless it is the open one, then writes what stands before an item. */
static inline enum tr_err begin_item(struct tr_pj *j, struct tr_pj_frame *f,
                                     const struct tr_field *fd, uint32_t slot, char open)
{
    if (f->cur != fd) {
        enum tr_err err = begin_key(j, f, fd);
        if (err)
            return err;
        f->cur = fd;
        f->item_sep = open;
        tr_pj_mark_seen(f, slot);
        j->indent++;
    }
    enum tr_err err = tr_buf_reserve(j->out, 1 + TR_PJ_ROOM);
    if (err)
        return err;
    j->out->ptr[j->out->len++] = f->item_sep;
    f->item_sep = ',';
    return tr_unlikely(j->o->pretty) ? tr_pj_newline(j) : TR_OK;
}

/* -- frames -- */

enum tr_err tr_pj_push_frame(struct tr_pj *j, const struct tr_pj_push *push)
{
    if (j->depth > TR_PJ_DEPTH_MAX)
        return tr_fail(j->st, TR_ERR_PROTO_DEPTH, "messages are nested deeper than %d",
                       TR_PJ_DEPTH_MAX);
    struct tr_arena_mark mark = tr_arena_mark(j->scratch);
    struct tr_pj_frame *f =
        j->depth < TR_PJ_NEAR ? &j->near[j->depth] : tr_arena_alloc(j->scratch, sizeof *f);
    if (!f)
        return TR_ERR_NOMEM;
    const struct tr_msgtype *type = push->type;
    struct tr_pj_frame *prev = j->top;
    f->prev = prev;
    f->type = type;
    f->p = f->begin = push->wire.ptr;
    f->end = f->safe = push->wire.ptr + push->wire.len;
    if (prev && f->p >= prev->begin && f->p < prev->end)
        f->safe = prev->safe;
    f->cur = NULL;
    f->via = push->via;
    f->only = push->only;
    f->tree = push->tree;
    f->out_start = j->out->len;
    f->mark = mark;
    f->keys.list = f->keys.few;
    f->keys.cap = TR_PJ_KEYS_FEW;
    tr_pj_keys_clear(&f->keys);
    f->entries = NULL;
    f->entry_count = f->entry_at = 0;
    f->oneof_base = type->field_count + type->extension_count;
    f->start_sep = f->sep = push->opened ? ',' : '{';
    f->item_sep = 0;
    f->extra = push->extra;
    f->indexed = false;
    f->want_index = prev && (prev->indexed || prev->want_index) && j->redos >= TR_PJ_REDO_MAX;
    f->plain = !push->tree && !f->want_index && !j->o->pretty &&
               (!push->only || type->wkt == TR_WKT_STRUCT || type->wkt == TR_WKT_LIST_VALUE);
    if (!push->opened && !push->only)
        j->indent++;
    f->indent = j->indent;
    uint32_t words = (f->oneof_base + type->oneof_count + 63) / 64;
    f->seen_words = (uint16_t)words;
    if (tr_likely(words <= 2)) {
        f->seen = f->seen_inline;
        f->seen_inline[0] = f->seen_inline[1] = 0;
    } else {
        f->seen = words > UINT16_MAX ? NULL : tr_arena_calloc(j->scratch, words, sizeof(uint64_t));
        if (!f->seen)
            return TR_ERR_NOMEM;
    }
    j->depth++;
    j->top = f;
    return TR_OK;
}

/* Lists, maps and fields without presence that were not on the wire. */
static enum tr_err put_defaults(struct tr_pj *j, struct tr_pj_frame *f)
{
    for (uint32_t i = 0; i < f->type->field_count; i++) {
        const struct tr_field *fd = &f->type->fields[i];
        if (tr_pj_seen(f, i) || (fd->flags & TR_FF_PRESENCE) || !tr_pj_selected(f, i) ||
            (tr_pj_is_message(fd) && !(fd->flags & TR_FF_REPEATED)))
            continue;
        enum tr_err err = begin_key(j, f, fd);
        if (!err)
            err = tr_pj_put_zero(j, fd);
        if (err)
            return err;
    }
    return TR_OK;
}

static enum tr_err put_absent(struct tr_pj *j, struct tr_pj_frame *f);

enum tr_err tr_pj_pop_frame(struct tr_pj *j, struct tr_pj_frame *f)
{
    enum tr_err err = TR_OK;
    if (f->cur)
        err = close_list(j, f);
    if (!err && tr_unlikely(j->o->emit_defaults) && !f->only)
        err = put_defaults(j, f);
    if (err)
        return err;
    if (tr_unlikely(f->only != NULL)) {
        if (f->sep == f->start_sep)
            err = put_absent(j, f);
    } else if (f->sep == '{') {
        j->indent--;
        err = tr_buf_append(j->out, TR_SPAN("{}"));
    } else {
        err = close_bracket(j, '}');
    }
    /* put_absent may have pushed a frame for a default message: it is run first, then this is done
     * again */
    if (err || tr_unlikely(j->top != f))
        return err;
    if (tr_unlikely(f->extra))
        err = tr_pj_close_extra(j, f->extra);
    if (err)
        return err;
    tr_pj_drop_frame(j, f);
    return TR_OK;
}

/* A bare frame that has printed nothing: the default of its field. */
static enum tr_err put_absent(struct tr_pj *j, struct tr_pj_frame *f)
{
    const struct tr_field *fd = f->only;
    f->sep = ',';
    if (!tr_pj_is_message(fd) || (fd->flags & TR_FF_REPEATED))
        return tr_pj_put_zero(j, fd);
    if (fd->sub.msg->wkt == TR_WKT_VALUE)
        return tr_buf_append(j->out, TR_SPAN("null"));
    return tr_pj_submessage(j, f, fd, tr_span("", 0));
}

/* -- fields -- */

static inline enum tr_err put_message(struct tr_pj *j, const struct tr_field *fd,
                                      struct tr_span wire, const struct tr_field_tree *tree)
{
    const struct tr_pj_push push = {.type = fd->sub.msg, .wire = wire, .via = fd, .tree = tree};
    return tr_likely(push.type->wkt == TR_WKT_NONE) ? tr_pj_push_frame(j, &push)
                                                    : tr_pj_wkt(j, &push);
}

enum tr_err tr_pj_submessage(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                             struct tr_span value)
{
    uint32_t slot = tr_pj_slot(f->type, fd);
    tr_pj_mark_seen(f, slot);
    if (fd->oneof)
        tr_pj_mark_seen(f, f->oneof_base + fd->oneof - 1u);
    enum tr_err err = begin_key(j, f, fd);
    return err ? err : put_message(j, fd, value, tr_pj_subtree(f, slot));
}

static enum tr_err field_packed(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                                uint32_t slot, struct tr_span items)
{
    const char *p = items.ptr, *end = items.ptr + items.len;
    while (p < end) {
        struct tr_pj_scalar v;
        if (!tr_pj_read_scalar(fd, &p, end, &v))
            return tr_pj_malformed(j);
        if (fd->type == TR_FT_ENUM && !tr_pj_enum_known(fd, &v))
            continue;
        enum tr_err err = begin_item(j, f, fd, slot, '[');
        if (!err)
            err = tr_pj_put_scalar(j, fd, &v);
        if (err)
            return err;
        if (tr_unlikely(j->out->len > j->limit))
            return tr_pj_oversized(j);
    }
    return TR_OK;
}

/* What $fields keeps of the entry: false when nothing; *tree becomes what it keeps of the value. */
static bool keeps_entry(const struct tr_field *key_field, const struct tr_pj_scalar *key,
                        const struct tr_field_tree **tree)
{
    char buf[TR_PJ_ROOM];
    struct tr_span text = key_field->type == TR_FT_STRING
                              ? key->s
                              : tr_span(buf, tr_pj_key_text(buf, key_field, key));
    return tr_field_tree_key(*tree, text, tree);
}

static enum tr_err put_map_value(struct tr_pj *j, const struct tr_field *vf,
                                 const struct tr_pj_pair *pair, const struct tr_field_tree *tree)
{
    if (!tr_pj_is_message(vf))
        return pair->has_value ? tr_pj_put_scalar(j, vf, &pair->value) : tr_pj_put_zero(j, vf);
    /* a Value that is missing in its entry is null here: the map has the key */
    if (!pair->has_value && vf->sub.msg->wkt == TR_WKT_VALUE)
        return tr_buf_append(j->out, TR_SPAN("null"));
    return put_message(j, vf, pair->message, tree);
}

static enum tr_err field_map(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                             uint32_t slot, struct tr_span wire)
{
    const struct tr_field *kf = &fd->sub.msg->fields[0], *vf = &fd->sub.msg->fields[1];
    struct tr_pj_pair pair;
    enum tr_err err = tr_pj_pair_read(j, fd, wire, &pair);
    if (err || pair.dropped)
        return err;
    const struct tr_field_tree *tree = tr_pj_subtree(f, slot);
    if (tr_unlikely(tree != NULL) && !keeps_entry(kf, &pair.key, &tree))
        return TR_OK;
    if (!f->indexed) { /* the index pass has removed them */
        bool dup;
        if (f->cur != fd)
            tr_pj_keys_clear(&f->keys);
        err = tr_pj_keys_add(j, &f->keys, fd, &pair.key, &dup);
        if (err || dup)
            return err ? err : TR_ERR_AGAIN;
    }
    err = begin_item(j, f, fd, slot, '{');
    if (!err)
        err = tr_pj_put_key(j, kf, &pair.key);
    if (!err)
        err = tr_buf_append(j->out, j->o->pretty ? TR_SPAN(": ") : TR_SPAN(":"));
    if (!err)
        err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    return err ? err : put_map_value(j, vf, &pair, tree);
}

static enum tr_err field_repeated(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                                  uint32_t wire, const char **p, const char *end)
{
    uint32_t slot = tr_pj_slot(f->type, fd);
    if (f->cur != fd && tr_pj_seen(f, slot))
        return TR_ERR_AGAIN;
    struct tr_span s;
    if (tr_pj_is_message(fd)) {
        if (!tr_pj_read_message(fd, p, end, &s))
            return tr_pj_malformed(j);
        if (fd->flags & TR_FF_MAP)
            return field_map(j, f, fd, slot, s);
        enum tr_err err = begin_item(j, f, fd, slot, '[');
        return err ? err : put_message(j, fd, s, tr_pj_subtree(f, slot));
    }
    if (tr_pj_is_packed(fd, wire))
        return tr_wire_len(p, end, &s) ? field_packed(j, f, fd, slot, s) : tr_pj_malformed(j);
    struct tr_pj_scalar v;
    if (!tr_pj_read_scalar(fd, p, end, &v))
        return tr_pj_malformed(j);
    if (fd->type == TR_FT_ENUM && !tr_pj_enum_known(fd, &v))
        return TR_OK;
    enum tr_err err = begin_item(j, f, fd, slot, '[');
    return err ? err : tr_pj_put_scalar(j, fd, &v);
}

enum tr_err tr_pj_field(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                        uint32_t wire, const char **p, const char *end)
{
    if (fd->flags & TR_FF_REPEATED)
        return field_repeated(j, f, fd, wire, p, end);
    uint32_t slot = tr_pj_slot(f->type, fd);
    bool again =
        tr_pj_seen(f, slot) || (fd->oneof && tr_pj_seen(f, f->oneof_base + fd->oneof - 1u));
    if (tr_pj_is_message(fd)) {
        struct tr_span s;
        if (!tr_pj_read_message(fd, p, end, &s))
            return tr_pj_malformed(j);
        return tr_unlikely(again) ? TR_ERR_AGAIN : tr_pj_submessage(j, f, fd, s);
    }
    struct tr_pj_scalar v;
    if (!tr_pj_read_scalar(fd, p, end, &v))
        return tr_pj_malformed(j);
    if (fd->type == TR_FT_ENUM && !tr_pj_enum_known(fd, &v))
        return TR_OK;
    if (tr_unlikely(again))
        return TR_ERR_AGAIN;
    /* without presence a zero on the wire is the same as nothing */
    if (!(fd->flags & TR_FF_PRESENCE) && v.u == 0 && !j->o->emit_defaults)
        return TR_OK;
    tr_pj_mark_seen(f, slot);
    if (fd->oneof)
        tr_pj_mark_seen(f, f->oneof_base + fd->oneof - 1u);
    enum tr_err err = begin_key(j, f, fd);
    return err ? err : tr_pj_put_scalar(j, fd, &v);
}

/* -- the loop -- */

/* Whether a member of a oneof that is not printed may say that one that is, is not set. */
static bool may_clear(const struct tr_pj_frame *f, const struct tr_field *fd)
{
    if (f->only)
        return fd != f->only && fd->oneof == f->only->oneof;
    return f->tree && tr_pj_seen(f, f->oneof_base + fd->oneof - 1u);
}

enum tr_err tr_pj_slow_record(struct tr_pj *j, struct tr_pj_frame *f)
{
    const char *p = f->p, *const end = f->end;
    uint32_t number, wire;
    if (tr_unlikely(!tr_wire_tag(&p, end, &number, &wire)))
        return tr_pj_malformed(j);
    const struct tr_field *fd = tr_msgtype_field(f->type, number);
    if (tr_unlikely(!fd || !tr_pj_accepts(fd, wire) || (f->only && fd != f->only) ||
                    !tr_pj_selected(f, tr_pj_slot(f->type, fd)))) {
        if (fd && fd->oneof && tr_pj_accepts(fd, wire) && may_clear(f, fd))
            return tr_pj_index_start(j, f);
        if (!tr_wire_skip(&p, end, number, wire))
            return tr_pj_malformed(j);
    } else {
        enum tr_err err = tr_pj_field(j, f, fd, wire, &p, end);
        if (tr_unlikely(err))
            return err == TR_ERR_AGAIN ? tr_pj_index_start(j, f) : err;
    }
    f->p = p;
    return tr_unlikely(j->out->len > j->limit) ? tr_pj_oversized(j) : TR_OK;
}

static enum tr_err run_stream(struct tr_pj *j, struct tr_pj_frame *f)
{
    while (f->p < f->end) {
        enum tr_err err = tr_pj_slow_record(j, f);
        if (err || j->top != f || f->indexed)
            return err;
    }
    return tr_pj_pop_frame(j, f);
}

static enum tr_err run(struct tr_pj *j)
{
    while (j->top) {
        struct tr_pj_frame *f = j->top;
        enum tr_err err;
        if (tr_likely(f->plain))
            err = tr_pj_plain_run(j);
        else if (f->indexed)
            err = tr_pj_index_run(j, f);
        else if (f->want_index)
            err = tr_pj_index_start(j, f);
        else
            err = run_stream(j, f);
        if (err)
            return err;
    }
    return j->out->len > j->limit ? tr_pj_oversized(j) : TR_OK;
}

static enum tr_err convert(const struct tr_pj_push *root, const struct tr_pb2json_opts *opts,
                           unsigned indent, struct tr_buf *out, struct tr_arena *scratch,
                           struct tr_status *st)
{
    struct tr_pj j; /* not by an initialiser, which would clear the frames */
    j.o = opts;
    j.out = out;
    j.scratch = scratch;
    j.st = st;
    j.top = NULL;
    j.limit = opts->max_bytes && opts->max_bytes < SIZE_MAX - out->len ? out->len + opts->max_bytes
                                                                       : SIZE_MAX;
    j.merge_budget = 8 * root->wire.len + 65536;
    j.indent = indent;
    j.depth = j.redos = 0;
    const size_t start = out->len;
    const struct tr_arena_mark mark = tr_arena_mark(scratch);
    enum tr_err err = root->type->wkt == TR_WKT_NONE || root->only ? tr_pj_push_frame(&j, root)
                                                                   : tr_pj_wkt(&j, root);
    if (!err)
        err = run(&j);
    if (err) {
        out->len = start;
        if (err == TR_ERR_NOMEM)
            (void)tr_fail(st, err, "%s", "out of memory");
        else
            set_field_path(&j);
    }
    tr_arena_rewind(scratch, mark);
    return err;
}

enum tr_err tr_pb2json(const struct tr_msgtype *type, struct tr_span wire,
                       const struct tr_pb2json_opts *opts, struct tr_buf *out,
                       struct tr_arena *scratch, struct tr_status *st)
{
    const struct tr_pj_push root = {
        .type = type, .wire = wire.ptr ? wire : tr_span("", 0), .tree = opts->fields};
    return convert(&root, opts, 0, out, scratch, st);
}

enum tr_err tr_pb2json_field(const struct tr_msgtype *type, const struct tr_field *field,
                             struct tr_span wire, const struct tr_pb2json_opts *opts,
                             struct tr_buf *out, struct tr_arena *scratch, struct tr_status *st)
{
    const struct tr_pj_push root = {.type = type,
                                    .wire = wire.ptr ? wire : tr_span("", 0),
                                    .only = field,
                                    .tree = opts->fields};
    return convert(&root, opts, 0, out, scratch, st);
}

enum tr_err tr_pb2json_indented(const struct tr_msgtype *type, struct tr_span wire,
                                const struct tr_pb2json_opts *opts, unsigned indent,
                                struct tr_buf *out, struct tr_arena *scratch)
{
    const struct tr_pj_push root = {.type = type, .wire = wire};
    return convert(&root, opts, indent, out, scratch, NULL);
}
