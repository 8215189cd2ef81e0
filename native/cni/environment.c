/* SPDX-License-Identifier: Apache-2.0 */
#include "environment.h"

#include <stdlib.h>
#include <string.h>

#define MAX_VALUE	4096 /* three of them stay below the 16 KiB of headers an agent takes */
#define MAX_CONTAINERID 255
#define MAX_IFNAME	15

static const char *const command_names[] = {
	[CNI_ADD] = "ADD",	 [CNI_DEL] = "DEL", [CNI_CHECK] = "CHECK",
	[CNI_STATUS] = "STATUS", [CNI_GC] = "GC",   [CNI_VERSION] = "VERSION",
};

static const struct {
	const char *name;
	const char *header;
	unsigned int needed_by; /* bits of enum cni_command */
} variables[CNI_VARIABLES] = {
	[CNI_VAR_CONTAINERID] = { "CNI_CONTAINERID", "x-cni-containerid",
				  1 << CNI_ADD | 1 << CNI_DEL | 1 << CNI_CHECK },
	[CNI_VAR_NETNS] = { "CNI_NETNS", "x-cni-netns", 1 << CNI_ADD | 1 << CNI_CHECK },
	[CNI_VAR_IFNAME] = { "CNI_IFNAME", "x-cni-ifname",
			     1 << CNI_ADD | 1 << CNI_DEL | 1 << CNI_CHECK },
	[CNI_VAR_ARGS] = { "CNI_ARGS", "x-cni-args", 0 },
	[CNI_VAR_PATH] = { "CNI_PATH", "x-cni-path", 0 },
};

const char *environment_name(enum cni_variable variable)
{
	return variables[variable].name;
}

const char *environment_header(enum cni_variable variable)
{
	return variables[variable].header;
}

static bool alphanumeric(char byte)
{
	return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* Why a value is refused, or NULL. */
static const char *objection(enum cni_variable variable, const char *value)
{
	size_t len = strlen(value);

	if (len > MAX_VALUE)
		return "longer than 4096 bytes";
	for (const char *at = value; *at; at++)
		if (*at < 0x20 || *at > 0x7e)
			return "holds a character that is not printable ASCII";
	switch (variable) {
	case CNI_VAR_CONTAINERID:
		if (len > MAX_CONTAINERID)
			return "longer than 255 characters";
		for (const char *at = value; *at; at++)
			if (!alphanumeric(*at) && (at == value || !strchr("_.-", *at)))
				return "must be letters, digits, '_', '.', '-' and begin with a letter or digit";
		return NULL;
	case CNI_VAR_IFNAME:
		if (len > MAX_IFNAME)
			return "longer than 15 characters";
		if (!strcmp(value, ".") || !strcmp(value, "..") || strpbrk(value, "/: "))
			return "is not a name an interface can have";
		return NULL;
	case CNI_VAR_NETNS:
		return value[0] == '/' ? NULL : "is not an absolute path";
	default:
		return NULL;
	}
}

static bool read_command(const char *name, struct environment *environment, struct failure *failure)
{
	if (!name || !*name)
		return failure_set(failure, CNI_INVALID_ENVIRONMENT,
				   "this is a CNI plugin: a container runtime calls it",
				   "required env variables [CNI_COMMAND] missing");
	for (size_t i = 0; i < sizeof(command_names) / sizeof(*command_names); i++) {
		if (!strcmp(name, command_names[i])) {
			environment->command = i;
			environment->command_name = command_names[i];
			return true;
		}
	}
	return failure_set(failure, CNI_INVALID_ENVIRONMENT, NULL, "unknown CNI_COMMAND: %.64s",
			   name);
}

bool environment_read(char *(*get)(const char *name), struct environment *environment,
		      struct failure *failure)
{
	char missing[128] = "";

	memset(environment, 0, sizeof(*environment));
	if (!read_command(get("CNI_COMMAND"), environment, failure))
		return false;
	if (environment->command == CNI_VERSION)
		return true;
	for (int i = 0; i < CNI_VARIABLES; i++) {
		const char *value = get(variables[i].name);

		environment->values[i] = value && *value ? value : NULL;
		if (!environment->values[i] &&
		    variables[i].needed_by & 1u << environment->command) {
			if (missing[0])
				strcat(missing, ",");
			strcat(missing, variables[i].name);
		}
	}
	if (missing[0])
		return failure_set(failure, CNI_INVALID_ENVIRONMENT, NULL,
				   "required env variables [%s] missing", missing);
	for (int i = 0; i < CNI_VARIABLES; i++) {
		const char *why =
			environment->values[i] ? objection(i, environment->values[i]) : NULL;

		if (why)
			return failure_set(failure, CNI_INVALID_ENVIRONMENT, why, "invalid %s",
					   variables[i].name);
	}
	return true;
}
