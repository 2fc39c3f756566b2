/*
 * The cluster's CA. What it makes is judged by the openssl program, which knows nothing of us.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#include "base/fs.h"
#include "pki/authority.h"
#include "pki/key-dir.h"
#include "pki/token.h"

#define NOW INT64_C(1800000000) /* 2027-01-15 08:00:00 UTC */
#define DAY INT64_C(86400)
#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210"

static char *dir;
static PkiAuthority *ca;
static char *key_a;

static const uint8_t serials[][PKI_SERIAL_SIZE] = {
        {0xFF, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        {0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16},
        {0x11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 17},
};

static void put(const char *name, const char *text)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* Runs a shell command in the directory. Return: its exit status; @ret: both outputs. */
static int _printf_(2, 3) run(char **ret, const char *format, ...)
{
        g_autofree char *command = NULL, *line = NULL, *quoted = g_shell_quote(dir), *output = NULL;
        int status;
        va_list ap;

        va_start(ap, format);
        command = g_strdup_vprintf(format, ap);
        va_end(ap);
        line = g_strdup_printf("cd %s && { %s; } 2>&1", quoted, command);
        {
                const char *argv[] = {"/bin/sh", "-c", line, NULL};

                g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                                           &output, NULL, &status, NULL));
        }
        if (ret)
                *ret = TAKE_PTR(output);
        return WEXITSTATUS(status);
}

/* The program says OK, or it says @word. */
static void _printf_(2, 3) verify(const char *word, const char *format, ...)
{
        g_autofree char *arguments = NULL, *output = NULL;
        int status;
        va_list ap;

        va_start(ap, format);
        arguments = g_strdup_vprintf(format, ap);
        va_end(ap);
        status = run(&output, "openssl verify -x509_strict -CAfile ca.pem %s", arguments);
        if ((status == 0) != (word == NULL) || (word && !strstr(output, word)))
                g_error("openssl verify %s: %d: %s", arguments, status, output);
}

/* Not inlined: GCC 12 at -O3 takes what it returns for the address of its variable. */
static G_NO_INLINE char *request_of(const char *key)
{
        _cleanup_error_ Error e = {};
        char *request = NULL;

        if (pki_request_make(key, "anything", &request, &e) < 0)
                g_error("%s", e.message);
        return request;
}

static char *issue(PkiRole role, const char *id, unsigned serial, const char *key)
{
        PkiGrant grant = {.role = role, .worker_id = id, .now_sec = NOW, .lifetime_sec = 90 * DAY};
        g_autofree char *request = request_of(key);
        _cleanup_error_ Error e = {};
        char *certificate;

        memcpy(grant.serial, serials[serial], sizeof(grant.serial));
        if (pki_authority_issue(ca, request, &grant, &certificate, &e) < 0)
                g_error("%s", e.message);
        return certificate;
}

/* ---- Certificates
 * ------------------------------------------------------------------------------- */

static void test_openssl_accepts_what_the_ca_issued(void)
{
        g_autofree char *worker = issue(PKI_ROLE_WORKER, ID_A, 0, key_a);
        g_autofree char *master = issue(PKI_ROLE_MASTER, NULL, 1, key_a);
        g_autofree char *text = NULL;

        put("worker.pem", worker);
        put("master.pem", master);
        verify(NULL, "-attime %" PRId64 " -purpose sslclient worker.pem", NOW);
        verify(NULL, "-attime %" PRId64 " -purpose sslserver worker.pem", NOW);
        verify(NULL, "-attime %" PRId64 " -verify_hostname " ID_A PKI_WORKER_SUFFIX " worker.pem",
               NOW);
        verify(NULL, "-attime %" PRId64 " -verify_hostname " PKI_MASTER_NAME " master.pem", NOW);
        verify("hostname mismatch",
               "-attime %" PRId64 " -verify_hostname " PKI_MASTER_NAME " worker.pem", NOW);
        verify(NULL, "-attime %" PRId64 " ca.pem", NOW);
        g_assert_cmpint(run(&text, "openssl x509 -in worker.pem -noout -text"), ==, 0);
        g_assert_nonnull(strstr(text, "CA:FALSE"));
        g_assert_nonnull(strstr(text, "NIST CURVE: P-256"));
}

