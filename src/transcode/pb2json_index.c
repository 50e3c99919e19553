/* The index pass: a message whose fields do not come grouped is printed from a sorted list of its
 * records.
 *
 * Two walks over the message, no copy: the first counts the records, the second notes where each
 * value starts. They are then put in order of slot by a counting sort, which keeps the order of one
 * slot. Losers (oneof members that were replaced, map entries whose key comes again) are marked,
 * and left out by the sort or skipped. */
#include "transcode/pb2json_priv.h"

/* must be last */
#include "base/banned.h"

static const struct tr_field *slot_field(const struct tr_msgtype *type, uint32_t slot)
{
    return slot < type->field_count ? &type->fields[slot]
                                    : type->extensions[slot - type->field_count];
}

/* One record: whether it counts, its field; *p stands after it. False: malformed. */
static bool next_record(const struct tr_msgtype *type, const char **p, const char *end,
                        const struct tr_field **ret_field, uint32_t *ret_wire,
                        const char **ret_value)
{
    uint32_t number;
    if (!tr_wire_tag(p, end, &number, ret_wire))
        return false;
    const struct tr_field *fd = tr_msgtype_field(type, number);
    *ret_value = *p;
    *ret_field = NULL;
    if (!fd || !tr_pj_accepts(fd, *ret_wire))
        return tr_wire_skip(p, end, number, *ret_wire);
    if (fd->type == TR_FT_ENUM && *ret_wire == TR_WIRE_VARINT) {
        struct tr_pj_scalar v;
        if (!tr_pj_read_scalar(fd, p, end, &v))
            return false;
        *ret_field = tr_pj_enum_known(fd, &v) ? fd : NULL;
        return true;
    }
    *ret_field = fd;
    return tr_wire_skip(p, end, number, *ret_wire);
}

/* From the end backwards: the last member of a oneof stands, and what came of it since another
 * member did. */
static enum tr_err drop_oneof_losers(struct tr_pj *j, const struct tr_msgtype *type,
                                     struct tr_pj_entry *entries, uint32_t n)
{
    if (!type->oneof_count)
        return TR_OK;
    /* for each oneof: 0 none yet, 1 + slot of the winner, UINT32_MAX: all before loses */
    uint32_t *winner = tr_arena_calloc(j->scratch, type->oneof_count, 2 * sizeof *winner);
    if (!winner)
        return TR_ERR_NOMEM;
    uint32_t *sealed = winner + type->oneof_count;
    for (uint32_t i = n; i--;) {
        uint32_t slot = tr_pj_entry_slot(&entries[i]);
        const struct tr_field *fd = slot_field(type, slot);
        if (!fd->oneof)
            continue;
        uint32_t o = fd->oneof - 1u;
        if (!winner[o])
            winner[o] = slot + 1;
        if (winner[o] != slot + 1)
            sealed[o] = 1;
        if (sealed[o])
            entries[i].meta |= TR_PJ_DROPPED;
    }
    return TR_OK;
}

static enum tr_err sort_entries(struct tr_pj *j, struct tr_pj_frame *f,
                                const struct tr_pj_entry *entries, uint32_t n)
{
    uint32_t *at = tr_arena_calloc(j->scratch, (size_t)f->oneof_base + 1, sizeof *at);
    struct tr_pj_entry *sorted = tr_arena_alloc(j->scratch, n * sizeof *sorted);
    if (!at || !sorted)
        return TR_ERR_NOMEM;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!(entries[i].meta & TR_PJ_DROPPED)) {
            at[tr_pj_entry_slot(&entries[i]) + 1]++;
            kept++;
        }
    }
    for (uint32_t i = 1; i <= f->oneof_base; i++)
        at[i] += at[i - 1];
    for (uint32_t i = 0; i < n; i++) {
        if (!(entries[i].meta & TR_PJ_DROPPED))
            sorted[at[tr_pj_entry_slot(&entries[i])]++] = entries[i];
    }
    f->entries = sorted;
    f->entry_count = kept;
    f->entry_at = 0;
    return TR_OK;
}

enum tr_err tr_pj_index_start(struct tr_pj *j, struct tr_pj_frame *f)
{
    j->out->len = f->out_start;
    j->indent = f->indent;
    f->sep = f->start_sep;
    f->cur = NULL;
    memset(f->seen, 0, f->seen_words > 2 ? f->seen_words * sizeof *f->seen : sizeof f->seen_inline);
    f->indexed = true;
    f->plain = false;
    j->redos += j->redos < TR_PJ_REDO_MAX;
    if ((size_t)(f->end - f->begin) > UINT32_MAX / 2)
        return tr_pj_oversized(j);

    uint32_t n = 0, wire;
    const struct tr_field *fd;
    const char *value;
    for (const char *p = f->begin; p < f->end;) {
        if (!next_record(f->type, &p, f->end, &fd, &wire, &value))
            return tr_pj_malformed(j);
        n += fd != NULL;
    }
    struct tr_pj_entry *entries = tr_arena_alloc(j->scratch, n * sizeof *entries);
    if (!entries)
        return TR_ERR_NOMEM;
    n = 0;
    for (const char *p = f->begin; p < f->end;) {
        if (!next_record(f->type, &p, f->end, &fd, &wire, &value))
            return tr_pj_malformed(j);
        if (fd)
            entries[n++] = (struct tr_pj_entry){(uint32_t)(value - f->begin),
                                                TR_PJ_META(tr_pj_slot(f->type, fd), wire)};
    }
    enum tr_err err = drop_oneof_losers(j, f->type, entries, n);
    return err ? err : sort_entries(j, f, entries, n);
}

