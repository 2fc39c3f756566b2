/*
 * TLS — see tls.h.
 */
#include "timesyncd-lite/tls.h"

int time_tls_load(const TimeConf *conf, EvgrpcTls **ret, Error *e)
{
        const EvgrpcTlsSource source = {
                .ca_file = conf->ca,
                .certificate_file = conf->certificate,
                .key_file = conf->key,
        };
        _cleanup_free_ char *why = NULL;
        int r;

        *ret = NULL;
        if (!conf->ca)
                return 0;
        r = evgrpc_tls_new(&source, ret, &why);
        return r < 0 ? error_setf(e, r, "%s", why ? why : error_text(r)) : 0;
}
