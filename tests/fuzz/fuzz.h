/* Fuzz targets define LLVMFuzzerTestOneInput; FUZZ_CHECK is an assertion in every build. */
#ifndef TR_TESTS_FUZZ_H
#define TR_TESTS_FUZZ_H

#include "base/assert.h"

#include <stddef.h>
#include <stdint.h>

#define FUZZ_CHECK TR_ASSERT

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
