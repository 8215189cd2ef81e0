/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "answer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "utf8.h"

_Bool failure_set(struct failure *failure, enum cni_code code, const char *details,
		  const char *format, ...)
{
	va_list args;

	failure->code = code;
	va_start(args, format);
	vsnprintf(failure->msg, sizeof(failure->msg), format, args);
	va_end(args);
	snprintf(failure->details, sizeof(failure->details), "%s", details ? details : "");
	return false;
}

/* Appends text that may hold anything (an environment variable, a cut answer): what is not UTF-8 becomes '?'. */
static void append_text(struct buffer *buffer, const char *text)
{
	struct buffer clean = { 0 };
	const char *end = text + strlen(text);

	while (text < end) {
		size_t bytes = utf8_length(text, end);

		buffer_append(&clean, bytes ? text : "?", bytes ? bytes : 1);
		text += bytes ? bytes : 1;
	}
	buffer_json_string(buffer, clean.data ? clean.data : "", clean.len);
	buffer_free(&clean);
}

int answer_failure(const struct failure *failure, const char *version)
{
	struct buffer json = { 0 };
	int status;

	buffer_text(&json, "{\n    \"cniVersion\": ");
	append_text(&json, version);
	buffer_printf(&json, ",\n    \"code\": %d,\n    \"msg\": ", failure->code);
	append_text(&json, failure->msg);
	if (failure->details[0]) {
		buffer_text(&json, ",\n    \"details\": ");
		append_text(&json, failure->details);
	}
	buffer_text(&json, "\n}\n");
	status = answer_raw(json.data, json.len, 1);
	buffer_free(&json);
	return status;
}

int answer_version(const char *version)
{
	struct buffer json = { 0 };
	int status;

	buffer_text(&json, "{\n    \"cniVersion\": ");
	append_text(&json, version);
	buffer_text(
		&json,
		",\n    \"supportedVersions\": [\"0.3.1\", \"0.4.0\", \"1.0.0\", \"1.1.0\"]\n}\n");
	status = answer_raw(json.data, json.len, 0);
	buffer_free(&json);
	return status;
}

int answer_raw(const char *data, size_t len, int status)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return 1;
		data += n;
		len -= n;
	}
	return status;
}