static uint32_t run_end(const struct tr_pj_frame *f, uint32_t from)
{
    uint32_t slot = tr_pj_entry_slot(&f->entries[from]), to = from + 1;
    while (to < f->entry_count && tr_pj_entry_slot(&f->entries[to]) == slot)
        to++;
    return to;
}

/* A singular message that came in parts: protobuf's merge is concatenation. */
static enum tr_err submessage_parts(struct tr_pj *j, struct tr_pj_frame *f,
                                    const struct tr_field *fd, uint32_t from, uint32_t to)
{
    size_t total = 0;
    char *merged = NULL;
    for (int pass = 0; pass < 2; pass++) {
        total = 0;
        for (uint32_t i = from; i < to; i++) {
            const char *p = f->begin + f->entries[i].off;
            struct tr_span part;
            if (!tr_pj_read_message(fd, &p, f->end, &part))
                return tr_pj_malformed(j);
            if (merged && part.len)
                memcpy(merged + total, part.ptr, part.len);
            total += part.len;
        }
        if (pass == 0) {
            if (total > j->merge_budget)
                return tr_fail(j->st, TR_ERR_PROTO_UNPRINTABLE, "%s",
                               "too much to merge in one message");
            j->merge_budget -= total;
            merged = tr_arena_alloc(j->scratch, total);
            if (!merged)
                return TR_ERR_NOMEM;
        }
    }
    return tr_pj_submessage(j, f, fd, tr_span(merged, total));
}

/* Of entries with the same key the last stands. */
static enum tr_err drop_map_losers(struct tr_pj *j, struct tr_pj_frame *f,
                                   const struct tr_field *fd, uint32_t from, uint32_t to)
{
    tr_pj_keys_clear(&f->keys);
    for (uint32_t i = to; i-- > from;) {
        const char *p = f->begin + f->entries[i].off;
        struct tr_span wire;
        struct tr_pj_pair pair;
        bool dup = false;
        if (!tr_pj_read_message(fd, &p, f->end, &wire))
            return tr_pj_malformed(j);
        enum tr_err err = tr_pj_pair_read(j, fd, wire, &pair);
        if (!err && !pair.dropped)
            err = tr_pj_keys_add(j, &f->keys, fd, &pair.key, &dup);
        if (err)
            return err;
        if (dup)
            f->entries[i].meta |= TR_PJ_DROPPED;
    }
    return TR_OK;
}

/* The records of one singular field, entries [at, end). */
static enum tr_err print_singular(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                                  uint32_t at, uint32_t end)
{
    if (end - at > 1 && tr_pj_is_message(fd))
        return submessage_parts(j, f, fd, at, end);
    const struct tr_pj_entry *last = &f->entries[end - 1];
    const char *p = f->begin + last->off;
    return tr_pj_field(j, f, fd, tr_pj_entry_wire(last), &p, f->end);
}

/* One record of a list or map. */
static enum tr_err print_item(struct tr_pj *j, struct tr_pj_frame *f, const struct tr_field *fd,
                              uint32_t at)
{
    const struct tr_pj_entry *e = &f->entries[at];
    bool first = at == 0 || tr_pj_entry_slot(e - 1) != tr_pj_entry_slot(e);
    if ((fd->flags & TR_FF_MAP) && first) {
        enum tr_err err = drop_map_losers(j, f, fd, at, run_end(f, at));
        if (err)
            return err;
    }
    if (e->meta & TR_PJ_DROPPED)
        return TR_OK;
    const char *p = f->begin + e->off;
    return tr_pj_field(j, f, fd, tr_pj_entry_wire(e), &p, f->end);
}

enum tr_err tr_pj_index_run(struct tr_pj *j, struct tr_pj_frame *f)
{
    while (f->entry_at < f->entry_count) {
        const uint32_t at = f->entry_at;
        const uint32_t slot = tr_pj_entry_slot(&f->entries[at]);
        const struct tr_field *fd = slot_field(f->type, slot);
        enum tr_err err = TR_OK;
        if ((f->only && fd != f->only) || !tr_pj_selected(f, slot)) {
            f->entry_at = run_end(f, at);
        } else if (fd->flags & TR_FF_REPEATED) {
            f->entry_at = at + 1;
            err = print_item(j, f, fd, at);
        } else {
            f->entry_at = run_end(f, at);
            err = print_singular(j, f, fd, at, f->entry_at);
        }
        if (err)
            return err == TR_ERR_AGAIN ? TR_ERR_INTERNAL : err;
        if (tr_unlikely(j->out->len > j->limit))
            return tr_pj_oversized(j);
        if (j->top != f)
            return TR_OK;
    }
    return tr_pj_pop_frame(j, f);
}
