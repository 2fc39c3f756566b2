/*
 * TLS: who it was and what was wrong, as a sentence for the person who has to mend it.
 *
 * TLS tells the reason of a refusal by the number of an alert (RFC 8446 §6.2), and each end knows
 * only its own half of the story: the one that verifies knows the date or the name, the other just
 * the number. OpenSSL keeps both in its queue of errors; an alert that came has the reason
 * SSL_AD_REASON_OFFSET + number.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>

#include "rpc/tls.h"

#define CAME(alert) (SSL_AD_REASON_OFFSET + (alert))

void rpc_tls_set_error(RpcTls *t, const char *format, ...)
{
        va_list ap;

        if (t->error[0])
                return; /* the first is the cause of the others */
        va_start(ap, format);
        (void) vsnprintf(t->error, sizeof(t->error), format, ap);
        va_end(ap);
}

/* ---- Names
 * -------------------------------------------------------------------------------------- */

static bool copy_name(const ASN1_STRING *s, char *ret)
{
        const unsigned char *data = ASN1_STRING_get0_data(s);
        int size = ASN1_STRING_length(s);

        if (size <= 0 || (size_t) size > RPC_TLS_NAME_MAX)
                return false;
        for (int i = 0; i < size; i++)
                ret[i] = data[i] > 0x20 && data[i] < 0x7F ? (char) data[i] : '?';
        ret[size] = 0;
        return true;
}

static bool copy_address(const ASN1_STRING *s, char *ret)
{
        int family = ASN1_STRING_length(s) == 4 ? AF_INET : AF_INET6;

        return (family == AF_INET || ASN1_STRING_length(s) == 16) &&
               inet_ntop(family, ASN1_STRING_get0_data(s), ret, RPC_TLS_NAME_MAX + 1);
}

static bool copy_alternative(const GENERAL_NAMES *names, int type, char *ret)
{
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
                int found;
                const ASN1_STRING *s =
                        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &found);

                if (found == type && (type == GEN_IPADD ? copy_address(s, ret) : copy_name(s, ret)))
                        return true;
        }
        return false;
}

void rpc_tls_name_of(const X509 *certificate, char ret[static RPC_TLS_NAME_MAX + 1])
{
        static const int types[] = {GEN_DNS, GEN_URI, GEN_IPADD};
        GENERAL_NAMES *names;
        const X509_NAME *subject;
        bool found = false;
        int at;

        ret[0] = 0;
        if (!certificate)
                return;
        names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
        for (unsigned i = 0; names && !found && i < ELEMENTSOF(types); i++)
                found = copy_alternative(names, types[i], ret);
        GENERAL_NAMES_free(names);
        subject = X509_get_subject_name(certificate);
        at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        if (!found &&
            (at < 0 || !copy_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), ret)))
                ret[0] = 0;
}

/* ---- The peer's certificate, as we see it
 * ------------------------------------------------------- */

static void format_date(const ASN1_TIME *at, char *ret, size_t size)
{
        struct tm tm;

        if (!ASN1_TIME_to_tm(at, &tm) || strftime(ret, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
                ret[0] = 0;
}

int rpc_tls_on_verify(int ok, X509_STORE_CTX *store)
{
        const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());

        return rpc_tls_note_verify(SSL_get_app_data(ssl), ok, store);
}

int rpc_tls_note_verify(RpcTls *t, int ok, X509_STORE_CTX *store)
{
        const X509 *x = X509_STORE_CTX_get_current_cert(store);
        char name[RPC_TLS_NAME_MAX + 1];

        if (ok || t->verify_error != X509_V_OK)
                return ok;
        t->verify_error = X509_STORE_CTX_get_error(store);
        t->verify_depth = X509_STORE_CTX_get_error_depth(store);
        switch (x ? t->verify_error : X509_V_OK) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
                format_date(X509_get0_notAfter(x), t->verify_detail, sizeof(t->verify_detail));
                break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
                format_date(X509_get0_notBefore(x), t->verify_detail, sizeof(t->verify_detail));
                break;
        default:
                rpc_tls_name_of(x, name);
                (void) snprintf(t->verify_detail, sizeof(t->verify_detail), "%.150s", name);
        }
        return 0;
}

