/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `text` (which is below `end`), or 0 when it is not valid. */
size_t utf8_length(const char *text, const char *end);
/* Writes a code point (not a surrogate) as 1 to 4 bytes and says how many. */
size_t utf8_encode(uint32_t code, char *out);
