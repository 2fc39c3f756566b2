/*
 * The module mr-archive.so — what of mr-task needs libarchive, loaded when a job ships archives or
 * compresses its output.
 *
 * libarchive brings libxml2, ICU and the C++ library with it. Linking them took two thirds of the
 * time in which mr-task starts, and most jobs have no use for them. The module knows nothing of
 * attempts: descriptors and errors are all.
 */
#pragma once

#include "base/error.h"
#include "records/codec.h"
#include "records/record.h"

#define ARCHIVE_MODULE "mr-archive.so"
#define ARCHIVE_BYTES_MAX GIB(4)
#define ARCHIVE_ENTRIES_MAX 100000U

typedef struct Packer Packer;

typedef struct ArchiveModule {
        /*
         * Unpacks what @fd holds below the current directory. Return: 0; what the ticker returned,
         * and then @e is untouched; -EBADMSG or -EINVAL for an archive that is damaged or leads out
         * of the directory, -E2BIG beyond a limit, -ENOSPC, …
         */
        int (*unpack)(int fd, const Ticker *ticker, Error *e);

        /* Compresses to @fd, which is not owned. Return: 0, or -ENOTSUP when this libarchive
         * cannot. */
        int (*packer_new)(int fd, Codec codec, Packer **ret);
        int (*packer_write)(Packer *p, const void *data, size_t size);
        int (*packer_finish)(Packer *p); /* writes the end of the stream */
        Packer *(*packer_free)(Packer *p);
} ArchiveModule;

extern const ArchiveModule archive_module; /* by this name in the module, and only there */

int archive_unpack(int fd, const Ticker *ticker, Error *e);
