/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for `more` bytes and the NUL behind them. */
static bool reserve(struct buffer *buffer, size_t more)
{
	size_t need = buffer->len + more + 1;
	size_t capacity = buffer->capacity ? buffer->capacity : 4096;
	char *data;

	if (buffer->failed || more > (size_t)1 << 30 ||
	    (buffer->limit && buffer->len + more > buffer->limit))
		goto fail;
	if (need <= buffer->capacity)
		return true;
	while (capacity < need)
		capacity *= 2;
	data = realloc(buffer->data, capacity);
	if (!data)
		goto fail;
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
fail:
	buffer->failed = true;
	return false;
}

bool buffer_append(struct buffer *buffer, const void *data, size_t len)
{
	if (!reserve(buffer, len))
		return false;
	if (len)
		memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
	return true;
}

bool buffer_text(struct buffer *buffer, const char *text)
{
	return buffer_append(buffer, text, strlen(text));
}

bool buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list args;
	char *text;
	int len;
	bool ok;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		buffer->failed = true;
		return false;
	}
	ok = buffer_append(buffer, text, len);
	free(text);
	return ok;
}

bool buffer_json_string(struct buffer *buffer, const char *text, size_t len)
{
	size_t plain = 0; /* start of the run that needs no escape */

	buffer_text(buffer, "\"");
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = text[i];

		if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
			continue;
		buffer_append(buffer, text + plain, i - plain);
		plain = i + 1;
		if (byte == '"' || byte == '\\')
			buffer_printf(buffer, "\\%c", byte);
		else
			buffer_printf(buffer, "\\u%04x", byte);
	}
	buffer_append(buffer, text + plain, len - plain);
	return buffer_text(buffer, "\"");
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->data);
	buffer->data = NULL;
	buffer->len = buffer->capacity = 0;
}
