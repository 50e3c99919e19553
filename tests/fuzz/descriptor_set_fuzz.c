/* Loads the input as a descriptor set, links and compiles all of it. Properties: an answer, never a
 * crash; in a set that is taken each field is found by its number and names, each enum value by its
 * number. */
#include "fuzz.h"
#include "proto/typepool.h"

static void check_message(struct tr_typepool *pool, const struct tr_msgtype *m)
{
    for (uint32_t i = 0; i < m->field_count; i++) {
        const struct tr_field *f = &m->fields[i];
        FUZZ_CHECK(f->index == i && tr_msgtype_field(m, f->number) == f);
        FUZZ_CHECK(f->tag_len >= 1 && f->tag_len <= 5 && f->oneof <= m->oneof_count);
        const struct tr_field *by_json = tr_msgtype_field_by_name(m, f->names->json);
        const struct tr_field *by_proto = tr_msgtype_field_by_name(m, f->names->proto);
        FUZZ_CHECK(by_json && tr_span_eq(by_json->names->json, f->names->json));
        FUZZ_CHECK(by_proto);
        FUZZ_CHECK(f->names->json_key.len >= 3 && f->names->proto_key.len >= 3);
        if (f->type == TR_FT_ENUM)
            for (uint32_t k = 0; k < f->sub.en->value_count; k++)
                FUZZ_CHECK(tr_enumtype_by_number(f->sub.en, f->sub.en->values[k].number)->number ==
                           f->sub.en->values[k].number);
        if (f->type == TR_FT_MESSAGE || f->type == TR_FT_GROUP) {
            FUZZ_CHECK(f->sub.msg->full_name.len > 0);
            FUZZ_CHECK(tr_typepool_find(pool, f->sub.msg->full_name) == f->sub.msg);
        }
        if (f->flags & TR_FF_MAP)
            FUZZ_CHECK(f->sub.msg->is_map_entry && f->sub.msg->field_count == 2);
    }
    for (uint32_t i = 0; i < m->extension_count; i++) {
        FUZZ_CHECK(tr_msgtype_field(m, m->extensions[i]->number) == m->extensions[i]);
        FUZZ_CHECK(m->extensions[i]->index == m->field_count + i);
    }
}

static void check_pool(struct tr_typepool *pool)
{
    for (uint32_t i = 0; i < tr_typepool_service_count(pool); i++) {
        const struct tr_service *s = tr_typepool_service(pool, tr_typepool_service_name(pool, i));
        FUZZ_CHECK(s != NULL);
    }
    FUZZ_CHECK(tr_typepool_freeze(pool, true, NULL) == TR_OK);
    for (uint32_t i = 0; i < tr_typepool_service_count(pool); i++) {
        const struct tr_service *s = tr_typepool_service(pool, tr_typepool_service_name(pool, i));
        for (uint32_t k = 0; k < s->rpc_count; k++) {
            check_message(pool, s->rpcs[k].input);
            check_message(pool, s->rpcs[k].output);
        }
    }
    static const char *const names[] = {"M", "p.M", "a.M", "google.rpc.Status",
                                        "google.protobuf.Struct"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct tr_msgtype *m = tr_typepool_message(pool, tr_span_cstr(names[i]));
        if (m)
            check_message(pool, m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_typepool *pool;
    struct tr_status st;
    if (tr_typepool_new(&pool) != TR_OK)
        return 0;
    enum tr_err err = tr_typepool_add(pool, tr_span((const char *)data, size), &st);
    if (!err)
        err = tr_typepool_link(pool, NULL, NULL, &st);
    FUZZ_CHECK(err == TR_OK || err == TR_ERR_DESCRIPTOR);
    if (!err)
        check_pool(pool);
    tr_typepool_free(pool);
    return 0;
}
