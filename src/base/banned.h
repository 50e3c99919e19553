/* Functions that must not be used: include this last in a .c file, or let contrib/check-layers.py
 * find them. */
#ifndef TR_BASE_BANNED_H
#define TR_BASE_BANNED_H

#define TR_BANNED(f) tr_sorry_##f##_is_banned
#undef strcpy
#define strcpy(a, b) TR_BANNED(strcpy)
#undef strcat
#define strcat(a, b) TR_BANNED(strcat)
#undef sprintf
#define sprintf(...) TR_BANNED(sprintf)
#undef strtok
#define strtok(a, b) TR_BANNED(strtok)
#undef atoi
#define atoi(a) TR_BANNED(atoi)
#undef gets
#define gets(a) TR_BANNED(gets)

#endif
