/* Options of a verb, with getopt_long: every verb has --help, most have --config FILE. */
#ifndef TR_GATEWAY_ARGS_H
#define TR_GATEWAY_ARGS_H

#include <stdbool.h>

struct tr_args {
    const char *verb, *help; /* in: the whole text of --help */
    const char *config;      /* --config FILE or -c FILE */
    bool json;               /* --json, where allowed */
    const char *data;        /* -d BODY */
    const char *headers[64]; /* -H 'k: v' */
    unsigned header_count;
    const char *port;                      /* --port N */
    const char *tls_certificate, *tls_key; /* --tls-certificate FILE, --tls-key FILE */
    const char *rest[4];                   /* operands */
    unsigned rest_count;
};

/* allowed: the short options beside -h, as in "cjdHp"; C and K are --tls-certificate and --tls-key.
 * Returns -1 to go on, else the exit status. */
int tr_args_parse(struct tr_args *args, int argc, char **argv, const char *allowed,
                  bool need_config);

#endif
