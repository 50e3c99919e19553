#include "filters/registry.h"

static const struct tr_filter *const filters[] = {
    &tr_filter_headers, /* REWRITE */
};

const struct tr_filter *const *tr_filters_registry(uint32_t *ret_count)
{
    *ret_count = sizeof filters / sizeof filters[0];
    return filters;
}
