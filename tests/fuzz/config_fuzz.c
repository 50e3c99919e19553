/* A configuration file of any bytes gives a snapshot or problems, never a crash; what is accepted
 * has every upstream and listener complete. Paths lead nowhere: descriptors come from built-in
 * names only. */
#include "config/snapshot.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_snapshot *snap = NULL;
    enum tr_err err = tr_snapshot_build(tr_span((const char *)data, size), TR_SPAN("/nonexistent"),
                                        NULL, TR_SNAPSHOT_OFFLINE, &snap);
    if (snap) {
        FUZZ_CHECK((err == TR_OK) == (snap->problems.errors == 0 && snap->root != NULL) ||
                   err == TR_ERR_NOMEM);
        for (const struct tr_problem *p = snap->problems.first; p; p = p->next)
            FUZZ_CHECK(p->text.len > 0);
        for (uint32_t i = 0; err == TR_OK && i < snap->upstream_count; i++)
            FUZZ_CHECK(snap->upstreams[i].conf && snap->upstreams[i].conf->endpoint_count > 0);
    }
    tr_snapshot_unref(snap);
    return 0;
}
