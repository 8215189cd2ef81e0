/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_lex.h"

struct reader {
	struct json_cursor cursor;
	unsigned int depth;
	unsigned int values;
	struct json_value *newest; /* every value so far, linked by `older` */
};

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

static bool read_key(struct reader *reader, char **key, size_t *len)
{
	if (json_peek(&reader->cursor) != '"' && json_peek(&reader->cursor) != -1)
		return json_fail(&reader->cursor, "expected a key");
	if (!json_read_string(&reader->cursor, key, len))
		return false;
	json_skip_space(&reader->cursor);
	return json_expect(&reader->cursor, ':', "expected ':' after a key");
}

static bool read_members(struct reader *reader, struct json_value *object, bool keyed, char close)
{
	struct json_value **link = &object->child;
	unsigned int keys = 0;

	reader->cursor.at++; /* the opening bracket */
	json_skip_space(&reader->cursor);
	if (json_peek(&reader->cursor) == close) {
		reader->cursor.at++;
		return true;
	}
	for (;;) {
		struct json_value *member;
		char *key = NULL;
		size_t key_len = 0;

		json_skip_space(&reader->cursor);
		if (keyed && (++keys > JSON_MAX_KEYS || !read_key(reader, &key, &key_len))) {
			free(key);
			return json_fail(&reader->cursor, "too many keys in an object");
		}
		member = read_value(reader);
		if (!member) {
			free(key);
			return false;
		}
		member->key = key;
		member->key_len = key_len;
		if (keyed) {
			/* A key that stands twice would mean one thing to us and another to the agent. */
			member->key_hash = hash(key, key_len);
			for (struct json_value *old = object->child; old; old = old->next)
				if (same_key(old, member))
					return json_fail(&reader->cursor,
							 "key stands twice in an object");
		}
		*link = member;
		link = &member->next;
		json_skip_space(&reader->cursor);
		if (json_peek(&reader->cursor) == close) {
			reader->cursor.at++;
			return true;
		}
		if (!json_expect(&reader->cursor, ',', "expected ',' or the closing bracket"))
			return false;
	}
}

static struct json_value *read_value(struct reader *reader)
{
	struct json_value *value;
	bool ok;

	json_skip_space(&reader->cursor);
	if (++reader->values > JSON_MAX_VALUES) {
		json_fail(&reader->cursor, "too many values");
		return NULL;
	}
	value = calloc(1, sizeof(*value));
	if (!value) {
		json_fail(&reader->cursor, "out of memory");
		return NULL;
	}
	value->older = reader->newest;
	reader->newest = value;
	switch (json_peek(&reader->cursor)) {
	case -1:
		ok = json_fail(&reader->cursor, "unexpected end of input");
		break;
	case '{':
	case '[':
		value->type = json_peek(&reader->cursor) == '{' ? JSON_OBJECT : JSON_ARRAY;
		if (++reader->depth > JSON_MAX_DEPTH) {
			ok = json_fail(&reader->cursor, "nested too deeply");
			break;
		}
		ok = read_members(reader, value, value->type == JSON_OBJECT,
				  value->type == JSON_OBJECT ? '}' : ']');
		reader->depth--;
		break;
	case '"':
		value->type = JSON_STRING;
		ok = json_read_string(&reader->cursor, &value->text, &value->len);
		break;
	case 't':
		value->type = JSON_TRUE;
		ok = json_read_word(&reader->cursor, "true");
		break;
	case 'f':
		value->type = JSON_FALSE;
		ok = json_read_word(&reader->cursor, "false");
		break;
	case 'n':
		ok = json_read_word(&reader->cursor, "null");
		break;
	case '-':
	case '0' ... '9':
		value->type = JSON_NUMBER;
		ok = json_read_number(&reader->cursor, &value->text, &value->len);
		break;
	default:
		ok = json_fail(&reader->cursor, "not a JSON value");
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
	struct reader reader = { .cursor = { .data = data, .len = len } };
	struct json_value *root = read_value(&reader);

	if (root) {
		json_skip_space(&reader.cursor);
		if (reader.cursor.at < len)
			json_fail(&reader.cursor, "something follows the value");
	}
	if (reader.cursor.why) {
		free_all(reader.newest);
		*error =
			(struct json_error){ .offset = reader.cursor.at, .why = reader.cursor.why };
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
