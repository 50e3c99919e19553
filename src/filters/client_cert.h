/* Client certificates: whom a verified one stands for.
 *
 * Contract: the first rule of the configuration whose subject and san, as far as given, are those
 * of the certificate, byte for byte. Found once for each connection. */
#ifndef TR_FILTERS_CLIENT_CERT_H
#define TR_FILTERS_CLIENT_CERT_H

#include "config/config.h"
#include "pipeline/exchange.h"

#define TR_CLIENT_CERT_RULES_MAX 1024u

/* NULL: no certificate, or nobody's (*ret_shown tells which). */
const struct tr_cfg_client_certificate *tr_client_cert_of(struct tr_exchange *x,
                                                          const struct tr_cfg_authentication *cfg,
                                                          bool *ret_shown);
/* The rule alone: der against the rules; the count of rules when none is meant. */
uint32_t tr_client_cert_match(struct tr_span der, const struct tr_cfg_client_certificate *rules,
                              uint32_t count);

#endif
