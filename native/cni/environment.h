/* SPDX-License-Identifier: Apache-2.0 */
/* The CNI_* variables: which a command needs, and what they may hold. */
#pragma once

#include <stdbool.h>

#include "answer.h"

enum cni_command {
	CNI_ADD,
	CNI_DEL,
	CNI_CHECK,
	CNI_STATUS,
	CNI_GC,
	CNI_VERSION
};

enum cni_variable {
	CNI_VAR_CONTAINERID,
	CNI_VAR_NETNS,
	CNI_VAR_IFNAME,
	CNI_VAR_ARGS,
	CNI_VAR_PATH,
	CNI_VARIABLES, /* how many */
};

struct environment {
	enum cni_command command;
	const char *command_name;
	const char
		*values[CNI_VARIABLES]; /* NULL: not set, or empty; borrowed from the environment */
};

/* Name of a variable, `CNI_CONTAINERID`. */
const char *environment_name(enum cni_variable variable);
/* Name of the header that carries it to the agent, `x-cni-containerid`. */
const char *environment_header(enum cni_variable variable);
/*
 * Reads and checks the variables through `get` (getenv). What passes is
 * printable ASCII and short, so that it can stand in a header as it is.
 */
bool environment_read(char *(*get)(const char *name), struct environment *environment,
		      struct failure *failure);