static void test_validity_reaches_back_a_day_and_ends(void)
{
        g_autofree char *worker = issue(PKI_ROLE_WORKER, ID_A, 0, key_a);

        put("worker.pem", worker);
        verify(NULL, "-attime %" PRId64 " worker.pem", NOW - DAY + 1);
        verify("not yet valid", "-attime %" PRId64 " worker.pem", NOW - DAY - 1);
        verify(NULL, "-attime %" PRId64 " worker.pem", NOW + 90 * DAY - 1);
        verify("has expired", "-attime %" PRId64 " worker.pem", NOW + 90 * DAY + 1);
}

static void test_no_certificate_outlives_its_ca(void)
{
        PkiGrant grant = {.role = PKI_ROLE_MASTER, .lifetime_sec = 90 * DAY};
        g_autofree char *request = request_of(key_a), *text = NULL, *none = NULL;
        _cleanup_error_ Error e = {};
        PkiCertificate c;

        grant.now_sec = NOW + PKI_AUTHORITY_LIFETIME_SEC - DAY;
        g_assert_cmpint(pki_authority_issue(ca, request, &grant, &text, &e), ==, 0);
        g_assert_cmpint(pki_certificate_read(text, &c, &e), ==, 0);
        g_assert_cmpint(c.not_after_sec, ==, NOW + PKI_AUTHORITY_LIFETIME_SEC);
        grant.now_sec = NOW + PKI_AUTHORITY_LIFETIME_SEC;
        g_assert_cmpint(pki_authority_issue(ca, request, &grant, &none, &e), ==, -EKEYEXPIRED);
}

static void test_certificates_are_read_back(void)
{
        g_autofree char *worker = issue(PKI_ROLE_WORKER, ID_A, 0, key_a), *output = NULL;
        PkiCertificate c;

        g_assert_cmpint(pki_certificate_read(worker, &c, NULL), ==, 0);
        g_assert_cmpint(c.role, ==, PKI_ROLE_WORKER);
        g_assert_cmpstr(c.worker_id, ==, ID_A);
        g_assert_false(c.is_authority);
        g_assert_cmpint(c.not_before_sec, ==, NOW - PKI_BACKDATE_SEC);
        g_assert_cmpint(c.not_after_sec, ==, NOW + 90 * DAY);
        put("worker.pem", worker);
        g_assert_cmpint(run(&output, "openssl x509 -in worker.pem -noout -serial"), ==, 0);
        g_strstrip(output);
        g_assert_cmpint(g_ascii_strcasecmp(output + strlen("serial="), c.serial), ==, 0);
        g_assert_cmpint(pki_renewal_sec(&c), ==, NOW + 60 * DAY);
        g_assert_cmpint(pki_certificate_read(pki_authority_certificate(ca), &c, NULL), ==, 0);
        g_assert_true(c.is_authority);
        g_assert_cmpint(c.role, ==, PKI_ROLE_NONE);
        g_assert_cmpint(pki_certificate_read("nothing", &c, NULL), ==, -EBADMSG);
}

