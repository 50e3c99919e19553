#include "base/alloc.h"
#include "proto/names.h"
#include "proto/typepool_int.h"

void *tr_symtab_get(const struct tr_symtab *tab, struct tr_span name)
{
    if (!tab->slots)
        return NULL;
    uint64_t hash = tr_span_hash(name, TR_NAME_SEED);
    for (uint32_t at = (uint32_t)hash & tab->mask; tab->slots[at].value; at = (at + 1) & tab->mask)
        if (tab->slots[at].hash == hash && tr_span_eq(tab->slots[at].name, name))
            return tab->slots[at].value;
    return NULL;
}

static void put_slot(struct tr_symtab *tab, struct tr_symtab_slot slot)
{
    uint32_t at = (uint32_t)slot.hash & tab->mask;
    while (tab->slots[at].value)
        at = (at + 1) & tab->mask;
    tab->slots[at] = slot;
}

static enum tr_err grow(struct tr_symtab *tab)
{
    uint32_t size = tab->slots ? (tab->mask + 1) * 2 : 64;
    struct tr_symtab bigger = {tr_calloc(size, sizeof(struct tr_symtab_slot)), size - 1,
                               tab->count};
    if (!bigger.slots)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; tab->slots && i <= tab->mask; i++)
        if (tab->slots[i].value)
            put_slot(&bigger, tab->slots[i]);
    tr_free(tab->slots);
    *tab = bigger;
    return TR_OK;
}

enum tr_err tr_symtab_put(struct tr_symtab *tab, struct tr_span name, void *value)
{
    if (!tab->slots || tab->count >= tab->mask / 2) {
        enum tr_err err = grow(tab);
        if (err)
            return err;
    }
    put_slot(tab, (struct tr_symtab_slot){tr_span_hash(name, TR_NAME_SEED), name, value});
    tab->count++;
    return TR_OK;
}

void tr_symtab_fini(struct tr_symtab *tab)
{
    tr_free(tab->slots);
    *tab = (struct tr_symtab){NULL, 0, 0};
}
