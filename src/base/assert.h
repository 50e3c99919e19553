/* TR_ASSERT: cheap invariants, always on. TR_DCHECK: debug builds only. A failure is our bug and
 * aborts. */
#ifndef TR_BASE_ASSERT_H
#define TR_BASE_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

#define TR_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            (void)fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", __FILE__, __LINE__,         \
                          __func__, #cond);                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#ifdef NDEBUG
#define TR_DCHECK(cond) ((void)0)
#else
#define TR_DCHECK(cond) TR_ASSERT(cond)
#endif

#define tr_likely(x)   __builtin_expect(!!(x), 1)
#define tr_unlikely(x) __builtin_expect(!!(x), 0)

#endif
