/* SPDX-License-Identifier: Apache-2.0 */
/* The words of JSON: a cursor over the bytes, and strings and numbers read at it. Only json.c uses it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct json_cursor {
	const char *data;
	size_t len;
	size_t at;
	const char *why; /* first failure, static text */
};

/* Notes why reading failed, the first time; always false. */
bool json_fail(struct json_cursor *cursor, const char *why);
/* The byte at the cursor, or -1 behind the end. */
int json_peek(const struct json_cursor *cursor);
void json_skip_space(struct json_cursor *cursor);
/* Steps over one given byte, else fails with `why`. */
bool json_expect(struct json_cursor *cursor, char byte, const char *why);
/* Steps over `true`, `false` or `null`. */
bool json_read_word(struct json_cursor *cursor, const char *word);
/* A string from its opening quote on, decoded into fresh memory with a NUL behind it. */
bool json_read_string(struct json_cursor *cursor, char **text, size_t *len);
/* A number, copied as it is written. */
bool json_read_number(struct json_cursor *cursor, char **text, size_t *len);
