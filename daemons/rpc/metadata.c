/*
 * Metadata.
 */
#include "rpc/metadata.h"

static bool is_binary_key(const char *key, size_t size)
{
        return size >= 4 && memcmp(key + size - 4, "-bin", 4) == 0;
}

static bool is_reserved(const char *key, size_t size)
{
        static const char *const names[] = {
                "te", "content-type", "user-agent", "accept-encoding", "content-length", "host",
        };

        if (size == 0 || key[0] == ':' || (size >= 5 && memcmp(key, "grpc-", 5) == 0))
                return true;
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strlen(names[i]) == size && memcmp(names[i], key, size) == 0)
                        return true;
        return false;
}

static int append(RpcMetadata *m, RpcArena *arena, const char *key, const char *value, size_t size)
{
        if (m->count >= RPC_METADATA_ENTRIES_MAX)
                return -E2BIG;
        if (m->count == m->room) {
                size_t room = m->room == 0 ? 4 : m->room * 2;
                EvgrpcMetadataEntry *entries = rpc_arena_alloc(arena, room * sizeof(*entries));

                if (!entries)
                        return -ENOMEM;
                if (m->count > 0)
                        memcpy(entries, m->entries, m->count * sizeof(*entries));
                m->entries = entries;
                m->room = room;
        }
        m->entries[m->count++] =
                (EvgrpcMetadataEntry){.key = key, .value = value, .value_size = size};
        return 0;
}

static int base64_value(uint8_t c)
{
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 §4, with or without padding, as gRPC demands. Returns the size or -EBADMSG. */
static int base64_decode(const uint8_t *text, size_t size, char *ret)
{
        uint32_t bits = 0;
        unsigned have = 0;
        int n = 0;

        for (unsigned i = 0; i < 2 && size > 0 && text[size - 1] == '='; i++)
                size--;
        if (size % 4 == 1)
                return -EBADMSG;
        for (size_t i = 0; i < size; i++) {
                int v = base64_value(text[i]);

                if (v < 0)
                        return -EBADMSG;
                bits = bits << 6 | (uint32_t) v;
                have += 6;
                if (have >= 8) {
                        have -= 8;
                        ret[n++] = (char) (uint8_t) (bits >> have);
                }
        }
        return n;
}

/* Without padding, as gRPC recommends. */
static size_t base64_encode(const uint8_t *data, size_t size, char *ret)
{
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        uint32_t bits = 0;
        unsigned have = 0;
        size_t n = 0;

        for (size_t i = 0; i < size; i++) {
                bits = bits << 8 | data[i];
                for (have += 8; have >= 6; have -= 6)
                        ret[n++] = digits[bits >> (have - 6) & 63];
        }
        if (have > 0)
                ret[n++] = digits[bits << (6 - have) & 63];
        return n;
}

static int add_binary(RpcMetadata *m, RpcArena *arena, const char *key, const uint8_t *value,
                      size_t size)
{
        for (;;) {
                const uint8_t *comma = size > 0 ? memchr(value, ',', size) : NULL;
                size_t part = comma ? (size_t) (comma - value) : size;
                char *decoded = rpc_arena_alloc(arena, part + 1);
                int n, r;

                if (!decoded)
                        return -ENOMEM;
                n = base64_decode(value, part, decoded);
                if (n < 0)
                        return n;
                decoded[n] = 0;
                r = append(m, arena, key, decoded, (size_t) n);
                if (r < 0)
                        return r;
                if (!comma)
                        return 1;
                value += part + 1;
                size -= part + 1;
        }
}

int rpc_metadata_add_received(RpcMetadata *m, RpcArena *arena, const uint8_t *key, size_t key_size,
                              const uint8_t *value, size_t value_size)
{
        char *own_key, *own_value;
        int r;

        if (is_reserved((const char *) key, key_size))
                return 0;
        own_key = rpc_arena_dup(arena, key, key_size);
        if (!own_key)
                return -ENOMEM;
        if (is_binary_key(own_key, key_size))
                return add_binary(m, arena, own_key, value, value_size);
        own_value = rpc_arena_dup(arena, value, value_size);
        if (!own_value)
                return -ENOMEM;
        r = append(m, arena, own_key, own_value, value_size);
        return r < 0 ? r : 1;
}

static bool key_is_valid(const char *key, size_t size)
{
        if (is_reserved(key, size) || size > 256)
                return false;
        for (size_t i = 0; i < size; i++)
                if (!((key[i] >= 'a' && key[i] <= 'z') || (key[i] >= '0' && key[i] <= '9') ||
                      key[i] == '_' || key[i] == '-' || key[i] == '.'))
                        return false;
        return true;
}

int rpc_metadata_add_outgoing(RpcMetadata *m, RpcArena *arena, const char *key, const void *value,
                              size_t size)
{
        size_t key_size = strlen(key);
        const uint8_t *bytes = value;
        char *own_key, *text;

        if (!key_is_valid(key, key_size) || size > UINT16_MAX)
                return -EINVAL;
        own_key = rpc_arena_dup(arena, key, key_size);
        if (!own_key)
                return -ENOMEM;
        if (is_binary_key(key, key_size)) {
                text = rpc_arena_alloc(arena, size * 4 / 3 + 4);
                if (!text)
                        return -ENOMEM;
                return append(m, arena, own_key, text, base64_encode(bytes, size, text));
        }
        for (size_t i = 0; i < size; i++)
                if (bytes[i] < 0x20 || bytes[i] > 0x7e)
                        return -EINVAL;
        text = rpc_arena_dup(arena, value, size);
        return text ? append(m, arena, own_key, text, size) : -ENOMEM;
}

int rpc_metadata_add_encoded(RpcMetadata *m, RpcArena *arena, const char *key, const char *value,
                             size_t size)
{
        char *own_key = rpc_arena_dup(arena, key, strlen(key));
        char *own_value = rpc_arena_dup(arena, value, size);

        return own_key && own_value ? append(m, arena, own_key, own_value, size) : -ENOMEM;
}

size_t rpc_metadata_fields(const RpcMetadata *m, nghttp2_nv *ret)
{
        for (size_t i = 0; i < m->count; i++)
                ret[i] = rpc_field(m->entries[i].key, strlen(m->entries[i].key),
                                   m->entries[i].value, m->entries[i].value_size);
        return m->count;
}

const EvgrpcMetadataEntry *evgrpc_metadata_find(const EvgrpcMetadata *metadata, const char *key)
{
        for (size_t i = 0; i < metadata->count; i++)
                if (strcmp(metadata->entries[i].key, key) == 0)
                        return &metadata->entries[i];
        return NULL;
}