/* A CA that is put into a system's trust store by mistake must not become a danger to it. */
static void test_the_ca_can_vouch_for_no_other_names(void)
{
        put("ca.key", pki_authority_key(ca));
        put("evil.cnf", "subjectAltName=DNS:www.example.com\nextendedKeyUsage=serverAuth\n");
        put("own.cnf", "subjectAltName=DNS:x.mapreduced.internal\nextendedKeyUsage=serverAuth\n"
                       "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=none\n");
        for (unsigned i = 0; i < 2; i++) {
                const char *which = i ? "own" : "evil";

                g_assert_cmpint(
                        run(NULL,
                            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key"
                            " -subj /CN=x -out %s.csr && openssl x509 -req -in %s.csr -CA ca.pem -CAkey ca.key"
                            " -set_serial 77 -days 3650 -extfile %s.cnf -out %s.pem",
                            which, which, which, which, which),
                        ==, 0);
        }
        {
                g_autofree char *output = NULL;

                g_assert_cmpint(run(&output,
                                    "openssl verify -CAfile ca.pem -attime %" PRId64 " evil.pem",
                                    NOW),
                                !=, 0);
                g_assert_nonnull(strstr(output, "permitted subtree violation"));
        }
        g_assert_cmpint(run(NULL, "openssl verify -CAfile ca.pem -attime %" PRId64 " own.pem", NOW),
                        ==, 0);
}

static void test_fingerprint_is_that_of_the_public_key(void)
{
        uint8_t print[PKI_FINGERPRINT_SIZE];
        GString *hex = g_string_new(NULL);
        g_autofree char *output = NULL;

        g_assert_cmpint(pki_fingerprint(pki_authority_certificate(ca), print, NULL), ==, 0);
        for (size_t i = 0; i < sizeof(print); i++)
                g_string_append_printf(hex, "%02x", print[i]);
        g_assert_cmpint(run(&output, "openssl x509 -in ca.pem -pubkey -noout |"
                                     " openssl pkey -pubin -outform DER | openssl dgst -sha256 -r"),
                        ==, 0);
        g_assert_true(g_str_has_prefix(output, hex->str));
        g_string_free(hex, TRUE);
}

/* ---- Requests
 * ----------------------------------------------------------------------------------- */

static void assert_not_issued(const char *request, int error)
{
        PkiGrant grant = {
                .role = PKI_ROLE_WORKER, .worker_id = ID_A, .now_sec = NOW, .lifetime_sec = DAY};
        _cleanup_error_ Error e = {};
        char *text = NULL;

        g_assert_cmpint(pki_authority_issue(ca, request, &grant, &text, &e), ==, error);
        g_assert_null(text);
        g_assert_nonnull(e.message);
}

static void test_bad_requests_are_refused(void)
{
        g_autofree char *foreign = NULL;

        assert_not_issued("", -EBADMSG);
        assert_not_issued(pki_authority_certificate(ca), -EBADMSG);
        g_assert_cmpint(run(&foreign, "openssl req -new -newkey rsa:1024 -nodes -keyout rsa.key"
                                      " -subj /CN=x -out rsa.csr 2>/dev/null; cat rsa.csr"),
                        ==, 0);
        assert_not_issued(foreign, -EKEYREJECTED);
}

/* Other programs' requests are as good as ours; a name in one is not what is granted. */
static void test_requests_of_openssl_are_granted(void)
{
        static const char *const kinds[] = {"ed25519", "rsa:2048",
                                            "ec -pkeyopt ec_paramgen_curve:P-384"};

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                PkiGrant grant = {.role = PKI_ROLE_WORKER,
                                  .worker_id = ID_B,
                                  .now_sec = NOW,
                                  .lifetime_sec = DAY};
                g_autofree char *request = NULL, *text = NULL;
                PkiCertificate c;

                g_assert_cmpint(run(&request,
                                    "openssl req -new -newkey %s -nodes -keyout other.key -subj"
                                    " /CN=" PKI_MASTER_NAME
                                    " -addext subjectAltName=DNS:" PKI_MASTER_NAME
                                    " -out other.csr 2>/dev/null; cat other.csr",
                                    kinds[i]),
                                ==, 0);
                g_assert_cmpint(pki_authority_issue(ca, request, &grant, &text, NULL), ==, 0);
                g_assert_cmpint(pki_certificate_read(text, &c, NULL), ==, 0);
                g_assert_cmpint(c.role, ==, PKI_ROLE_WORKER);
                g_assert_cmpstr(c.worker_id, ==, ID_B);
                put("other.pem", text);
                verify(NULL, "-attime %" PRId64 " other.pem", NOW);
        }
}

