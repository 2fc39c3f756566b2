/*
 * TLS in programs that have none — see tls.h.
 *
 * The daemons of `mrctl --local` speak over sockets in a private directory. Linked with this file
 * instead of OpenSSL they start in half of the time, and no key can be made by them: there is
 * nothing to connect with.
 */
#include "rpc/tls.h"
#include "rpc/util.h"

int evgrpc_tls_new(const EvgrpcTlsSource *source, EvgrpcTls **ret, char **ret_error)
{
        if (ret_error)
                *ret_error = strdup("this program is built without TLS, for one host");
        return -EOPNOTSUPP;
}

int evgrpc_tls_reload(EvgrpcTls *tls, const EvgrpcTlsSource *source, char **ret_error)
{
        return evgrpc_tls_new(source, NULL, ret_error);
}

/* What cannot be made cannot be held: none of the following is reached. */

EvgrpcTls *evgrpc_tls_ref(EvgrpcTls *tls)
{
        return tls;
}

EvgrpcTls *evgrpc_tls_unref(EvgrpcTls *tls)
{
        return NULL;
}

int rpc_tls_new(EvgrpcTls *tls, bool server, const char *server_name, RpcBlockPool *pool,
                RpcTls **ret)
{
        return -EOPNOTSUPP;
}

RpcTls *rpc_tls_free(RpcTls *t)
{
        return NULL;
}

void rpc_tls_feed(RpcTls *t, const uint8_t *data, size_t size)
{
}

ssize_t rpc_tls_read(RpcTls *t, uint8_t *buffer, size_t room)
{
        return -EPROTO;
}

int rpc_tls_send(RpcTls *t, RpcOutput *plain, int fd)
{
        return -EPROTO;
}

void rpc_tls_say_goodbye(RpcTls *t, int fd)
{
}

bool rpc_tls_recheck(RpcTls *t, EvgrpcTls *tls)
{
        return false;
}

void rpc_tls_set_error(RpcTls *t, const char *format, ...)
{
}
