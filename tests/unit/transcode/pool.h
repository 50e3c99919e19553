/* A frozen pool of a descriptor set that the build made, for tests. */
#ifndef TR_TESTS_TRANSCODE_POOL_H
#define TR_TESTS_TRANSCODE_POOL_H

#include "base/assert.h"
#include "base/buf.h"
#include "proto/typepool.h"

#include <stdio.h>

/* False: there is no such file. */
static inline bool read_file(const char *path, struct tr_buf *out)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        TR_ASSERT(!tr_buf_append(out, tr_span(part, n)));
    (void)fclose(f);
    return true;
}

static inline struct tr_typepool *pool_load(const char *path)
{
    struct tr_typepool *pool;
    struct tr_buf set;
    struct tr_status st = {0};
    tr_buf_init(&set);
    TR_ASSERT(read_file(path, &set));
    TR_ASSERT(!tr_typepool_new(&pool));
    enum tr_err err = tr_typepool_add(pool, tr_buf_span(&set), &st);
    if (!err)
        err = tr_typepool_link(pool, NULL, NULL, &st);
    if (!err)
        err = tr_typepool_freeze(pool, true, &st);
    if (err)
        (void)fprintf(stderr, "%s: %.*s\n", path, (int)st.text_len, st.text);
    TR_ASSERT(!err);
    tr_buf_fini(&set);
    return pool;
}

#endif