/* Whose signature is another key's has not shown that the asker has the key. */
static void test_request_must_be_signed_by_its_key(void)
{
        g_autofree char *request = request_of(key_a);
        gsize size;
        g_autofree char *body = NULL;
        g_autofree uint8_t *der = NULL;
        char *start = strchr(request, '\n') + 1, *end = strstr(request, "-----END");

        body = g_strndup(start, (gsize) (end - start));
        der = g_base64_decode(body, &size);
        for (size_t at = size - 1; at > size - 20; at--) { /* in the signature */
                g_autofree char *text = NULL, *changed = NULL;

                der[at] ^= 1;
                text = g_base64_encode(der, size);
                der[at] ^= 1;
                changed = g_strdup_printf("-----BEGIN CERTIFICATE REQUEST-----\n%s\n"
                                          "-----END CERTIFICATE REQUEST-----\n",
                                          text);
                assert_not_issued(changed, -EKEYREJECTED);
        }
}

/* ---- Revoked
 * ------------------------------------------------------------------------------------ */

static void test_openssl_refuses_what_is_revoked(void)
{
        g_autofree char *a = issue(PKI_ROLE_WORKER, ID_A, 0, key_a), *list = NULL, *empty = NULL;
        g_autofree char *b = issue(PKI_ROLE_WORKER, ID_B, 1, key_a);
        PkiRevoked revoked = {.revoked_sec = NOW};
        PkiCertificate ca_c, cb;
        bool is_revoked;
        uint64_t number;

        g_assert_cmpint(pki_certificate_read(a, &ca_c, NULL), ==, 0);
        g_assert_cmpint(pki_certificate_read(b, &cb, NULL), ==, 0);
        revoked.serial = ca_c.serial;
        g_assert_cmpint(pki_authority_list_revoked(ca, &revoked, 1, 7, NOW, &list, NULL), ==, 0);
        g_assert_cmpint(pki_authority_list_revoked(ca, NULL, 0, 6, NOW, &empty, NULL), ==, 0);
        put("a.pem", a);
        put("b.pem", b);
        put("crl.pem", list);
        put("empty.pem", empty);
        verify("certificate revoked", "-attime %" PRId64 " -crl_check -CRLfile crl.pem a.pem", NOW);
        verify(NULL, "-attime %" PRId64 " -crl_check -CRLfile crl.pem b.pem", NOW);
        verify(NULL, "-attime %" PRId64 " -crl_check -CRLfile empty.pem a.pem", NOW);
        verify(NULL, "-attime %" PRId64 " -crl_check -CRLfile empty.pem a.pem", NOW - DAY + 1);

        g_assert_cmpint(pki_list_check(list, pki_authority_certificate(ca), ca_c.serial, &number,
                                       &is_revoked, NULL),
                        ==, 0);
        g_assert_cmpuint(number, ==, 7);
        g_assert_true(is_revoked);
        g_assert_cmpint(pki_list_check(list, pki_authority_certificate(ca), cb.serial, &number,
                                       &is_revoked, NULL),
                        ==, 0);
        g_assert_false(is_revoked);
}

static void test_lists_of_others_are_refused(void)
{
        _cleanup_(pki_authority_freep) PkiAuthority *other = NULL;
        PkiRevoked nonsense = {.serial = "xyz"};
        g_autofree char *list = NULL, *none = NULL;
        uint64_t number = 99;

        g_assert_cmpint(pki_authority_make(NOW, serials[2], NULL, &other, NULL), ==, 0);
        g_assert_cmpint(pki_authority_list_revoked(other, NULL, 0, 7, NOW, &list, NULL), ==, 0);
        g_assert_cmpint(
                pki_list_check(list, pki_authority_certificate(ca), NULL, &number, NULL, NULL), ==,
                -EKEYREJECTED);
        g_assert_cmpint(
                pki_list_check("", pki_authority_certificate(ca), NULL, &number, NULL, NULL), ==,
                -EBADMSG);
        g_assert_cmpuint(number, ==, 99);
        g_assert_cmpint(pki_authority_list_revoked(ca, &nonsense, 1, 1, NOW, &none, NULL), ==,
                        -EINVAL);
        g_assert_cmpint(
                pki_authority_list_revoked(ca, &nonsense, PKI_REVOKED_MAX + 1, 1, NOW, &none, NULL),
                ==, -E2BIG);
}

