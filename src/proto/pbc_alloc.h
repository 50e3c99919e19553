/* protobuf-c over an arena, and a check of nesting before it recurses. Only for the files that read
 * descriptors. */
#ifndef TR_PROTO_PBC_ALLOC_H
#define TR_PROTO_PBC_ALLOC_H

#include "base/arena.h"

#include <protobuf-c/protobuf-c.h>

/* Frees nothing until it is rewound; `failed` tells a lack of memory from malformed bytes. */
struct tr_pbc_alloc {
    ProtobufCAllocator base;
    struct tr_arena arena;
    bool failed;
};
void tr_pbc_alloc_init(struct tr_pbc_alloc *a, struct tr_block_cache *cache);
void tr_pbc_alloc_rewind(struct tr_pbc_alloc *a);
void tr_pbc_alloc_fini(struct tr_pbc_alloc *a);

/* Which fields of the outer message hold the nesting type, and which field of that type holds
 * itself. */
struct tr_pbc_nest {
    uint32_t outer[2];
    uint32_t outer_count;
    uint32_t inner;
};
/* Are the bytes well-formed that far, and no deeper than max (at most 64)? */
bool tr_pbc_depth_ok(struct tr_span wire, const struct tr_pbc_nest *nest, unsigned max);

#endif
