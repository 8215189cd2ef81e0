/* SPDX-License-Identifier: Apache-2.0 */
/* DEL requests that found no agent, kept for the agent to replay; see queue.c for format and locking. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "answer.h"
#include "buffer.h"
#include "environment.h"

#define QUEUE_MAX_FILES 256

struct queue {
	int directory_fd; /* -1 until queue_lock */
	int lock_fd;
	char path[256];
};

/* Makes the directory beside the socket and takes the lock in shared mode by the deadline. */
bool queue_lock(struct queue *queue, const char *socket_path, int64_t deadline,
		struct failure *failure);
/* Writes one request, all or nothing; one that is queued already is written again, not twice. */
bool queue_write(struct queue *queue, const struct environment *environment,
		 const struct buffer *config, struct failure *failure);
void queue_unlock(struct queue *queue);