static void test_the_longest_list_can_be_read(void)
{
        g_autofree PkiRevoked *revoked = g_new0(PkiRevoked, PKI_REVOKED_MAX);
        g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *list = NULL;
        uint64_t number;

        for (unsigned i = 0; i < PKI_REVOKED_MAX; i++) {
                g_ptr_array_add(texts, g_strdup_printf("41%030x", i));
                revoked[i] = (PkiRevoked){.serial = texts->pdata[i], .revoked_sec = NOW};
        }
        g_assert_cmpint(
                pki_authority_list_revoked(ca, revoked, PKI_REVOKED_MAX, 1, NOW, &list, NULL), ==,
                0);
        g_assert_cmpuint(strlen(list), <, PKI_PEM_MAX);
        g_assert_cmpint(
                pki_list_check(list, pki_authority_certificate(ca), NULL, &number, NULL, NULL), ==,
                0);
}

/* A worker believes two CAs while one takes the other's place, and has a list of each. */
static void test_of_two_authorities_each_has_a_list(void)
{
        _cleanup_(pki_authority_freep) PkiAuthority *other = NULL;
        g_autofree char *a = issue(PKI_ROLE_WORKER, ID_A, 0, key_a), *both = NULL, *lists = NULL;
        g_autofree char *of_first = NULL, *of_other = NULL;
        PkiRevoked revoked = {.revoked_sec = NOW};
        PkiCertificate c;
        bool is_revoked;
        uint64_t number;

        g_assert_cmpint(pki_authority_make(NOW, serials[2], ca, &other, NULL), ==, 0);
        g_assert_cmpint(pki_certificate_read(a, &c, NULL), ==, 0);
        revoked.serial = c.serial;
        g_assert_cmpint(pki_authority_list_revoked(ca, NULL, 0, 7, NOW, &of_first, NULL), ==, 0);
        g_assert_cmpint(pki_authority_list_revoked(other, &revoked, 1, 8, NOW, &of_other, NULL), ==,
                        0);
        both = g_strconcat(pki_authority_certificate(ca), pki_authority_certificate(other), NULL);
        lists = g_strconcat(of_other, of_first, NULL);
        g_assert_cmpint(pki_list_check(lists, both, c.serial, &number, &is_revoked, NULL), ==, 0);
        g_assert_cmpuint(number, ==, 7);
        g_assert_true(is_revoked);
        g_assert_cmpint(pki_list_check(of_first, both, NULL, &number, NULL, NULL), ==,
                        -EKEYREJECTED);
        /* The list of one that is not believed any more is passed over. */
        g_assert_cmpint(
                pki_list_check(lists, pki_authority_certificate(other), NULL, &number, NULL, NULL),
                ==, 0);
        g_assert_cmpuint(number, ==, 8);
}

/* ---- Authorities, names
 * ------------------------------------------------------------------------- */

