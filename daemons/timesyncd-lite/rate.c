/*
 * Rate — see rate.h.
 */
#include <arpa/inet.h>

#include "timesyncd-lite/rate.h"

#define PREFIX_BYTES 8 /* of an IPv6 address */

typedef struct Bucket {
        uint64_t key; /* 0: empty */
        uint64_t seen_usec;
        double tokens;
} Bucket;

struct RateLimiter {
        Bucket buckets[RATE_SETS][RATE_WAYS];
        uint32_t per_second;
        uint64_t seed;
};

RateLimiter *rate_new(uint32_t per_second, uint64_t seed)
{
        RateLimiter *r = g_new0(RateLimiter, 1);

        r->per_second = per_second;
        r->seed = seed;
        return r;
}

RateLimiter *rate_free(RateLimiter *r)
{
        g_free(r);
        return NULL;
}

/* FNV-1a (Fowler, Noll & Vo), then the finaliser of splitmix64, as FNV's high bits alone are
 * weak. */
static uint64_t hash(uint64_t seed, const void *data, size_t size)
{
        const uint8_t *p = data;
        uint64_t z = UINT64_C(0xcbf29ce484222325) ^ seed;

        for (size_t i = 0; i < size; i++)
                z = (z ^ p[i]) * UINT64_C(0x100000001b3);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return (z ^ z >> 31) | 1;
}

static uint64_t key_of(const RateLimiter *r, const char *peer)
{
        const char *colon = strrchr(peer, ':');
        size_t length = colon ? (size_t) (colon - peer) : strlen(peer);
        g_autofree char *host = g_strndup(peer, length);
        struct in6_addr v6;

        if (host[0] == '[' && length > 2) {
                host[length - 1] = '\0';
                if (inet_pton(AF_INET6, host + 1, &v6) == 1)
                        return hash(r->seed, v6.s6_addr,
                                    IN6_IS_ADDR_V4MAPPED(&v6) ? sizeof(v6) : PREFIX_BYTES);
        }
        return hash(r->seed, host, length);
}

/* The bucket with this key, or the one that gives way, with a full one. */
static Bucket *find_bucket(RateLimiter *r, uint64_t key, uint64_t now_usec)
{
        Bucket *set = r->buckets[(key >> 32) % RATE_SETS], *oldest = set;

        for (size_t i = 0; i < RATE_WAYS; i++) {
                if (set[i].key == key)
                        return set + i;
                if (set[i].seen_usec < oldest->seen_usec)
                        oldest = set + i;
        }
        *oldest = (Bucket){key, now_usec, (double) r->per_second * RATE_BURST_S};
        return oldest;
}

bool rate_allows(RateLimiter *r, const char *peer, uint64_t now_usec)
{
        Bucket *b = find_bucket(r, key_of(r, peer), now_usec);
        double full = (double) r->per_second * RATE_BURST_S;

        if (now_usec > b->seen_usec)
                b->tokens += (double) (now_usec - b->seen_usec) / (double) USEC_PER_SEC *
                             (double) r->per_second;
        b->tokens = MIN(b->tokens, full);
        b->seen_usec = now_usec;
        if (b->tokens < 1)
                return false;
        b->tokens -= 1;
        return true;
}
