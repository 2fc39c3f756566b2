/*
 * Key directories — see key-dir.h.
 */
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "pki/certificate.h"
#include "pki/key-dir.h"

int key_dir_open(const char *path, bool make, int *ret_fd)
{
        int fd, r;

        if (make) {
                r = mkdir_parents(path, 0700);
                if (r < 0)
                        return r;
        }
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

static int write_temporary(int dir_fd, const char *name, mode_t mode, const char *text)
{
        _cleanup_close_ int fd = -EBADF;
        int r;

        /* What a crash has left is not ours to trust, least of all its mode. */
        if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
                return -errno;
        fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = write_full(fd, text, strlen(text));
        if (r >= 0 && fchmod(fd, mode) < 0)
                r = -errno;
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        return r;
}

int key_dir_write(int dir_fd, const char *name, mode_t mode, const char *text)
{
        g_autofree char *temporary = g_strconcat(".", name, ".new", NULL);
        int r;

        r = write_temporary(dir_fd, temporary, mode, text);
        if (r >= 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
                r = -errno;
        if (r >= 0)
                return fsync(dir_fd) < 0 ? -errno : 0;
        (void) unlinkat(dir_fd, temporary, 0);
        return r;
}

int key_dir_read(int dir_fd, const char *name, char **ret_text)
{
        _cleanup_close_ int fd = -EBADF;
        _cleanup_(pki_key_freep) char *text = NULL;
        struct stat st;
        ssize_t n;

        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        if ((uint64_t) st.st_size > PKI_PEM_MAX)
                return -EFBIG;
        text = g_malloc0((gsize) st.st_size + 1);
        n = read_full(fd, text, (size_t) st.st_size);
        if (n < 0)
                return (int) n;
        *ret_text = TAKE_PTR(text);
        return 0;
}

static char *find_credential(const char *dir, const char *name)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);

        return access(path, F_OK) >= 0 ? TAKE_PTR(path) : NULL;
}

int key_files_complete(KeyFiles *f, const char *credentials, Error *e)
{
        if (!f->ca && !f->certificate && !f->key && credentials) {
                f->ca = find_credential(credentials, "ca.pem");
                f->certificate = find_credential(credentials, "certificate.pem");
                f->key = find_credential(credentials, "key.pem");
                if (!f->list)
                        f->list = find_credential(credentials, "crl.pem");
        }
        if ((f->ca != NULL) == (f->certificate != NULL) && (f->ca != NULL) == (f->key != NULL) &&
            (f->ca || !f->list))
                return 0;
        return error_setf(e, EINVAL,
                          "a PKI of one's own needs all three of CACertificate=, Certificate= and "
                          "PrivateKey=, or the credentials ca.pem, certificate.pem and key.pem");
}

void key_files_done(KeyFiles *f)
{
        g_free(f->ca);
        g_free(f->certificate);
        g_free(f->key);
        g_free(f->list);
        *f = (KeyFiles){};
}