static void test_an_authority_is_loaded_with_its_own_key_only(void)
{
        _cleanup_(pki_authority_freep) PkiAuthority *other = NULL, *same = NULL, *none = NULL;
        g_autofree char *worker = issue(PKI_ROLE_WORKER, ID_A, 0, key_a);

        g_assert_cmpint(pki_authority_make(NOW, serials[1], NULL, &other, NULL), ==, 0);
        g_assert_cmpint(pki_authority_load(pki_authority_certificate(ca), pki_authority_key(ca),
                                           &same, NULL),
                        ==, 0);
        g_assert_cmpint(pki_authority_not_after_sec(same), ==, NOW + PKI_AUTHORITY_LIFETIME_SEC);
        g_assert_cmpint(pki_authority_load(pki_authority_certificate(ca), pki_authority_key(other),
                                           &none, NULL),
                        ==, -EKEYREJECTED);
        g_assert_cmpint(pki_authority_load(worker, key_a, &none, NULL), ==, -EBADMSG);
        g_assert_cmpint(pki_authority_load(pki_authority_certificate(ca), "", &none, NULL), ==,
                        -EBADMSG);
        g_assert_cmpint(pki_key_check(key_a, worker, NULL), ==, 0);
        g_assert_cmpint(pki_key_check(pki_authority_key(ca), worker, NULL), ==, -EKEYREJECTED);
}

static void test_a_new_authority_is_the_younger_one_even_in_the_same_second(void)
{
        _cleanup_(pki_authority_freep) PkiAuthority *second = NULL, *same = NULL;
        g_autofree char *worker = issue(PKI_ROLE_WORKER, ID_A, 0, key_a), *both = NULL,
                        *keys = NULL;

        g_assert_cmpint(pki_authority_make(NOW, serials[1], ca, &second, NULL), ==, 0);
        g_assert_cmpint(pki_authority_not_before_sec(second), >, pki_authority_not_before_sec(ca));
        both = g_strconcat(pki_authority_certificate(second), pki_authority_certificate(ca), NULL);
        keys = g_strconcat(pki_authority_key(ca), pki_authority_key(second), NULL);
        g_assert_cmpint(pki_authority_load(both, keys, &same, NULL), ==, 0);
        g_assert_cmpint(pki_authority_not_before_sec(same), ==,
                        pki_authority_not_before_sec(second));
        g_assert_true(pki_issuer_of(worker, both) == pki_certificate_next(both));
        g_assert_null(pki_issuer_of(worker, pki_authority_certificate(second)));
        g_assert_null(pki_issuer_of("nonsense", both));
        g_assert_null(pki_certificate_next(pki_certificate_next(both)));
}

static void test_names_say_the_role(void)
{
        char id[ID128_HEX_SIZE], name[PKI_NAME_SIZE];

        pki_worker_name(ID_A, name);
        g_assert_cmpint(pki_role_of(name, id), ==, PKI_ROLE_WORKER);
        g_assert_cmpstr(id, ==, ID_A);
        g_assert_cmpint(pki_role_of(PKI_MASTER_NAME, id), ==, PKI_ROLE_MASTER);
        g_assert_cmpstr(id, ==, "");
        g_assert_cmpint(pki_role_of("", NULL), ==, PKI_ROLE_NONE);
        g_assert_cmpint(pki_role_of("x" PKI_WORKER_SUFFIX, NULL), ==, PKI_ROLE_NONE);
        g_assert_cmpint(pki_role_of("0123456789ABCDEF0123456789abcdef" PKI_WORKER_SUFFIX, NULL), ==,
                        PKI_ROLE_NONE);
        g_assert_cmpint(pki_role_of(ID_A PKI_WORKER_SUFFIX ".example.com", NULL), ==,
                        PKI_ROLE_NONE);
        g_assert_cmpint(pki_role_of("evil." PKI_MASTER_NAME, NULL), ==, PKI_ROLE_NONE);
}

/* ---- Tokens
 * ------------------------------------------------------------------------------------- */

static void token_fill(JoinToken *t, const char *address)
{
        *t = (JoinToken){};
        for (size_t i = 0; i < sizeof(t->fingerprint); i++)
                t->fingerprint[i] = (uint8_t) (i * 7);
        memset(t->id, 0xFB, sizeof(t->id));
        memset(t->secret, 0xFE, sizeof(t->secret));
        (void) g_strlcpy(t->address, address, sizeof(t->address));
}

