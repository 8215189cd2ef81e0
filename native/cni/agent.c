/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "deadline.h"
#include "json.h"

#define CONNECT_TIMEOUT_MS 5000

static enum cni_code away_code(enum cni_command command)
{
	return command == CNI_STATUS ? CNI_NOT_AVAILABLE : CNI_TRY_AGAIN_LATER;
}

static void build_request(struct buffer *request, const struct environment *environment,
			  const struct buffer *stdin_bytes)
{
	buffer_text(request, "POST /v1/cni HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
			     "Content-Type: application/json\r\n");
	buffer_printf(request, "Content-Length: %zu\r\nx-cni-command: %s\r\n", stdin_bytes->len,
		      environment->command_name);
	for (int i = 0; i < CNI_VARIABLES; i++)
		if (environment->values[i])
			buffer_printf(request, "%s: %s\r\n", environment_header(i),
				      environment->values[i]);
	buffer_text(request, "\r\n");
	buffer_append(request, stdin_bytes->data, stdin_bytes->len);
}

bool agent_request(const struct environment *environment, const struct config *config,
		   const struct buffer *stdin_bytes, int64_t deadline,
		   struct http_response *response, struct failure *failure)
{
	struct buffer request = { 0 };
	int64_t connect_deadline = deadline_earlier(deadline, deadline_in(CONNECT_TIMEOUT_MS));
	int fd = http_connect(config->socket, connect_deadline);
	const char *why = NULL;

	if (fd < 0)
		return failure_set(
			failure, away_code(environment->command), strerror(errno),
			"unable to connect to fimbria agent at %s; is the agent running?",
			config->socket);
	build_request(&request, environment, stdin_bytes);
	if (request.failed)
		why = "the plugin ran out of memory";
	else
		http_exchange(fd, &request, response, deadline, &why);
	buffer_free(&request);
	close(fd);
	if (why)
		return failure_set(failure, away_code(environment->command), why,
				   "no answer from fimbria agent at %s", config->socket);
	return true;
}

/* Whether a body is an object, and as an error one with `code` and `msg`. */
static bool well_formed(const struct buffer *body, bool as_error)
{
	struct json_error error;
	struct json_value *root = json_parse(body->data ? body->data : "", body->len, &error);
	long code;
	bool ok = root && root->type == JSON_OBJECT;

	if (ok && as_error)
		ok = json_integer(json_member(root, "code"), 1, 1 << 30, &code) &&
		     json_string(json_member(root, "msg"));
	json_free(root);
	return ok;
}

int agent_print(const struct environment *environment, const struct config *config,
		const struct http_response *response)
{
	const struct buffer *body = &response->body;
	bool success = response->status >= 200 && response->status < 300;
	struct failure failure;

	/* Only ADD has a result; the others may answer with nothing. */
	if (success && !body->len && environment->command != CNI_ADD)
		return 0;
	if (well_formed(body, !success))
		return answer_raw(body->data, body->len, success ? 0 : 1);
	failure_set(&failure,
		    success || response->status >= 500 ? away_code(environment->command)
						       : CNI_AGENT_REFUSED,
		    body->data, "fimbria agent at %s answered %d without a %s of CNI",
		    config->socket, response->status, success ? "result" : "error");
	return answer_failure(&failure, config->version);
}
