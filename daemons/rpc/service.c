/*
 * Services — from a path to the function that answers it.
 *
 * A hash table by the whole path ("/package.Service/Method"), filled before serving and only read
 * then: peers choose what is looked up, never what is stored.
 */
#include <stdio.h>

#include "rpc/server.h"

static unsigned bucket_of(const char *path, size_t size)
{
        uint32_t h = 2166136261u; /* FNV-1a */

        for (size_t i = 0; i < size; i++)
                h = (h ^ (uint8_t) path[i]) * 16777619u;
        return (h ^ h >> 16) % METHOD_BUCKETS;
}

const MethodEntry *rpc_server_find_method(const EvgrpcServer *server, const char *path, size_t size)
{
        for (const MethodEntry *e = server->methods[bucket_of(path, size)]; e; e = e->next)
                if (e->path_size == size && memcmp(e->path, path, size) == 0)
                        return e;
        return NULL;
}

static MethodEntry *entry_new(const ProtobufCServiceDescriptor *service,
                              const ProtobufCMethodDescriptor *method)
{
        size_t size = strlen(service->name) + strlen(method->name) + 2;
        MethodEntry *e = calloc(1, sizeof(*e) + size + 1);

        if (!e)
                return NULL;
        (void) snprintf(e->path, size + 1, "/%s/%s", service->name, method->name);
        e->path_size = size;
        e->descriptor = method;
        return e;
}

static int insert(EvgrpcServer *server, MethodEntry *e)
{
        unsigned bucket = bucket_of(e->path, e->path_size);

        if (rpc_server_find_method(server, e->path, e->path_size)) {
                free(e);
                return -EEXIST;
        }
        e->next = server->methods[bucket];
        server->methods[bucket] = e;
        return 0;
}

static bool may_keep_replies(const EvgrpcServer *server, const EvgrpcMethod *m)
{
        if (m->stored && !(m->at_most_once && rpc_once_has_store(server->once)))
                return false;
        return !m->at_most_once || (!m->client_streaming && !m->server_streaming);
}

int evgrpc_server_add_service(EvgrpcServer *server, const ProtobufCServiceDescriptor *descriptor,
                              const EvgrpcMethod *methods, void *userdata)
{
        for (const EvgrpcMethod *m = methods; m->name; m++) {
                const ProtobufCMethodDescriptor *d =
                        protobuf_c_service_descriptor_get_method_by_name(descriptor, m->name);
                MethodEntry *e;
                int r;

                if (!d || !m->handler || !may_keep_replies(server, m))
                        return -EINVAL;
                if (m->at_most_once && !server->once) {
                        r = evgrpc_server_set_once(server, NULL);
                        if (r < 0)
                                return r;
                }
                e = entry_new(descriptor, d);
                if (!e)
                        return -ENOMEM;
                e->method = m;
                e->userdata = userdata;
                r = insert(server, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

void rpc_server_free_methods(EvgrpcServer *server)
{
        for (unsigned i = 0; i < METHOD_BUCKETS; i++)
                while (server->methods[i]) {
                        MethodEntry *e = server->methods[i];

                        server->methods[i] = e->next;
                        free(e);
                }
}

/* ---- Services that protoc-c generated
 * ----------------------------------------------------------- */

static void on_closure(const ProtobufCMessage *reply, void *closure_data)
{
        EvgrpcServerCall *call = closure_data;

        if (!evgrpc_server_call_is_over(call)) {
                if (reply)
                        evgrpc_server_call_reply(call, reply);
                else
                        evgrpc_server_call_finish(call, EVGRPC_INTERNAL,
                                                  "The method gave no reply");
        }
        evgrpc_server_call_unref(call);
}

/* The service may call its closure later: the reference is the closure's. */
static void invoke_generated(EvgrpcServerCall *call, const ProtobufCMessage *request,
                             void *userdata)
{
        const MethodEntry *e = call->method;

        e->service->invoke(e->service, e->index, request, on_closure, evgrpc_server_call_ref(call));
}

int evgrpc_server_add_protobuf_service(EvgrpcServer *server, ProtobufCService *service)
{
        static const EvgrpcMethod generated = {.name = "", .handler = invoke_generated};

        for (unsigned i = 0; i < service->descriptor->n_methods; i++) {
                MethodEntry *e = entry_new(service->descriptor, &service->descriptor->methods[i]);
                int r;

                if (!e)
                        return -ENOMEM;
                e->method = &generated;
                e->service = service;
                e->index = i;
                r = insert(server, e);
                if (r < 0)
                        return r;
        }
        return 0;
}
