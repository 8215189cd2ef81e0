/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "http.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "deadline.h"

#define MAX_ANSWER (2 * HTTP_MAX_BODY) /* chunk headers included */

/* How the length of a body is told. */
struct framing {
	bool chunked;
	bool has_length;
	size_t length;
};

/* The end of the line that starts at `at` (its '\n'), or NULL when it has not arrived. */
static const char *line_end(const char *at, const char *end)
{
	return memchr(at, '\n', end - at);
}

static bool parse_status(const char *line, size_t len, int *status)
{
	if (len < 12 || strncmp(line, "HTTP/1.", 7) || (line[7] != '0' && line[7] != '1') ||
	    line[8] != ' ' || (len > 12 && line[12] != ' '))
		return false;
	*status = 0;
	for (int i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		*status = *status * 10 + line[i] - '0';
	}
	return *status >= 100;
}

static bool parse_decimal(const char *text, size_t len, size_t *result)
{
	*result = 0;
	if (!len || len > 9)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*result = *result * 10 + text[i] - '0';
	}
	return *result <= HTTP_MAX_BODY;
}

/* Takes a header into account; false when it is malformed or contradicts another. */
static bool parse_header(const char *line, size_t len, struct framing *framing)
{
	const char *colon = memchr(line, ':', len), *value, *end = line + len;
	size_t name_len, length;

	if (!colon || colon == line || line[0] == ' ' || line[0] == '\t')
		return false;
	name_len = colon - line;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (name_len == 14 && !strncasecmp(line, "content-length", 14)) {
		if (!parse_decimal(value, end - value, &length) || framing->chunked ||
		    (framing->has_length && framing->length != length))
			return false;
		framing->has_length = true;
		framing->length = length;
	} else if (name_len == 17 && !strncasecmp(line, "transfer-encoding", 17)) {
		if (end - value != 7 || strncasecmp(value, "chunked", 7) || framing->has_length)
			return false;
		framing->chunked = true;
	}
	return true;
}

/* The status line and headers; moves `*at` behind the empty line. */
static enum http_progress parse_head(const char **at, const char *end, int *status,
				     struct framing *framing)
{
	const char *start = *at, *line = start, *newline;

	while ((newline = line_end(line, end))) {
		size_t len = newline - line;

		if (newline - start > HTTP_MAX_HEAD)
			return HTTP_MALFORMED;
		if (len && line[len - 1] == '\r')
			len--;
		if (line == start) {
			if (!parse_status(line, len, status))
				return HTTP_MALFORMED;
		} else if (!len) {
			*at = newline + 1;
			return HTTP_COMPLETE;
		} else if (!parse_header(line, len, framing)) {
			return HTTP_MALFORMED;
		}
		line = newline + 1;
	}
	return end - start > HTTP_MAX_HEAD ? HTTP_MALFORMED : HTTP_INCOMPLETE;
}

/* The size line of a chunk without its line end; extensions are passed over. */
static bool parse_chunk_size(const char *line, size_t len, size_t *size)
{
	size_t i;

	*size = 0;
	for (i = 0; i < len && i < 8; i++) {
		char digit = line[i];

		if (digit >= '0' && digit <= '9')
			*size = *size * 16 + digit - '0';
		else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
			*size = *size * 16 + (digit | 0x20) - 'a' + 10;
		else
			break;
	}
	return i && (i == len || line[i] == ';' || line[i] == ' ');
}

/* Chunks up to the last one and the trailers behind it. */
static enum http_progress parse_chunks(const char *at, const char *end, struct buffer *body)
{
	const char *newline;
	size_t len, size;
	bool last = false;

