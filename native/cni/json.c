/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

struct reader {
	const char *data;
	size_t len;
	size_t at;
	unsigned int depth;
	unsigned int values;
	struct json_value *newest; /* every value so far, linked by `older` */
	const char *why;	   /* first failure */
};

static bool fail(struct reader *reader, const char *why)
{
	if (!reader->why)
		reader->why = why;
	return false;
}

/* The byte at the cursor, or -1 behind the end. */
static int peek(const struct reader *reader)
{
	return reader->at < reader->len ? (unsigned char)reader->data[reader->at] : -1;
}

static void skip_space(struct reader *reader)
{
	int byte;

	while ((byte = peek(reader)) == ' ' || byte == '\t' || byte == '\n' || byte == '\r')
		reader->at++;
}

static bool expect(struct reader *reader, char byte, const char *why)
{
	if (peek(reader) != byte)
		return fail(reader, reader->at == reader->len ? "unexpected end of input" : why);
	reader->at++;
	return true;
}

static bool read_word(struct reader *reader, const char *word)
{
	size_t len = strlen(word);

	if (reader->len - reader->at < len || memcmp(reader->data + reader->at, word, len))
		return fail(reader, "not a JSON value");
	reader->at += len;
	return true;
}

/* Four hexadecimal digits behind \u. */
static bool read_hex4(struct reader *reader, uint32_t *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++) {
		int byte = peek(reader);
		uint32_t digit;

		if (byte >= '0' && byte <= '9')
			digit = byte - '0';
		else if (byte >= 'a' && byte <= 'f')
			digit = byte - 'a' + 10;
		else if (byte >= 'A' && byte <= 'F')
			digit = byte - 'A' + 10;
		else
			return fail(reader, "bad \\u escape in string");
		*unit = *unit << 4 | digit;
		reader->at++;
	}
	return true;
}

