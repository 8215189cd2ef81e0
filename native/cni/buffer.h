/* SPDX-License-Identifier: Apache-2.0 */
/* A growable run of bytes with an upper bound. Always followed by a NUL that is not counted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *data; /* owned; NULL only while nothing was ever appended */
	size_t len;
	size_t capacity;
	size_t limit; /* appending beyond this many bytes fails; 0: no bound */
	bool failed;  /* an append did not fit or memory ran out; the content is not to be used */
};

/* Appends; false (and `failed` from then on) when the limit is passed or memory is gone. */
bool buffer_append(struct buffer *buffer, const void *data, size_t len);
bool buffer_text(struct buffer *buffer, const char *text);
__attribute__((format(printf, 2, 3))) bool buffer_printf(struct buffer *buffer, const char *format,
							 ...);
/* Appends `text` as a JSON string with its quotes. The bytes must be valid UTF-8. */
bool buffer_json_string(struct buffer *buffer, const char *text, size_t len);
void buffer_free(struct buffer *buffer);
