#include "proto/types.h"

#include "proto/names.h"

const struct tr_field *tr_msgtype_field_slow(const struct tr_msgtype *msg, uint32_t number)
{
    if (number >= msg->dense_count) {
        uint32_t lo = 0, hi = msg->field_count;
        while (lo < hi) {
            uint32_t mid = (lo + hi) / 2;
            if (msg->fields[mid].number < number)
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo < msg->field_count && msg->fields[lo].number == number)
            return &msg->fields[lo];
    }
    uint32_t lo = 0, hi = msg->extension_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (msg->extensions[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < msg->extension_count && msg->extensions[lo]->number == number)
        return msg->extensions[lo];
    return NULL;
}

const struct tr_field *tr_msgtype_field_by_name(const struct tr_msgtype *msg, struct tr_span name)
{
    if (msg->name_slots) {
        uint32_t at = (uint32_t)tr_span_hash(name, TR_NAME_SEED) & msg->name_mask;
        uint16_t slot;
        while ((slot = msg->name_slots[at]) != 0) {
            const struct tr_field *f = &msg->fields[slot - 1];
            if (tr_span_eq(f->names->json, name) || tr_span_eq(f->names->proto, name))
                return f;
            at = (at + 1) & msg->name_mask;
        }
    }
    if (name.len < 2 || name.ptr[0] != '[')
        return NULL;
    for (uint32_t i = 0; i < msg->extension_count; i++)
        if (tr_span_eq(msg->extensions[i]->names->json, name))
            return msg->extensions[i];
    return NULL;
}

int tr_msgtype_path(const struct tr_msgtype *msg, struct tr_span path,
                    const struct tr_field *ret_fields[TR_FIELD_PATH_MAX])
{
    int count = 0;
    while (path.ptr && count < TR_FIELD_PATH_MAX) {
        const struct tr_field *f =
            msg ? tr_msgtype_field_by_name(msg, tr_span_cut(&path, '.')) : NULL;
        bool inner = path.ptr != NULL;
        if (!f || (f->flags & TR_FF_REPEATED) || f->type == TR_FT_GROUP ||
            (f->type == TR_FT_MESSAGE) != inner)
            return 0;
        ret_fields[count++] = f;
        msg = inner ? f->sub.msg : NULL;
    }
    return path.ptr ? 0 : count;
}

const struct tr_enum_value *tr_enumtype_by_number(const struct tr_enumtype *en, int32_t number)
{
    int64_t at = (int64_t)number - en->dense_min;
    if (at >= 0 && at < (int64_t)en->dense_count) {
        uint32_t i = en->by_number[at];
        return i ? &en->values[i - 1] : NULL;
    }
    uint32_t lo = 0, hi = en->sorted_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (en->values[en->sorted[mid] - 1].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < en->sorted_count && en->values[en->sorted[lo] - 1].number == number)
        return &en->values[en->sorted[lo] - 1];
    return NULL;
}

const struct tr_enum_value *tr_enumtype_by_name(const struct tr_enumtype *en, struct tr_span name)
{
    if (!en->name_slots)
        return NULL;
    uint32_t at = (uint32_t)tr_span_hash(name, TR_NAME_SEED) & en->name_mask;
    uint32_t slot;
    while ((slot = en->name_slots[at]) != 0) {
        const struct tr_enum_value *v = &en->values[slot - 1];
        if (tr_span_eq(v->name, name))
            return v;
        at = (at + 1) & en->name_mask;
    }
    return NULL;
}