/* What follows a backslash; appends its meaning at `out` and moves it on. */
static bool read_escape(struct reader *reader, char **out)
{
	static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	int byte = peek(reader);
	const char *name = byte > 0 ? strchr(names, byte) : NULL;
	uint32_t code, low;

	if (name) {
		*(*out)++ = meanings[name - names];
		reader->at++;
		return true;
	}
	if (byte != 'u')
		return fail(reader, "bad escape in string");
	reader->at++;
	if (!read_hex4(reader, &code))
		return false;
	if (code >= 0xdc00 && code <= 0xdfff)
		return fail(reader, "lone surrogate in string");
	if (code >= 0xd800 && code <= 0xdbff) {
		if (peek(reader) != '\\' || reader->at + 1 >= reader->len ||
		    reader->data[reader->at + 1] != 'u')
			return fail(reader, "lone surrogate in string");
		reader->at += 2;
		if (!read_hex4(reader, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return fail(reader, "lone surrogate in string");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	*out += utf8_encode(code, *out);
	return true;
}

/* A string from its opening quote on, decoded into fresh memory. */
static bool read_string(struct reader *reader, char **text, size_t *len)
{
	const char *end = reader->data + reader->len;
	size_t start, raw;
	char *out;

	if (!expect(reader, '"', "expected a string"))
		return false;
	/* Find the closing quote first: decoding never makes a string longer. */
	for (start = raw = reader->at; raw < reader->len && reader->data[raw] != '"'; raw++)
		if (reader->data[raw] == '\\')
			raw++;
	if (raw >= reader->len)
		return fail(reader, "unexpected end of input in a string");
	out = *text = malloc(raw - start + 1);
	if (!out)
		return fail(reader, "out of memory");
	while (peek(reader) != '"') {
		size_t bytes;

		if (peek(reader) == '\\') {
			reader->at++;
			if (!read_escape(reader, &out))
				goto refused;
			continue;
		}
		bytes = utf8_length(reader->data + reader->at, end);
		if (peek(reader) < 0x20 || !bytes) {
			fail(reader, bytes ? "control character in string" : "invalid UTF-8");
			goto refused;
		}
		memcpy(out, reader->data + reader->at, bytes);
		out += bytes;
		reader->at += bytes;
	}
	reader->at++;
	*out = '\0';
	*len = out - *text;
	return true;
refused:
	free(*text);
	*text = NULL;
	return false;
}

static bool read_digits(struct reader *reader)
{
	size_t start = reader->at;

	while (peek(reader) >= '0' && peek(reader) <= '9')
		reader->at++;
	return reader->at > start || fail(reader, "bad number");
}

static bool read_number(struct reader *reader, struct json_value *value)
{
	size_t start = reader->at;

	if (peek(reader) == '-')
		reader->at++;
	if (peek(reader) == '0')
		reader->at++;
	else if (!read_digits(reader))
		return false;
	if (peek(reader) == '.') {
		reader->at++;
		if (!read_digits(reader))
			return false;
	}
	if (peek(reader) == 'e' || peek(reader) == 'E') {
		reader->at++;
		if (peek(reader) == '+' || peek(reader) == '-')
			reader->at++;
		if (!read_digits(reader))
			return false;
	}
	value->type = JSON_NUMBER;
	value->len = reader->at - start;
	value->text = strndup(reader->data + start, value->len);
	return value->text || fail(reader, "out of memory");
}

static unsigned int hash(const char *text, size_t len)
{
	unsigned int sum = 2166136261u;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (unsigned char)text[i]) * 16777619u;
	return sum;
}

static bool same_key(const struct json_value *a, const struct json_value *b)
{
	return a->key_hash == b->key_hash && a->key_len == b->key_len &&
	       !memcmp(a->key, b->key, a->key_len);
}

static struct json_value *read_value(struct reader *reader);

/* A key that stands twice would mean one thing to us and another to the agent. */
static bool read_key(struct reader *reader, char **key, size_t *len)
{
	if (peek(reader) != '"' && peek(reader) != -1)
		return fail(reader, "expected a key");
	if (!read_string(reader, key, len))
		return false;
	skip_space(reader);
	return expect(reader, ':', "expected ':' after a key");
}

static bool read_members(struct reader *reader, struct json_value *object, bool keyed, char close)
{
	struct json_value **link = &object->child;
	unsigned int keys = 0;

	reader->at++; /* the opening bracket */
	skip_space(reader);
	if (peek(reader) == close) {
		reader->at++;
		return true;
	}
	for (;;) {
		struct json_value *member;
		char *key = NULL;
		size_t key_len = 0;

		skip_space(reader);
		if (keyed && (++keys > JSON_MAX_KEYS || !read_key(reader, &key, &key_len))) {
			free(key);
			return fail(reader, "too many keys in an object");
		}
		member = read_value(reader);
		if (!member) {
			free(key);
			return false;
		}
		member->key = key;
		member->key_len = key_len;
		if (keyed) {
			member->key_hash = hash(key, key_len);
			for (struct json_value *old = object->child; old; old = old->next)
				if (same_key(old, member))
					return fail(reader, "key stands twice in an object");
		}
		*link = member;
		link = &member->next;
		skip_space(reader);
		if (peek(reader) == close) {
			reader->at++;
			return true;
		}
		if (!expect(reader, ',', "expected ',' or the closing bracket"))
			return false;
	}
}

static struct json_value *read_value(struct reader *reader)
{
	struct json_value *value;
	bool ok;

	skip_space(reader);
	if (++reader->values > JSON_MAX_VALUES) {
		fail(reader, "too many values");
		return NULL;
	}
	value = calloc(1, sizeof(*value));
	if (!value) {
		fail(reader, "out of memory");
		return NULL;
	}
	value->older = reader->newest;
	reader->newest = value;
	switch (peek(reader)) {
	case -1:
		ok = fail(reader, "unexpected end of input");
		break;
	case '{':
	case '[':
		value->type = peek(reader) == '{' ? JSON_OBJECT : JSON_ARRAY;
		if (++reader->depth > JSON_MAX_DEPTH) {
			ok = fail(reader, "nested too deeply");
			break;
		}
		ok = read_members(reader, value, value->type == JSON_OBJECT,
				  value->type == JSON_OBJECT ? '}' : ']');
		reader->depth--;
		break;
	case '"':
		value->type = JSON_STRING;
		ok = read_string(reader, &value->text, &value->len);
		break;
	case 't':
		value->type = JSON_TRUE;
		ok = read_word(reader, "true");
		break;
	case 'f':
		value->type = JSON_FALSE;
		ok = read_word(reader, "false");
		break;
	case 'n':
		ok = read_word(reader, "null");
		break;
	case '-':
	case '0' ... '9':
		ok = read_number(reader, value);
		break;
	default:
		ok = fail(reader, "not a JSON value");
	}
	return ok ? value : NULL;
}

static void free_all(struct json_value *newest)
{
	while (newest) {
		struct json_value *older = newest->older;

		free(newest->text);
		free(newest->key);
		free(newest);
		newest = older;
	}
}

struct json_value *json_parse(const char *data, size_t len, struct json_error *error)
{
	struct reader reader = {.data = data, .len = len};
	struct json_value *root = read_value(&reader);

	if (root) {
		skip_space(&reader);
		if (reader.at < len)
			fail(&reader, "something follows the value");
	}
	if (reader.why) {
		free_all(reader.newest);
		*error = (struct json_error){.offset = reader.at, .why = reader.why};
		return NULL;
	}
	/* The root is the first value made; it leads to all others through the newest. */
	root->older = reader.newest == root ? NULL : reader.newest;
	return root;
}

void json_free(struct json_value *root)
{
	struct json_value *value = root ? root->older : NULL;

	/* The chain from the newest value ends at the root itself. */
	while (value && value != root) {
		struct json_value *older = value->older;

		free(value->text);
		free(value->key);
		free(value);
		value = older;
	}
	if (root) {
		free(root->text);
		free(root);
	}
}

const struct json_value *json_member(const struct json_value *object, const char *key)
{
	size_t len = strlen(key);

	if (!object || object->type != JSON_OBJECT)
		return NULL;
	for (const struct json_value *member = object->child; member; member = member->next)
		if (member->key_len == len && !memcmp(member->key, key, len))
			return member;
	return NULL;
}

const char *json_string(const struct json_value *value)
{
	if (!value || value->type != JSON_STRING || memchr(value->text, '\0', value->len))
		return NULL;
	return value->text;
}

bool json_integer(const struct json_value *value, long least, long most, long *result)
{
	char *end;
	long number;

	if (!value || value->type != JSON_NUMBER)
		return false;
	errno = 0;
	number = strtol(value->text, &end, 10);
	if (errno || *end || number < least || number > most)
		return false;
	*result = number;
	return true;
}