static void test_tokens_come_back_as_they_were(void)
{
        static const char *const addresses[] = {"10.0.0.1:7078", "[fd00::1]:7078", "a:1",
                                                "master.example.org:65535"};

        for (size_t i = 0; i < ELEMENTSOF(addresses); i++) {
                g_autofree char *text = NULL;
                JoinToken t, back;

                token_fill(&t, addresses[i]);
                text = join_token_format(&t);
                /* Nothing that a shell would touch. */
                g_assert_cmpuint(strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-"), ==,
                                 strlen(text));
                g_assert_cmpint(join_token_parse(text, &back, NULL), ==, 0);
                g_assert_cmpmem(&t, sizeof(t), &back, sizeof(back));
        }
}

static void test_damaged_tokens_are_told_from_refused_ones(void)
{
        g_autofree char *text = NULL;
        JoinToken t, back;

        token_fill(&t, "10.0.0.1:7078");
        text = join_token_format(&t);
        for (size_t i = 0; text[i]; i++) {
                g_autofree char *changed = g_strdup(text), *cut = g_strndup(text, i);

                changed[i] = changed[i] == 'A' ? 'B' : 'A';
                g_assert_cmpint(join_token_parse(changed, &back, NULL), ==, -EBADMSG);
                g_assert_cmpint(join_token_parse(cut, &back, NULL), ==, -EBADMSG);
        }
        {
                g_autofree char *longer = g_strconcat(text, "A", NULL),
                                *spaced = g_strconcat(text, "\n", NULL),
                                *huge = g_strnfill(100000, 'A'), *prefixed = NULL;

                prefixed = g_strconcat("mrjoin1_", huge, NULL);
                g_assert_cmpint(join_token_parse(longer, &back, NULL), ==, -EBADMSG);
                g_assert_cmpint(join_token_parse(spaced, &back, NULL), ==, -EBADMSG);
                g_assert_cmpint(join_token_parse(prefixed, &back, NULL), ==, -EBADMSG);
        }
}

static void test_only_the_secret_matches_its_hash(void)
{
        uint8_t hash[JOIN_TOKEN_HASH_SIZE];
        JoinToken t;

        token_fill(&t, "a:1");
        join_token_hash(t.secret, hash);
        g_assert_true(join_token_matches(t.secret, sizeof(t.secret), hash));
        g_assert_false(join_token_matches(t.secret, sizeof(t.secret) - 1, hash));
        t.secret[15] ^= 1;
        g_assert_false(join_token_matches(t.secret, sizeof(t.secret), hash));
}

/* ---- Files
 * -------------------------------------------------------------------------------------- */

static void test_keys_are_written_whole_and_private(void)
{
        g_autofree char *path = g_build_filename(dir, "keys", "deep", NULL);
        _cleanup_(pki_key_freep) char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct stat st;

        g_assert_cmpint(key_dir_open(path, true, &fd), ==, 0);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0700);
        g_assert_cmpint(key_dir_read(fd, KEY_DIR_IDENTITY, &text), ==, -ENOENT);
        /* What a crash left behind, or somebody put there, is neither followed nor kept. */
        g_assert_cmpint(symlinkat("/nonexistent/elsewhere", fd, "." KEY_DIR_IDENTITY ".new"), ==,
                        0);
        g_assert_cmpint(key_dir_write(fd, KEY_DIR_IDENTITY, 0600, "first"), ==, 0);
        g_assert_cmpint(key_dir_write(fd, KEY_DIR_IDENTITY, 0600, "second"), ==, 0);
        g_assert_cmpint(fstatat(fd, KEY_DIR_IDENTITY, &st, AT_SYMLINK_NOFOLLOW), ==, 0);
        g_assert_true(S_ISREG(st.st_mode));
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);
        g_assert_cmpint(key_dir_read(fd, KEY_DIR_IDENTITY, &text), ==, 0);
        g_assert_cmpstr(text, ==, "second");
        g_assert_cmpint(faccessat(fd, "." KEY_DIR_IDENTITY ".new", F_OK, 0), <, 0);
        g_assert_cmpint(key_dir_write(fd, KEY_DIR_CA, 0644, "ca"), ==, 0);
        g_assert_cmpint(fstatat(fd, KEY_DIR_CA, &st, 0), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0644);
}

