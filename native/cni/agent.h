/* SPDX-License-Identifier: Apache-2.0 */
/* One CNI request, carried to the agent and back. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "answer.h"
#include "buffer.h"
#include "config.h"
#include "environment.h"
#include "http.h"

/*
 * Sends `POST /v1/cni`, the variables as x-cni-* headers and the configuration
 * as body. False when no whole answer came by the deadline: then `failure` says
 * why, with the code that tells a runtime to come again.
 */
bool agent_request(const struct environment *environment, const struct config *config,
		   const struct buffer *stdin_bytes, int64_t deadline,
		   struct http_response *response, struct failure *failure);
/*
 * Prints the answer as the runtime's: a 2xx body as it is with status 0, an
 * error in CNI's words as it is with status 1, anything else wrapped in one.
 */
int agent_print(const struct environment *environment, const struct config *config,
		const struct http_response *response);