void rpc_tls_explain_certificate(RpcTls *t)
{
        const char *end = t->server ? "client" : "server";
        char whose[64];

        (void) snprintf(whose, sizeof(whose),
                        t->verify_depth > 0 ? "CA of the %s's certificate" : "%s's certificate",
                        end);
        switch (t->verify_error) {
        case X509_V_ERR_CERT_HAS_EXPIRED:
                rpc_tls_set_error(t, "The %s expired on %s", whose, t->verify_detail);
                break;
        case X509_V_ERR_CERT_NOT_YET_VALID:
                rpc_tls_set_error(t, "The %s is not yet valid before %s, by our clock", whose,
                                  t->verify_detail);
                break;
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
                rpc_tls_set_error(t, "The server's certificate is for %.80s, not for %.80s",
                                  t->verify_detail[0] ? t->verify_detail : "nobody", t->expected);
                break;
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
                rpc_tls_set_error(t, "The %s's certificate is not from a CA that we trust (%s)",
                                  end, X509_verify_cert_error_string(t->verify_error));
                break;
        case X509_V_ERR_CERT_REVOKED:
                rpc_tls_set_error(t, "The %s is revoked (%.80s)", whose, t->verify_detail);
                break;
        case X509_V_ERR_CRL_HAS_EXPIRED:
                rpc_tls_set_error(t, "Our list of revoked certificates is out of date");
                break;
        case X509_V_ERR_INVALID_PURPOSE:
                rpc_tls_set_error(t, "The %s is not meant for a %s (extended key usage)", whose,
                                  end);
                break;
        default:
                rpc_tls_set_error(t, "The %s is not accepted: %s", whose,
                                  X509_verify_cert_error_string(t->verify_error));
        }
}

/* ---- Our certificate, as the peer sees it
 * ------------------------------------------------------- */

/* The alert for one that is not yet valid is the same as for one that is broken. */
static void explain_refusal(RpcTls *t)
{
        const X509 *own = SSL_get_certificate(t->ssl);
        const char *end = t->server ? "client" : "server";

        if (own && X509_cmp_current_time(X509_get0_notBefore(own)) > 0)
                rpc_tls_set_error(t, "The %s refused our certificate: it is not yet valid", end);
        else if (t->server)
                rpc_tls_set_error(
                        t,
                        "The client refused our certificate: it is broken, or not for the name it asked for");
        else
                rpc_tls_set_error(t, "The server refused our certificate as broken");
}

static bool explain_alert(RpcTls *t, int reason)
{
        const char *end = t->server ? "client" : "server";

        switch (reason) {
        case CAME(SSL_AD_CERTIFICATE_REQUIRED):
                rpc_tls_set_error(t, "The server demands a client certificate, and we sent none");
                break;
        case CAME(SSL_AD_UNKNOWN_CA):
                rpc_tls_set_error(t, "The %s refused our certificate: it does not trust its CA",
                                  end);
                break;
        case CAME(SSL_AD_CERTIFICATE_EXPIRED):
                rpc_tls_set_error(t, "The %s refused our certificate: it has expired", end);
                break;
        case CAME(SSL_AD_CERTIFICATE_REVOKED):
                rpc_tls_set_error(t, "The %s refused our certificate: it is revoked", end);
                break;
        case CAME(SSL_AD_BAD_CERTIFICATE):
        case CAME(SSL_AD_CERTIFICATE_UNKNOWN):
                explain_refusal(t);
                break;
        case CAME(SSL_AD_UNSUPPORTED_CERTIFICATE):
                rpc_tls_set_error(t, "The %s refused our certificate: it is not meant for a %s",
                                  end, t->server ? "server" : "client");
                break;
        case CAME(SSL_AD_NO_APPLICATION_PROTOCOL):
                rpc_tls_set_error(t, "The %s does not take HTTP/2 (ALPN h2)", end);
                break;
        case CAME(SSL_AD_PROTOCOL_VERSION):
                rpc_tls_set_error(t, "The %s does not speak TLS 1.3", end);
                break;
        default:
                return false;
        }
        return true;
}

/* ---- All of it
 * ---------------------------------------------------------------------------------- */

static const char *reason_text(unsigned long error)
{
        const char *text = ERR_reason_error_string(error);

        return text ? text : "there is no room for its records";
}

static void explain_reason(RpcTls *t, unsigned long error)
{
        const char *end = t->server ? "client" : "server";

        switch (ERR_GET_REASON(error)) {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
                rpc_tls_set_error(t, "The client sent no certificate");
                break;
        case SSL_R_WRONG_VERSION_NUMBER:
        case SSL_R_HTTP_REQUEST:
        case SSL_R_HTTPS_PROXY_REQUEST:
                t->not_tls = true;
                rpc_tls_set_error(t, "The %s does not speak TLS", end);
                break;
        case SSL_R_UNSUPPORTED_PROTOCOL:
        case SSL_R_UNKNOWN_PROTOCOL:
        case SSL_R_WRONG_SSL_VERSION:
        case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
                rpc_tls_set_error(t, "The %s does not speak TLS 1.3", end);
                break;
        default:
                rpc_tls_set_error(t, "TLS: %s", reason_text(error));
        }
}

void rpc_tls_explain(RpcTls *t)
{
        unsigned long error = ERR_peek_error();

        if (t->no_alpn)
                rpc_tls_set_error(t, t->server ? "The client does not offer HTTP/2 (ALPN h2)"
                                               : "The server did not choose HTTP/2 (ALPN h2)");
        else if (t->verify_error != X509_V_OK)
                rpc_tls_explain_certificate(t);
        else if (ERR_GET_LIB(error) != ERR_LIB_SSL)
                rpc_tls_set_error(t, "TLS: %s", reason_text(error));
        else if (!explain_alert(t, ERR_GET_REASON(error)))
                explain_reason(t, error);
        ERR_clear_error();
}