static void test_no_room_for_a_new_key_keeps_the_old(void)
{
        _cleanup_(pki_key_freep) char *text = NULL;
        _cleanup_close_ int fd = -EBADF;

        g_assert_cmpint(key_dir_open(dir, false, &fd), ==, 0);
        g_assert_cmpint(key_dir_write(fd, "kept.pem", 0600, "old"), ==, 0);
        /* A directory in the way of the new file: as any failure before the rename. */
        g_assert_cmpint(mkdirat(fd, ".kept.pem.new", 0700), ==, 0);
        g_assert_cmpint(key_dir_write(fd, "kept.pem", 0600, "new"), <, 0);
        g_assert_cmpint(key_dir_read(fd, "kept.pem", &text), ==, 0);
        g_assert_cmpstr(text, ==, "old");
}

int main(int argc, char *argv[])
{
        g_autofree char *openssl = g_find_program_in_path("openssl");
        int r;

        g_test_init(&argc, &argv, NULL);
        g_assert_cmpint(pki_authority_make(NOW, serials[0], NULL, &ca, NULL), ==, 0);
        g_assert_cmpint(pki_key_make(&key_a), ==, 0);
        dir = g_dir_make_tmp("pki-XXXXXX", NULL);
        put("ca.pem", pki_authority_certificate(ca));
#define T(name, function) g_test_add_func("/pki/" name, function)
        if (openssl) {
                T("openssl-accepts-what-the-ca-issued", test_openssl_accepts_what_the_ca_issued);
                T("validity-reaches-back-a-day-and-ends",
                  test_validity_reaches_back_a_day_and_ends);
                T("certificates-are-read-back", test_certificates_are_read_back);
                T("the-ca-can-vouch-for-no-other-names", test_the_ca_can_vouch_for_no_other_names);
                T("fingerprint-is-that-of-the-public-key",
                  test_fingerprint_is_that_of_the_public_key);
                T("bad-requests-are-refused", test_bad_requests_are_refused);
                T("requests-of-openssl-are-granted", test_requests_of_openssl_are_granted);
                T("openssl-refuses-what-is-revoked", test_openssl_refuses_what_is_revoked);
        } else
                g_test_message("without the openssl program, what it would judge is not tested");
        T("no-certificate-outlives-its-ca", test_no_certificate_outlives_its_ca);
        T("request-must-be-signed-by-its-key", test_request_must_be_signed_by_its_key);
        T("lists-of-others-are-refused", test_lists_of_others_are_refused);
        T("the-longest-list-can-be-read", test_the_longest_list_can_be_read);
        T("of-two-authorities-each-has-a-list", test_of_two_authorities_each_has_a_list);
        T("a-new-authority-is-the-younger-one-even-in-the-same-second",
          test_a_new_authority_is_the_younger_one_even_in_the_same_second);
        T("an-authority-is-loaded-with-its-own-key-only",
          test_an_authority_is_loaded_with_its_own_key_only);
        T("names-say-the-role", test_names_say_the_role);
        T("tokens-come-back-as-they-were", test_tokens_come_back_as_they_were);
        T("damaged-tokens-are-told-from-refused-ones",
          test_damaged_tokens_are_told_from_refused_ones);
        T("only-the-secret-matches-its-hash", test_only_the_secret_matches_its_hash);
        T("keys-are-written-whole-and-private", test_keys_are_written_whole_and_private);
        T("no-room-for-a-new-key-keeps-the-old", test_no_room_for_a_new_key_keeps_the_old);
        r = g_test_run();
        (void) rm_rf_at(AT_FDCWD, dir);
        g_free(dir);
        pki_key_free(key_a);
        pki_authority_free(ca);
        return r;
}
