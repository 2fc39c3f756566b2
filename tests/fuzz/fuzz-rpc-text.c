/*
 * The text in headers: metadata with its base64, status messages with their percent signs,
 * timeouts, codes, addresses; and the framing of messages. The first byte chooses. What is decoded
 * and encoded again must be what it was.
 */
#include "fuzz.h"
#include "rpc/address.h"
#include "rpc/framing.h"
#include "rpc/metadata.h"
#include "rpc/status.h"
#include "rpc/timeout.h"

static void try_metadata(const uint8_t *data, size_t size)
{
        const uint8_t *colon = memchr(data, ':', size);
        RpcMetadata in = {}, out = {}, again = {};
        RpcArena arena;

        if (!colon)
                return;
        rpc_arena_init(&arena, NULL, 0, 1 << 20);
        if (rpc_metadata_add_received(&in, &arena, data, (size_t) (colon - data), colon + 1,
                                      size - (size_t) (colon + 1 - data)) > 0)
                for (size_t i = 0; i < in.count; i++) {
                        const EvgrpcMetadataEntry *e = &in.entries[i];

                        CLAIM(e->value[e->value_size] == 0);
                        if (rpc_metadata_add_outgoing(&out, &arena, e->key, e->value,
                                                      e->value_size) == 0)
                                CLAIM(out.count > 0);
                }
        for (size_t i = 0; i < out.count; i++) {
                const EvgrpcMetadataEntry *e = &out.entries[i];

                CLAIM(rpc_metadata_add_received(&again, &arena, (const uint8_t *) e->key,
                                                strlen(e->key), (const uint8_t *) e->value,
                                                e->value_size) == 1);
        }
        rpc_arena_done(&arena);
}

static void try_percent(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 1), *encoded = malloc(3 * size + 1);
        size_t n;

        CLAIM(text && encoded);
        memcpy(text, data, size);
        CLAIM(rpc_percent_decode(text, size) <= size);
        n = rpc_percent_encode((const char *) data, size, encoded);
        CLAIM(n <= 3 * size);
        CLAIM(rpc_percent_decode(encoded, n) == size);
        CLAIM(size == 0 || memcmp(encoded, data, size) == 0);
        free(text);
        free(encoded);
}

static void try_timeout(const uint8_t *data, size_t size)
{
        char text[RPC_TIMEOUT_SIZE];
        uint64_t usec, again;
        size_t n;

        (void) rpc_status_parse((const char *) data, size);
        if (rpc_timeout_parse((const char *) data, size, &usec) < 0)
                return;
        n = rpc_timeout_format(usec, text);
        CLAIM(n > 0 && n < sizeof(text));
        CLAIM(rpc_timeout_parse(text, n, &again) == 0);
        CLAIM(again >= usec);
}

static void try_address(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 1), formatted[RPC_ADDRESS_TEXT_MAX];
        RpcAddress a, again;

        CLAIM(text);
        memcpy(text, data, size);
        text[size] = 0;
        if (rpc_address_parse(text, &a) == 0 && a.size > 0) {
                rpc_address_format(&a.sockaddr, a.size, formatted);
                CLAIM(rpc_address_parse(formatted, &again) == 0);
        }
        free(text);
}

static void try_framing(const uint8_t *data, size_t size)
{
        RpcBudget budget = {.limit = 1 << 16};
        RpcReader r = {.budget = &budget};
        size_t step = size > 0 ? 1 + data[0] : 1;

        for (size_t done = 0; done < size; done += step) {
                const uint8_t *at = data + done, *message;
                size_t left = size - done < step ? size - done : step, n;
                int k;

                while ((k = rpc_reader_feed(&r, &at, &left, 4096, &message, &n)) > 0) {
                        CLAIM(n <= 4096);
                        for (size_t i = 0; i < n; i++) /* every byte is ours to read */
                                (void) *(volatile const uint8_t *) (message + i);
                }
                CLAIM(budget.used <= budget.limit);
                if (k < 0)
                        break;
                CLAIM(left == 0);
        }
        rpc_reader_done(&r);
        CLAIM(budget.used == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static void (*const tries[])(const uint8_t *, size_t) = {
                try_metadata, try_percent, try_timeout, try_address, try_framing};

        if (size > 0)
                tries[data[0] % (sizeof(tries) / sizeof(*tries))](data + 1, size - 1);
        return 0;
}
