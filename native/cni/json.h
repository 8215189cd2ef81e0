/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict JSON reader (RFC 8259): one value, nothing but white space around it,
 * valid UTF-8, no key twice in an object, bounded depth and bounded number of
 * values, so that no input can cost more than its own size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define JSON_MAX_DEPTH	64
#define JSON_MAX_VALUES 65536 /* in one document */
#define JSON_MAX_KEYS	1024  /* in one object */

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json_value {
	enum json_type type;
	unsigned int key_hash;
	char *text; /* decoded string, or a number as it was written; NUL behind it */
	size_t len; /* bytes of text; a string may contain NUL bytes */
	char *key;  /* decoded name, in members of an object */
	size_t key_len;
	struct json_value *child; /* first element or member */
	struct json_value *next;  /* next sibling */
	struct json_value *older; /* all values of the document, for json_free */
};

struct json_error {
	size_t offset;	 /* byte at which reading stopped */
	const char *why; /* in lower case, static */
};

/* Reads one document; NULL and `error` filled when it is refused. Free with json_free. */
struct json_value *json_parse(const char *data, size_t len, struct json_error *error);
void json_free(struct json_value *root);
/* The member of an object by name, or NULL (also when `object` is not an object). */
const struct json_value *json_member(const struct json_value *object, const char *key);
/* The text of a string without NUL bytes, or NULL when the value is something else. */
const char *json_string(const struct json_value *value);
/* Reads a number that is written as a plain integer within [least, most]. */
bool json_integer(const struct json_value *value, long least, long most, long *result);
