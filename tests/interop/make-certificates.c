/*
 * `make-certificates DIR` makes a directory in DIR for each of the ends that the TLS cases need,
 * with its ca.pem, certificate.pem and key.pem.
 */
#include <glib/gstdio.h>

#include "../unit/tls-certificates.h"

static void write_one(const char *dir, const char *name, const char *text)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void write_end(const char *top, const char *name, const Authority *trusts, Identity *own)
{
        g_autofree char *dir = g_build_filename(top, name, NULL);

        g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
        write_one(dir, "ca.pem", trusts->pem);
        write_one(dir, "certificate.pem", own->certificate);
        write_one(dir, "key.pem", own->key);
        identity_done(own);
}

int main(int argc, char **argv)
{
        static const char names[] = "DNS:localhost,IP:127.0.0.1";
        Authority ca, other;
        Identity i;

        g_assert_cmpint(argc, ==, 2);
        authority_make(&ca, "Interop CA");
        authority_make(&other, "Other CA");
        identity_make(&i, &ca, "server", names, NULL, -TLS_DAY, TLS_DAY);
        write_end(argv[1], "server", &ca, &i);
        identity_make(&i, &ca, "client", "DNS:client", NULL, -TLS_DAY, TLS_DAY);
        write_end(argv[1], "client", &ca, &i);
        identity_make(&i, &ca, "expired", names, NULL, -3 * TLS_DAY, -TLS_DAY);
        write_end(argv[1], "expired", &ca, &i);
        identity_make(&i, &ca, "elsewhere", "DNS:elsewhere", NULL, -TLS_DAY, TLS_DAY);
        write_end(argv[1], "elsewhere", &ca, &i);
        identity_make(&i, &other, "stranger", names, NULL, -TLS_DAY, TLS_DAY);
        write_end(argv[1], "stranger", &ca, &i);
        identity_make(&i, &other, "outside", names, NULL, -TLS_DAY, TLS_DAY);
        write_end(argv[1], "outside", &other, &i);
        authority_done(&ca);
        authority_done(&other);
        return 0;
}