	while ((newline = line_end(at, end))) {
		len = newline - at;
		if (len && at[len - 1] == '\r')
			len--;
		if (last) { /* a trailer, or the empty line that ends everything */
			if (!len)
				return HTTP_COMPLETE;
			at = newline + 1;
			continue;
		}
		if (!parse_chunk_size(at, len, &size) || size > HTTP_MAX_BODY)
			return HTTP_MALFORMED;
		at = newline + 1;
		last = size == 0;
		if (last)
			continue;
		if ((size_t)(end - at) < size + 2)
			return HTTP_INCOMPLETE;
		if (at[size] != '\r' || at[size + 1] != '\n' || !buffer_append(body, at, size))
			return HTTP_MALFORMED;
		at += size + 2;
	}
	return HTTP_INCOMPLETE;
}

enum http_progress http_parse(const char *data, size_t len, struct http_response *response)
{
	const char *at = data, *end = data + len;
	struct framing framing;
	enum http_progress progress;

	buffer_free(&response->body);
	response->body = (struct buffer){ .limit = HTTP_MAX_BODY };
	do {
		framing = (struct framing){ 0 };
		progress = parse_head(&at, end, &response->status, &framing);
		if (progress != HTTP_COMPLETE)
			return progress;
	} while (response->status < 200 && response->status != 101);
	if (response->status == 204 || response->status == 304)
		return HTTP_COMPLETE;
	if (framing.chunked)
		return parse_chunks(at, end, &response->body);
	if (!framing.has_length)
		return HTTP_MALFORMED;
	if ((size_t)(end - at) < framing.length)
		return HTTP_INCOMPLETE;
	return buffer_append(&response->body, at, framing.length) ? HTTP_COMPLETE : HTTP_MALFORMED;
}

int http_connect(const char *path, int64_t deadline)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		int cause = errno;

		/* A unix socket whose backlog is full answers EAGAIN and cannot be polled for room. */
		if (cause == EINTR || (cause == EAGAIN && deadline_pause(deadline)))
			continue;
		close(fd);
		errno = cause == EAGAIN ? ETIMEDOUT : cause;
		return -1;
	}
	return fd;
}

/*
 * Sends until everything is gone, the agent says something, or it breaks the
 * connection: an agent may answer (413) before it has read everything, and its
 * answer is to be heard. False when the time has come first.
 */
static bool send_request(int fd, const struct buffer *request, int64_t deadline)
{
	size_t sent = 0;
	char byte;

	while (sent < request->len) {
		ssize_t n = send(fd, request->data + sent, request->len - sent, MSG_NOSIGNAL);

		if (n >= 0) {
			sent += n;
		} else if (errno == EAGAIN) {
			if (!deadline_poll(fd, POLLIN | POLLOUT, deadline))
				return errno != ETIMEDOUT;
			if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
				return true;
		} else if (errno != EINTR) {
			return true; /* what is left to read tells why */
		}
	}
	return true;
}

bool http_exchange(int fd, const struct buffer *request, struct http_response *response,
		   int64_t deadline, const char **why)
{
	struct buffer answer = { .limit = MAX_ANSWER };
	enum http_progress progress = HTTP_INCOMPLETE;
	char part[16384];

	*why = NULL;
	if (!send_request(fd, request, deadline))
		*why = "it did not take the request in time";
	while (!*why && progress == HTTP_INCOMPLETE) {
		ssize_t n = recv(fd, part, sizeof(part), 0);

		if (n > 0) {
			progress = buffer_append(&answer, part, n)
					   ? http_parse(answer.data, answer.len, response)
					   : HTTP_MALFORMED;
		} else if (n == 0) {
			*why = answer.len ? "it died in the middle of its answer"
					  : "it closed the connection without an answer";
		} else if (errno == EAGAIN) {
			if (!deadline_poll(fd, POLLIN, deadline))
				*why = "it did not answer in time";
		} else if (errno != EINTR) {
			*why = "it broke the connection before its answer was complete";
		}
	}
	if (progress == HTTP_MALFORMED)
		*why = "what answers there does not speak HTTP as the agent does";
	buffer_free(&answer);
	return !*why;
}
