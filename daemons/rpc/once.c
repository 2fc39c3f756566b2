/*
 * At most once — the words of the protocol.
 */
#include <stdio.h>
#include <sys/random.h>

#include "rpc/once.h"

size_t rpc_epoch_format(RpcEpoch epoch, char ret[static RPC_EPOCH_TEXT_SIZE])
{
        if (epoch.process == 0)
                return (size_t) snprintf(ret, RPC_EPOCH_TEXT_SIZE, "0");
        return (size_t) snprintf(ret, RPC_EPOCH_TEXT_SIZE, "%016llx.%u",
                                 (unsigned long long) epoch.process, epoch.generation);
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -EBADMSG;
}

int rpc_epoch_parse(const char *text, size_t size, RpcEpoch *ret)
{
        uint64_t process = 0, generation;

        if (size == 1 && text[0] == '0') {
                *ret = (RpcEpoch){};
                return 0;
        }
        if (size < 18 || text[16] != '.')
                return -EBADMSG;
        for (size_t i = 0; i < 16; i++) {
                int v = hex_value(text[i]);

                if (v < 0)
                        return v;
                process = process << 4 | (uint64_t) v;
        }
        if (rpc_seq_parse(text + 17, size - 17, &generation) < 0 || generation > UINT32_MAX ||
            process == 0)
                return -EBADMSG;
        *ret = (RpcEpoch){.process = process, .generation = (uint32_t) generation};
        return 0;
}

void rpc_client_id_format(const uint8_t id[static RPC_CLIENT_ID_SIZE],
                          char ret[static RPC_CLIENT_TEXT_SIZE])
{
        static const char hex[] = "0123456789abcdef";

        for (size_t i = 0; i < RPC_CLIENT_ID_SIZE; i++) {
                ret[2 * i] = hex[id[i] >> 4];
                ret[2 * i + 1] = hex[id[i] & 15];
        }
        ret[RPC_CLIENT_TEXT_SIZE - 1] = 0;
}

int rpc_client_id_parse(const char *text, size_t size, uint8_t ret[static RPC_CLIENT_ID_SIZE])
{
        if (size != 2 * RPC_CLIENT_ID_SIZE)
                return -EBADMSG;
        for (size_t i = 0; i < RPC_CLIENT_ID_SIZE; i++) {
                int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EBADMSG;
                ret[i] = (uint8_t) (high << 4 | low);
        }
        return 0;
}

int rpc_seq_parse(const char *text, size_t size, uint64_t *ret)
{
        uint64_t n = 0;

        if (size < 1 || size > 20)
                return -EBADMSG;
        for (size_t i = 0; i < size; i++) {
                if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(n, UINT64_C(10), &n) ||
                    __builtin_add_overflow(n, (uint64_t) (text[i] - '0'), &n))
                        return -EBADMSG;
        }
        *ret = n;
        return 0;
}

static inline uint64_t rotate(uint64_t x, unsigned by)
{
        return x << by | x >> (64 - by);
}

static void sip_rounds(uint64_t v[static 4], unsigned rounds)
{
        while (rounds-- > 0) {
                v[0] += v[1];
                v[2] += v[3];
                v[1] = rotate(v[1], 13) ^ v[0];
                v[3] = rotate(v[3], 16) ^ v[2];
                v[0] = rotate(v[0], 32);
                v[2] += v[1];
                v[0] += v[3];
                v[1] = rotate(v[1], 17) ^ v[2];
                v[3] = rotate(v[3], 21) ^ v[0];
                v[2] = rotate(v[2], 32);
        }
}

static uint64_t little_endian(const uint8_t *p, size_t size)
{
        uint64_t x = 0;

        for (size_t i = 0; i < size; i++)
                x |= (uint64_t) p[i] << (8 * i);
        return x;
}

uint64_t rpc_siphash(const uint64_t key[static 2], const void *data, size_t size)
{
        uint64_t v[4] = {
                key[0] ^ UINT64_C(0x736f6d6570736575),
                key[1] ^ UINT64_C(0x646f72616e646f6d),
                key[0] ^ UINT64_C(0x6c7967656e657261),
                key[1] ^ UINT64_C(0x7465646279746573),
        };
        const uint8_t *p = data;
        size_t left = size;
        uint64_t m;

        for (; left >= 8; p += 8, left -= 8) {
                m = little_endian(p, 8);
                v[3] ^= m;
                sip_rounds(v, 2);
                v[0] ^= m;
        }
        m = (uint64_t) size << 56 | little_endian(p, left);
        v[3] ^= m;
        sip_rounds(v, 2);
        v[0] ^= m;
        v[2] ^= 0xff;
        sip_rounds(v, 4);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int rpc_random(void *ret, size_t size)
{
        ssize_t n;

        do
                n = getrandom(ret, size, 0);
        while (n < 0 && errno == EINTR);
        return n == (ssize_t) size ? 0 : n < 0 ? -errno : -EIO;
}
