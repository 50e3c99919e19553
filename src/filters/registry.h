/* The list of all filters, in the order in which a request meets them: by phase, then as listed. */
#ifndef TR_FILTERS_REGISTRY_H
#define TR_FILTERS_REGISTRY_H

#include "pipeline/filter.h"

#include <stdint.h>

const struct tr_filter *const *tr_filters_registry(uint32_t *ret_count);

extern const struct tr_filter tr_filter_headers;

#endif
