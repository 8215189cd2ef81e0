/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "json.h"

#define MIN_TIMEOUT_MS 10
#define MAX_TIMEOUT_MS 600000

static const struct {
	long timeout_ms;
	int needs; /* index of the first version that has the command */
} commands[] = {
	[CNI_ADD] = { 30000, 0 },    [CNI_DEL] = { 10000, 0 }, [CNI_CHECK] = { 10000, 1 },
	[CNI_STATUS] = { 10000, 3 }, [CNI_GC] = { 30000, 3 },  [CNI_VERSION] = { 10000, 0 },
};

static const char *const versions[] = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" };

static bool alphanumeric(char byte)
{
	return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* Whether text is made of letters, digits and `others`, and begins with a letter or digit. */
static bool plain(const char *text, const char *others)
{
	if (!alphanumeric(*text))
		return false;
	for (; *text; text++)
		if (!alphanumeric(*text) && !strchr(others, *text))
			return false;
	return true;
}

static bool read_version(const struct json_value *root, struct config *config,
			 struct failure *failure)
{
	const struct json_value *value = json_member(root, "cniVersion");
	const char *text = json_string(value);

	if (!value)
		return true; /* no version: check_version says what that means */
	if (!text || !plain(text, ".-+") || strlen(text) >= sizeof(config->version))
		return failure_set(
			failure, CNI_DECODE_FAILURE, NULL,
			"failed to decode network config: cniVersion must be a version such as \"1.0.0\"");
	strcpy(config->version, text);
	return true;
}

static bool check_version(const struct json_value *root, const struct config *config,
			  enum cni_command command, struct failure *failure)
{
	int count = sizeof(versions) / sizeof(*versions), found = 0;
	char details[128];

	snprintf(details, sizeof(details),
		 "config is \"%s\", plugin supports [0.3.1 0.4.0 1.0.0 1.1.0]",
		 json_member(root, "cniVersion") ? config->version : "");
	while (found < count && strcmp(config->version, versions[found]))
		found++;
	if (found == count || !json_member(root, "cniVersion"))
		return failure_set(failure, CNI_INCOMPATIBLE_VERSION, details,
				   "incompatible CNI versions");
	if (found < commands[command].needs)
		return failure_set(failure, CNI_INCOMPATIBLE_VERSION, details,
				   "config version does not allow this command; it came with %s",
				   versions[commands[command].needs]);
	return true;
}

static bool check_name(const struct json_value *root, struct failure *failure)
{
	const char *name = json_string(json_member(root, "name"));

	if (!name || !plain(name, "_.-"))
		return failure_set(
			failure, CNI_INVALID_CONFIG, NULL,
			"invalid network config: name must be a string of letters, digits, "
			"'_', '.', '-' that begins with a letter or digit");
	return true;
}

static bool read_socket(const struct json_value *root, struct config *config,
			struct failure *failure)
{
	const struct json_value *value = json_member(root, "socket");
	const char *text = value ? json_string(value) : CONFIG_DEFAULT_SOCKET;

	if (!text || text[0] != '/' || strlen(text) >= sizeof(config->socket))
		return failure_set(
			failure, CNI_INVALID_CONFIG, NULL,
			"invalid network config: socket must be an absolute path of at most %zu bytes",
			sizeof(config->socket) - 1);
	strcpy(config->socket, text);
	return true;
}

static bool read_timeout(const struct json_value *root, enum cni_command command,
			 struct config *config, struct failure *failure)
{
	const struct json_value *value = json_member(root, "timeoutMs");

	config->timeout_ms = commands[command].timeout_ms;
	if (value && !json_integer(value, MIN_TIMEOUT_MS, MAX_TIMEOUT_MS, &config->timeout_ms))
		return failure_set(
			failure, CNI_INVALID_CONFIG, NULL,
			"invalid network config: timeoutMs must be an integer from %d to %d",
			MIN_TIMEOUT_MS, MAX_TIMEOUT_MS);
	return true;
}

bool config_read(const char *data, size_t len, enum cni_command command, struct config *config,
		 struct failure *failure)
{
	struct json_error error;
	struct json_value *root;
	char details[128];
	bool ok;

	strcpy(config->version, CNI_NEWEST_VERSION);
	/* Runtimes older than the specification's 0.2.0 ask for the version with nothing on stdin. */
	if (command == CNI_VERSION && !len)
		return true;
	root = json_parse(data, len, &error);
	if (!root) {
		snprintf(details, sizeof(details), "%s at byte %zu", error.why, error.offset);
		return failure_set(failure, CNI_DECODE_FAILURE, details,
				   "failed to decode network config from stdin");
	}
	if (root->type != JSON_OBJECT)
		ok = failure_set(failure, CNI_INVALID_CONFIG, NULL,
				 "invalid network config: it must be a JSON object");
	else if (command == CNI_VERSION)
		ok = read_version(root, config, failure);
	else
		ok = read_version(root, config, failure) &&
		     check_version(root, config, command, failure) && check_name(root, failure) &&
		     read_socket(root, config, failure) &&
		     read_timeout(root, command, config, failure);
	json_free(root);
	return ok;
}
