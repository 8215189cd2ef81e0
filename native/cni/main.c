/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fimbria-cni, the CNI plugin: checks what the runtime gave it, carries the
 * request to the agent on this node, and prints the agent's answer. It decides
 * nothing itself, so that it starts and ends in about a millisecond.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "answer.h"
#include "buffer.h"
#include "config.h"
#include "deadline.h"
#include "environment.h"
#include "queue.h"

#define STDIN_TIMEOUT_MS 10000

static bool read_stdin(struct buffer *input, struct failure *failure)
{
	int64_t deadline = deadline_in(STDIN_TIMEOUT_MS);
	char part[16384];

	for (;;) {
		ssize_t n;

		if (!deadline_poll(STDIN_FILENO, POLLIN, deadline))
			break;
		n = read(STDIN_FILENO, part, sizeof(part));
		if (n == 0)
			return true;
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && !buffer_append(input, part, n))
			return failure_set(failure, CNI_DECODE_FAILURE, "it is larger than 1 MiB",
					   "failed to decode network config from stdin");
	}
	return failure_set(failure, CNI_IO_FAILURE, strerror(errno),
			   "read network config from stdin");
}

/* DEL when the agent gave no answer: once more under the queue's lock, then into the queue. */
static int delete_later(const struct environment *environment, const struct config *config,
			const struct buffer *input, int64_t deadline, struct failure *failure)
{
	struct http_response response = { 0 };
	struct queue queue;
	int status;

	if (!queue_lock(&queue, config->socket, deadline, failure))
		status = answer_failure(failure, config->version);
	else if (agent_request(environment, config, input, deadline, &response, failure))
		status = agent_print(environment, config, &response);
	else if (queue_write(&queue, environment, input, failure))
		status = 0;
	else
		status = answer_failure(failure, config->version);
	queue_unlock(&queue);
	buffer_free(&response.body);
	return status;
}

static int forward(const struct environment *environment, const struct config *config,
		   const struct buffer *input)
{
	int64_t deadline = deadline_in(config->timeout_ms);
	struct http_response response = { 0 };
	struct failure failure;
	int status;

	if (agent_request(environment, config, input, deadline, &response, &failure))
		status = agent_print(environment, config, &response);
	else if (environment->command == CNI_DEL)
		status = delete_later(environment, config, input, deadline, &failure);
	else
		status = answer_failure(&failure, config->version);
	buffer_free(&response.body);
	return status;
}

int main(void)
{
	struct environment environment;
	struct config config = { .version = CNI_NEWEST_VERSION };
	struct buffer input = { .limit = CONFIG_MAX_BYTES };
	struct failure failure, config_failure;
	bool known, configured;
	int status;

	signal(SIGPIPE, SIG_IGN);
	known = environment_read(getenv, &environment, &failure);
	configured =
		read_stdin(&input, &config_failure) &&
		config_read(input.data ? input.data : "", input.len,
			    known ? environment.command : CNI_VERSION, &config, &config_failure);
	if (!known)
		status = answer_failure(&failure, config.version);
	else if (!configured)
		status = answer_failure(&config_failure, config.version);
	else if (environment.command == CNI_VERSION)
		status = answer_version(config.version);
	else
		status = forward(&environment, &config, &input);
	buffer_free(&input);
	return status;
}
