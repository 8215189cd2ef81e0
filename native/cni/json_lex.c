/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "json_lex.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

bool json_fail(struct json_cursor *cursor, const char *why)
{
	if (!cursor->why)
		cursor->why = why;
	return false;
}

int json_peek(const struct json_cursor *cursor)
{
	return cursor->at < cursor->len ? (unsigned char)cursor->data[cursor->at] : -1;
}

void json_skip_space(struct json_cursor *cursor)
{
	int byte;

	while ((byte = json_peek(cursor)) == ' ' || byte == '\t' || byte == '\n' || byte == '\r')
		cursor->at++;
}

bool json_expect(struct json_cursor *cursor, char byte, const char *why)
{
	if (json_peek(cursor) != byte)
		return json_fail(cursor,
				 cursor->at == cursor->len ? "unexpected end of input" : why);
	cursor->at++;
	return true;
}

bool json_read_word(struct json_cursor *cursor, const char *word)
{
	size_t len = strlen(word);

	if (cursor->len - cursor->at < len || memcmp(cursor->data + cursor->at, word, len))
		return json_fail(cursor, "not a JSON value");
	cursor->at += len;
	return true;
}

/* Four hexadecimal digits behind \u. */
static bool read_hex4(struct json_cursor *cursor, uint32_t *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++) {
		int byte = json_peek(cursor);
		uint32_t digit;

		if (byte >= '0' && byte <= '9')
			digit = byte - '0';
		else if (byte >= 'a' && byte <= 'f')
			digit = byte - 'a' + 10;
		else if (byte >= 'A' && byte <= 'F')
			digit = byte - 'A' + 10;
		else
			return json_fail(cursor, "bad \\u escape in string");
		*unit = *unit << 4 | digit;
		cursor->at++;
	}
	return true;
}

/* What follows a backslash; appends its meaning at `out` and moves it on. */
static bool read_escape(struct json_cursor *cursor, char **out)
{
	static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	int byte = json_peek(cursor);
	const char *name = byte > 0 ? strchr(names, byte) : NULL;
	uint32_t code, low;

	if (name) {
		*(*out)++ = meanings[name - names];
		cursor->at++;
		return true;
	}
	if (byte != 'u')
		return json_fail(cursor, "bad escape in string");
	cursor->at++;
	if (!read_hex4(cursor, &code))
		return false;
	if (code >= 0xdc00 && code <= 0xdfff)
		return json_fail(cursor, "lone surrogate in string");
	if (code >= 0xd800 && code <= 0xdbff) {
		if (json_peek(cursor) != '\\' || cursor->at + 1 >= cursor->len ||
		    cursor->data[cursor->at + 1] != 'u')
			return json_fail(cursor, "lone surrogate in string");
		cursor->at += 2;
		if (!read_hex4(cursor, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return json_fail(cursor, "lone surrogate in string");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	*out += utf8_encode(code, *out);
	return true;
}

bool json_read_string(struct json_cursor *cursor, char **text, size_t *len)
{
	const char *end = cursor->data + cursor->len;
	size_t start, raw;
	char *out;

	if (!json_expect(cursor, '"', "expected a string"))
		return false;
	/* Find the closing quote first: decoding never makes a string longer. */
	for (start = raw = cursor->at; raw < cursor->len && cursor->data[raw] != '"'; raw++)
		if (cursor->data[raw] == '\\')
			raw++;
	if (raw >= cursor->len)
		return json_fail(cursor, "unexpected end of input in a string");
	out = *text = malloc(raw - start + 1);
	if (!out)
		return json_fail(cursor, "out of memory");
	while (json_peek(cursor) != '"') {
		size_t bytes;

		if (json_peek(cursor) == '\\') {
			cursor->at++;
			if (!read_escape(cursor, &out))
				goto refused;
			continue;
		}
		bytes = utf8_length(cursor->data + cursor->at, end);
		if (json_peek(cursor) < 0x20 || !bytes) {
			json_fail(cursor, bytes ? "control character in string" : "invalid UTF-8");
			goto refused;
		}
		memcpy(out, cursor->data + cursor->at, bytes);
		out += bytes;
		cursor->at += bytes;
	}
	cursor->at++;
	*out = '\0';
	*len = out - *text;
	return true;
refused:
	free(*text);
	*text = NULL;
	return false;
}

static bool read_digits(struct json_cursor *cursor)
{
	size_t start = cursor->at;

	while (json_peek(cursor) >= '0' && json_peek(cursor) <= '9')
		cursor->at++;
	return cursor->at > start || json_fail(cursor, "bad number");
}

bool json_read_number(struct json_cursor *cursor, char **text, size_t *len)
{
	size_t start = cursor->at;

	if (json_peek(cursor) == '-')
		cursor->at++;
	if (json_peek(cursor) == '0')
		cursor->at++;
	else if (!read_digits(cursor))
		return false;
	if (json_peek(cursor) == '.') {
		cursor->at++;
		if (!read_digits(cursor))
			return false;
	}
	if (json_peek(cursor) == 'e' || json_peek(cursor) == 'E') {
		cursor->at++;
		if (json_peek(cursor) == '+' || json_peek(cursor) == '-')
			cursor->at++;
		if (!read_digits(cursor))
			return false;
	}
	*len = cursor->at - start;
	*text = strndup(cursor->data + start, *len);
	return *text || json_fail(cursor, "out of memory");
}
