/* Functions of glibc 2.38 and libstdc++ 13 that the runner wants, for older systems; preloaded. See
 * weaken.py. */
#include <stdlib.h>

long __isoc23_strtol(const char *text, char **end, int base);
long long __isoc23_strtoll(const char *text, char **end, int base);
unsigned long __isoc23_strtoul(const char *text, char **end, int base);
unsigned long long __isoc23_strtoull(const char *text, char **end, int base);
void _ZSt21ios_base_library_initv(void);
void _ZNSt8ios_base4InitC1Ev(
    void *self); /* std::ios_base::Init::Init(), which did the same before */

long __isoc23_strtol(const char *text, char **end, int base)
{
    return strtol(text, end, base);
}

long long __isoc23_strtoll(const char *text, char **end, int base)
{
    return strtoll(text, end, base);
}

unsigned long __isoc23_strtoul(const char *text, char **end, int base)
{
    return strtoul(text, end, base);
}

unsigned long long __isoc23_strtoull(const char *text, char **end, int base)
{
    return strtoull(text, end, base);
}

void _ZSt21ios_base_library_initv(void)
{
    static char init[64];
    _ZNSt8ios_base4InitC1Ev(init);
}
