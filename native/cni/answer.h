/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin tells its runtime: JSON on stdout as the CNI specification has it. */
#pragma once

#include <stddef.h>

/* Error codes of the CNI specification. */
enum cni_code {
	CNI_INCOMPATIBLE_VERSION = 1,
	CNI_INVALID_ENVIRONMENT = 4,
	CNI_IO_FAILURE = 5,
	CNI_DECODE_FAILURE = 6,
	CNI_INVALID_CONFIG = 7,
	CNI_TRY_AGAIN_LATER = 11,
	CNI_NOT_AVAILABLE = 50,
	CNI_AGENT_REFUSED =
		100, /* first of the plugin's own: the agent refused without saying it in CNI's words */
};

#define CNI_NEWEST_VERSION "1.1.0"

/* One failure, filled where it is found and printed once. Texts are owned by it. */
struct failure {
	enum cni_code code;
	char msg[512];
	char details[1024];
};

/* Fills a failure; `details` may be NULL. Always returns false, for `return failure_set(…)`. */
__attribute__((format(printf, 4, 5))) _Bool failure_set(struct failure *failure, enum cni_code code,
							const char *details, const char *format,
							...);
/* Prints a failure; `version` is the caller's. Returns the exit status, 1. */
int answer_failure(const struct failure *failure, const char *version);
/* Prints what VERSION is answered with. Returns the exit status. */
int answer_version(const char *version);
/* Writes bytes to stdout as they are. Returns the exit status, `status` unless writing failed. */
int answer_raw(const char *data, size_t len, int status);
