/*
 * Join tokens — see token.h.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "pki/token.h"

#define PREFIX "mrjoin1_"
#define HEAD_SIZE (PKI_FINGERPRINT_SIZE + JOIN_TOKEN_ID_SIZE + JOIN_TOKEN_SECRET_SIZE)
#define CHECKSUM_SIZE 4u
#define BYTES_MAX (HEAD_SIZE + JOIN_TOKEN_ADDRESS_MAX + CHECKSUM_SIZE)

static void digest(const void *data, size_t size, uint8_t ret[static 32])
{
        if (!EVP_Digest(data, size, ret, NULL, EVP_sha256(), NULL))
                abort(); /* OpenSSL without SHA-256 */
}

char *join_token_format(const JoinToken *t)
{
        size_t address_size = strlen(t->address), size = HEAD_SIZE + address_size;
        uint8_t bytes[BYTES_MAX], sum[32], *p = bytes;
        g_autofree char *text = NULL;
        char *whole;

        memcpy(p, t->fingerprint, sizeof(t->fingerprint));
        p += sizeof(t->fingerprint);
        memcpy(p, t->id, sizeof(t->id));
        p += sizeof(t->id);
        memcpy(p, t->secret, sizeof(t->secret));
        p += sizeof(t->secret);
        memcpy(p, t->address, address_size);
        digest(bytes, size, sum);
        memcpy(bytes + size, sum, CHECKSUM_SIZE);

        text = g_base64_encode(bytes, size + CHECKSUM_SIZE);
        g_strdelimit(text, "+", '-');
        g_strdelimit(text, "/", '_');
        for (char *end = text + strlen(text); end > text && end[-1] == '='; end--)
                end[-1] = '\0';
        whole = g_strconcat(PREFIX, text, NULL);
        OPENSSL_cleanse(bytes, sizeof(bytes));
        OPENSSL_cleanse(text, strlen(text));
        return whole;
}

/* What g_base64_decode() takes. It skips what it does not know, so that is looked at first. */
static char *plain_base64(const char *text)
{
        size_t n = strlen(text);
        GString *s;

        if (strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_") != n || n % 4 == 1 ||
            n > BYTES_MAX * 4 / 3 + 4)
                return NULL;
        s = g_string_new(text);
        g_strdelimit(s->str, "-", '+');
        g_strdelimit(s->str, "_", '/');
        while (s->len % 4)
                g_string_append_c(s, '=');
        return g_string_free(s, FALSE);
}

static bool is_address(const uint8_t *s, size_t size)
{
        if (size < 3 || size > JOIN_TOKEN_ADDRESS_MAX || !memchr(s, ':', size))
                return false;
        for (size_t i = 0; i < size; i++)
                if (!g_ascii_isgraph((char) s[i]))
                        return false;
        return true;
}

static int take_bytes(const uint8_t *bytes, size_t size, JoinToken *ret)
{
        JoinToken t = {};
        const uint8_t *p = bytes;
        uint8_t sum[32];

        if (size < HEAD_SIZE + CHECKSUM_SIZE || size > BYTES_MAX)
                return -EBADMSG;
        size -= CHECKSUM_SIZE;
        digest(bytes, size, sum);
        if (memcmp(sum, bytes + size, CHECKSUM_SIZE) != 0 ||
            !is_address(bytes + HEAD_SIZE, size - HEAD_SIZE))
                return -EBADMSG;
        memcpy(t.fingerprint, p, sizeof(t.fingerprint));
        p += sizeof(t.fingerprint);
        memcpy(t.id, p, sizeof(t.id));
        p += sizeof(t.id);
        memcpy(t.secret, p, sizeof(t.secret));
        memcpy(t.address, bytes + HEAD_SIZE, size - HEAD_SIZE);
        *ret = t;
        return 0;
}

int join_token_parse(const char *text, JoinToken *ret, Error *e)
{
        _cleanup_(pki_key_freep) char *base64 = NULL;
        g_autofree uint8_t *bytes = NULL;
        gsize size = 0;
        int r = -EBADMSG;

        if (!g_str_has_prefix(text, PREFIX))
                return error_setf(e, EBADMSG,
                                  "not a join token: those of mrctl cluster token begin with %s",
                                  PREFIX);
        base64 = plain_base64(text + strlen(PREFIX));
        if (base64) {
                bytes = g_base64_decode(base64, &size);
                r = take_bytes(bytes, size, ret);
                OPENSSL_cleanse(bytes, size);
        }
        if (r < 0)
                return error_setf(
                        e, EBADMSG,
                        "the join token is damaged: was all of it copied, and nothing else?");
        return 0;
}

void join_token_hash(const uint8_t secret[static JOIN_TOKEN_SECRET_SIZE],
                     uint8_t ret[static JOIN_TOKEN_HASH_SIZE])
{
        digest(secret, JOIN_TOKEN_SECRET_SIZE, ret);
}

bool join_token_matches(const void *secret, size_t secret_size,
                        const uint8_t hash[static JOIN_TOKEN_HASH_SIZE])
{
        uint8_t given[JOIN_TOKEN_HASH_SIZE];

        if (secret_size != JOIN_TOKEN_SECRET_SIZE)
                return false;
        digest(secret, secret_size, given);
        return CRYPTO_memcmp(given, hash, sizeof(given)) == 0;
}
