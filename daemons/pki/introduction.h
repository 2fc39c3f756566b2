/*
 * Introduction — the first word between a host that knows only a fingerprint and a cluster.
 */
#pragma once

#include "pki/certificate.h"

/**
 * introduction_fetch_authority() - the CA certificate that has this fingerprint, from a TLS server
 * that shows it
 * @fd: a connected socket, blocking, with time limits of its own; stays the caller's
 *
 * Nothing that the server says is believed but what the digest holds: it shows a chain, and the
 * certificate in it whose public key has the fingerprint is the CA, whoever the server is. The
 * caller then connects anew and verifies the server by that CA, as ever. No secret is sent here.
 *
 * Return: 0; -EKEYREJECTED when no CA in the chain has the fingerprint; -EPROTO when TLS fails.
 */
int introduction_fetch_authority(int fd, const uint8_t fingerprint[static PKI_FINGERPRINT_SIZE],
                                 char **ret_pem, Error *e);
