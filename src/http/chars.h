/* Classes of bytes in HTTP/1.1 and URIs, one table for all parsers of this folder. */
#ifndef TR_HTTP_CHARS_H
#define TR_HTTP_CHARS_H

#include <stdint.h>

enum tr_char_class {
    TR_CLASS_TOKEN = 1, /* tchar, RFC 9110 §5.6.2 */
    TR_CLASS_PATH = 2,  /* pchar, "/" and "%" */
    TR_CLASS_QUERY = 4, /* these, and "?", "[", "]" */
    TR_CLASS_HOST = 8,  /* reg-name without "," */
    TR_CLASS_FIELD = 16 /* VCHAR, SP, HTAB, obs-text */
};

extern const uint8_t tr_http_classes[256];

static inline unsigned tr_http_class(char c)
{
    return tr_http_classes[(unsigned char)c];
}

#endif
