/*
 * Whether a sanitizer is built in: it has memory of its own and keeps what was freed for a while,
 * so that growth tells nothing.
 */
#pragma once

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif
