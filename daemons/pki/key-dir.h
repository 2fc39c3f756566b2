/*
 * Key directories — where a daemon's identity lies on disk, whole at every moment.
 *
 *      DIR/ca.pem         whose signature counts                              0644
 *      DIR/identity.pem   our certificate and its private key, in one file    0600
 *      DIR/crl.pem        the CA's list of revoked certificates               0644
 *      DIR/ca.key         the CA's private key: the master's alone            0600
 *
 * The certificate and its key are one file, because a rename replaces one file and not two: a power
 * cut in the middle of a renewal leaves the old pair or the new one, never one of each.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

#define KEY_DIR_CA "ca.pem"
#define KEY_DIR_CA_KEY "ca.key"
#define KEY_DIR_IDENTITY "identity.pem"
#define KEY_DIR_CRL "crl.pem"

/* The files of an own PKI, by path; all NULL: the cluster's own CA is used. */
typedef struct KeyFiles {
        char *ca;
        char *certificate;
        char *key;
        char *list; /* of revoked certificates; may be NULL beside the others */
} KeyFiles;

/**
 * key_files_complete() - which files are meant
 * @credentials: $CREDENTIALS_DIRECTORY, where LoadCredential= puts ca.pem, certificate.pem, key.pem
 *               and crl.pem; counts when nothing else is configured; may be NULL
 *
 * Return: 0; -EINVAL when only some of those that belong together are there.
 */
int key_files_complete(KeyFiles *f, const char *credentials, Error *e);
void key_files_done(KeyFiles *f);

/* Opens DIR; with @make it is made, mode 0700, and its parents. */
int key_dir_open(const char *path, bool make, int *ret_fd);

/* By a new file, synced, renamed into place; the directory is synced, too. */
int key_dir_write(int dir_fd, const char *name, mode_t mode, const char *text);

/* Return: 0; -ENOENT; -EFBIG beyond 1 MiB; another negative errno. Free with pki_key_free(). */
int key_dir_read(int dir_fd, const char *name, char **ret_text);
