/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), to name queued requests; not used to protect anything. */
#pragma once

#include <stddef.h>

#define SHA256_HEX_SIZE 65

/* Writes the digest of `data` as 64 lower-case hexadecimal digits and a NUL. */
void sha256_hex(const void *data, size_t len, char hex[SHA256_HEX_SIZE]);
