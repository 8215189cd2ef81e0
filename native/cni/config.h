/* SPDX-License-Identifier: Apache-2.0 */
/* The network configuration on stdin: what the plugin itself must know of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

#include "answer.h"
#include "environment.h"

#define CONFIG_MAX_BYTES      (1024 * 1024)
#define CONFIG_DEFAULT_SOCKET "/run/fimbria/fimbria.sock"

struct config {
	char version
		[33]; /* the caller's cniVersion, fit to be echoed; the newest where it named none */
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	long timeout_ms; /* for the whole call */
};

/*
 * Reads `cniVersion`, `name`, `socket` and `timeoutMs` and refuses what the
 * specification does not allow for the command. `version` is filled as far as
 * it could be read also when the rest is refused, for the error to echo it.
 */
bool config_read(const char *data, size_t len, enum cni_command command, struct config *config,
		 struct failure *failure);
