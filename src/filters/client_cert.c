#include "filters/client_cert.h"

#include "io/tls_cert.h"

#define SUBJECT 1u
#define SAN     2u

struct match {
    const struct tr_cfg_client_certificate *rules;
    uint32_t count;
    uint8_t has[TR_CLIENT_CERT_RULES_MAX]; /* what of each rule was found */
};

static void on_name(void *ctx, enum tr_cert_name kind, struct tr_span text)
{
    struct match *m = ctx;
    for (uint32_t i = 0; i < m->count; i++) {
        struct tr_span want = kind == TR_CERT_SUBJECT ? m->rules[i].subject : m->rules[i].san;
        if (want.len && tr_span_eq(want, text))
            m->has[i] |= kind == TR_CERT_SUBJECT ? SUBJECT : SAN;
    }
}

uint32_t tr_client_cert_match(struct tr_span der, const struct tr_cfg_client_certificate *rules,
                              uint32_t count)
{
    struct match m = {.rules = rules,
                      .count = count < TR_CLIENT_CERT_RULES_MAX ? count : TR_CLIENT_CERT_RULES_MAX};
    if (tr_tls_cert_names(der, on_name, &m))
        return count;
    for (uint32_t i = 0; i < m.count; i++) {
        unsigned want = (rules[i].subject.len ? SUBJECT : 0u) | (rules[i].san.len ? SAN : 0u);
        if (want && (m.has[i] & want) == want)
            return i;
    }
    return count;
}

const struct tr_cfg_client_certificate *tr_client_cert_of(struct tr_exchange *x,
                                                          const struct tr_cfg_authentication *cfg,
                                                          bool *ret_shown)
{
    struct tr_peer *peer = x->hs->conn->user;
    const struct tr_cfg_client_certificate *rules = cfg->client_certificates.items;
    uint32_t count = cfg->client_certificates.count;
    *ret_shown = false;
    if (!peer || !peer->stream)
        return NULL;
    if (!peer->certificate_seen) {
        struct tr_span der = tr_stream_peer_certificate(peer->stream);
        peer->certificate_seen = true;
        peer->certificate_shown = der.len > 0;
        peer->certificate_rule = der.len ? tr_client_cert_match(der, rules, count) : count;
    }
    *ret_shown = peer->certificate_shown;
    return peer->certificate_rule < count ? &rules[peer->certificate_rule] : NULL;
}
