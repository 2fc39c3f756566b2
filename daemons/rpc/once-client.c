/*
 * At most once, the client's end.
 */
#include <stdio.h>

#include "rpc/client.h"

/* ---- Identities and marks
 * ----------------------------------------------------------------------- */

int evgrpc_client_identity_new(EvgrpcClientIdentity **ret)
{
        EvgrpcClientIdentity *i = calloc(1, sizeof(*i));
        uint8_t id[RPC_CLIENT_ID_SIZE];
        int r;

        if (!i)
                return -ENOMEM;
        r = rpc_random(id, sizeof(id));
        if (r < 0) {
                free(i);
                return r;
        }
        rpc_client_id_format(id, i->text);
        i->refs = 1;
        i->next_seq = 1;
        rpc_link_init(&i->marks);
        *ret = i;
        return 0;
}

EvgrpcClientIdentity *evgrpc_client_identity_ref(EvgrpcClientIdentity *identity)
{
        identity->refs++;
        return identity;
}

EvgrpcClientIdentity *evgrpc_client_identity_unref(EvgrpcClientIdentity *identity)
{
        if (identity && --identity->refs == 0)
                free(identity);
        return NULL;
}

int evgrpc_mark_new(EvgrpcClientIdentity *identity, EvgrpcMark **ret)
{
        EvgrpcMark *m = malloc(sizeof(*m));

        if (!m)
                return -ENOMEM;
        *m = (EvgrpcMark){.refs = 1,
                          .identity = evgrpc_client_identity_ref(identity),
                          .seq = identity->next_seq++};
        rpc_link_append(&identity->marks, &m->link);
        *ret = m;
        return 0;
}

EvgrpcMark *evgrpc_mark_ref(EvgrpcMark *mark)
{
        mark->refs++;
        return mark;
}

EvgrpcMark *evgrpc_mark_unref(EvgrpcMark *mark)
{
        if (!mark || --mark->refs > 0)
                return NULL;
        rpc_link_remove(&mark->link);
        evgrpc_client_identity_unref(mark->identity);
        free(mark);
        return NULL;
}

static uint64_t acknowledged(const EvgrpcClientIdentity *i)
{
        return rpc_link_is_alone(&i->marks) ? i->next_seq
                                            : CONTAINER_OF(i->marks.next, EvgrpcMark, link)->seq;
}

static int format_number(char *ret, uint64_t n)
{
        return snprintf(ret, ONCE_FIELD_ROOM, "%llu", (unsigned long long) n);
}

size_t rpc_mark_fields(OnceCall *once, RpcEpoch epoch, char room[static ONCE_ROOM],
                       nghttp2_nv ret[static ONCE_FIELDS])
{
        EvgrpcMark *m = once->mark;
        char *seq = room, *ack = room + ONCE_FIELD_ROOM, *text = room + 2 * ONCE_FIELD_ROOM;

        if (m->tries == 0)
                m->epoch = epoch;
        m->tries++;
        once->sent = true;
        ret[0] = RPC_FIELD("x-rpc-client", m->identity->text, RPC_CLIENT_TEXT_SIZE - 1);
        ret[1] = RPC_FIELD("x-rpc-seq", seq, (size_t) format_number(seq, m->seq));
        ret[2] =
                RPC_FIELD("x-rpc-ack", ack, (size_t) format_number(ack, acknowledged(m->identity)));
        ret[3] = RPC_FIELD("x-rpc-epoch", text, rpc_epoch_format(m->epoch, text));
        /* A first try to a server that told no epoch has none to send: "0" would mean a
         * repetition. */
        return m->tries == 1 && m->epoch.process == 0 ? ONCE_FIELDS - 1 : ONCE_FIELDS;
}

void rpc_mark_unseen(OnceCall *once)
{
        if (once->mark && once->sent)
                once->mark->tries--;
        once->sent = false;
}

/* ---- A call that is marked
 * ---------------------------------------------------------------------- */

static int keep_request(OnceCall *once, const ProtobufCMessage *request)
{
        once->request = malloc(protobuf_c_message_get_packed_size(request) + 1);
        if (!once->request)
                return -ENOMEM;
        once->request_size = protobuf_c_message_pack(request, once->request);
        return 0;
}

int rpc_call_set_mark(EvgrpcCall *call, const EvgrpcCallOptions *options,
                      const ProtobufCMessage *request)
{
        OnceCall *once = &call->once;
        int r = 0;

        if (!options || (!options->once && !options->mark))
                return options && options->retry ? -EINVAL : 0;
        if (!request || (options->once && options->mark))
                return -EINVAL;
        call->unary = true;
        if (options->mark)
                once->mark = evgrpc_mark_ref(options->mark);
        else
                r = evgrpc_mark_new(options->once, &once->mark);
        if (r < 0 || !options->retry)
                return r;
        once->retry = true;
        call->wait_for_ready = true;
        return keep_request(once, request);
}

void rpc_call_drop_mark(EvgrpcCall *call)
{
        call->once.mark = evgrpc_mark_unref(call->once.mark);
        free(call->once.request);
        call->once.request = NULL;
}

/* Everything that the lost try has left in the call. */
static void forget_try(EvgrpcCall *call)
{
        EvgrpcChannel *ch = call->channel;

        rpc_link_remove(&call->link);
        rpc_link_remove(&call->resume_link);
        rpc_stream_done(&call->stream, &ch->blocks);
        call->http_status = 0;
        call->headers_seen = call->content_type_ok = call->status_seen = false;
        call->messages = 0;
        call->wire_code = EVGRPC_OK;
        call->wire_message = "";
        call->initial = call->trailing = (RpcMetadata){};
        call->reply = NULL;
        call->state = CALL_PENDING;
}

static uint64_t next_pause(EvgrpcCall *call)
{
        OnceCall *once = &call->once;

        once->pause_usec = once->pause_usec == 0 ? RETRY_MIN_USEC : once->pause_usec * 2;
        once->pause_usec = RPC_MIN(once->pause_usec, RETRY_MAX_USEC);
        return rpc_channel_with_jitter(call->channel, once->pause_usec);
}

bool rpc_call_retry(EvgrpcCall *call, bool unseen)
{
        EvgrpcChannel *ch = call->channel;
        OnceCall *once = &call->once;

        if (unseen)
                rpc_mark_unseen(once);
        if (!once->retry || ch->freed || call->state != CALL_ACTIVE)
                return false;
        /* A server that told no epoch may not know what a mark is. */
        if (once->mark->tries > 0 && once->mark->epoch.process == 0)
                return false;
        forget_try(call);
        once->sent = false;
        call->retry_at.at_usec = rpc_now_usec() + next_pause(call);
        if (rpc_deadlines_add(&ch->retries, &call->retry_at) < 0) {
                rpc_call_end(call, EVGRPC_UNAVAILABLE, "No memory to try again", false);
                return true;
        }
        rpc_link_append(&ch->retrying, &call->link);
        return true;
}

void rpc_call_retry_due(RpcDeadline *d, void *userdata)
{
        EvgrpcCall *call = CONTAINER_OF(d, EvgrpcCall, retry_at);
        OnceCall *once = &call->once;

        rpc_link_remove(&call->link);
        call->stream.reader.keep_buffer = true;
        call->stream.queue_ended = true;
        if (rpc_queue_append_packed(&call->stream.queue, &call->channel->blocks, once->request,
                                    once->request_size) < 0)
                rpc_call_end(call, EVGRPC_RESOURCE_EXHAUSTED, "No memory to try again", false);
        else
                rpc_channel_enqueue(call);
}
