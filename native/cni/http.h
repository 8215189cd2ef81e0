/* SPDX-License-Identifier: Apache-2.0 */
/* As much of HTTP/1.1 as one request to an agent on a unix socket needs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define HTTP_MAX_HEAD 16384 /* status line and headers of an answer */
#define HTTP_MAX_BODY (1024 * 1024)

struct http_response {
	int status;
	struct buffer body;
};

enum http_progress {
	HTTP_INCOMPLETE,
	HTTP_COMPLETE,
	HTTP_MALFORMED
};

/*
 * Reads an answer from its first byte on: interim 1xx answers are skipped, the
 * length comes from Content-Length or from chunks, never from the connection's
 * end, so that an answer cut short is always seen as such. The body is filled
 * only when the answer is complete.
 */
enum http_progress http_parse(const char *data, size_t len, struct http_response *response);

/* Connects to a unix socket, waiting while its backlog is full; -1 with errno. */
int http_connect(const char *path, int64_t deadline);

/*
 * Sends a request and reads the answer. False when there is no whole answer by
 * the deadline, `why` saying what happened (static text).
 */
bool http_exchange(int fd, const struct buffer *request, struct http_response *response,
		   int64_t deadline, const char **why);
