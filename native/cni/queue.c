/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A runtime must be able to delete pods while the agent is away: it would
 * otherwise keep every one of them. The plugin then leaves the request for the
 * agent in the folder `deleteQueue` beside the agent's socket.
 *
 * Format: one file per request, `<sha256>.json`, mode 0600, renamed into place
 * when it is complete:
 *
 *   {"command":"DEL",
 *    "env":{"CNI_CONTAINERID":"…","CNI_NETNS":"…","CNI_IFNAME":"…","CNI_ARGS":"…","CNI_PATH":"…"},
 *    "stdin":"…the network configuration, byte by byte…"}
 *
 * `env` has only the variables that were set. The name is the SHA-256 of the
 * content, so a request that is repeated stays one file. Names that begin with
 * a dot are files being written; `lock` is the lock.
 *
 * Order: the agent replays the queue before its socket listens, before every
 * ADD that finds something in it, and every few seconds, and removes each file
 * when it has done it. So a DEL that was queued while the agent came up is late
 * at most, and never done after an ADD that the runtime called later.
 *
 * Locking: flock() on `lock`. Plugins hold it shared while they write; whoever
 * holds it exclusively, such as somebody who repairs the queue by hand, keeps
 * them out. A plugin that gets the lock tries the socket once more before it
 * writes. The kernel drops the lock of whoever dies.
 */
#define _GNU_SOURCE
#include "queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deadline.h"
#include "sha256.h"

static bool io_failure(struct failure *failure, const char *what, const char *path)
{
	return failure_set(failure, CNI_IO_FAILURE, strerror(errno), "%s %s", what, path);
}

/* mkdir -p of the folder's parents, then of the folder itself, which only root may read. */
static bool make_directory(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		int made;

		*slash = '\0';
		made = mkdir(path, 0755);
		*slash = '/';
		if (made && errno != EEXIST)
			return false;
	}
	return !mkdir(path, 0700) || errno == EEXIST;
}

bool queue_lock(struct queue *queue, const char *socket_path, int64_t deadline,
		struct failure *failure)
{
	int folder_len = strrchr(socket_path, '/') - socket_path;

	queue->directory_fd = queue->lock_fd = -1;
	snprintf(queue->path, sizeof(queue->path), "%.*s/deleteQueue", folder_len, socket_path);
	if (!make_directory(queue->path))
		return io_failure(failure, "make deletion queue directory", queue->path);
	queue->directory_fd = open(queue->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (queue->directory_fd < 0)
		return io_failure(failure, "open deletion queue directory", queue->path);
	queue->lock_fd = openat(queue->directory_fd, "lock",
				O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (queue->lock_fd < 0)
		return io_failure(failure, "open lock of deletion queue directory", queue->path);
	while (flock(queue->lock_fd, LOCK_SH | LOCK_NB)) {
		if (errno == EINTR || (errno == EWOULDBLOCK && deadline_pause(deadline)))
			continue;
		if (errno != EWOULDBLOCK)
			return io_failure(failure, "lock deletion queue directory", queue->path);
		return failure_set(failure, CNI_TRY_AGAIN_LATER,
				   "the agent is starting and empties it",
				   "deletion queue directory %s is locked", queue->path);
	}
	return true;
}

/* How many requests wait; -1 when the folder cannot be read. */
static int count_files(const struct queue *queue)
{
	int fd = openat(queue->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int files = 0;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lock"))
			files++;
	closedir(directory);
	return files;
}

static void build_request(struct buffer *json, const struct environment *environment,
			  const struct buffer *config)
{
	bool first = true;

	buffer_text(json, "{\"command\":");
	buffer_json_string(json, environment->command_name, strlen(environment->command_name));
	buffer_text(json, ",\"env\":{");
	for (int i = 0; i < CNI_VARIABLES; i++) {
		if (!environment->values[i])
			continue;
		buffer_printf(json, "%s\"%s\":", first ? "" : ",", environment_name(i));
		buffer_json_string(json, environment->values[i], strlen(environment->values[i]));
		first = false;
	}
	buffer_text(json, "},\"stdin\":");
	buffer_json_string(json, config->data, config->len);
	buffer_text(json, "}\n");
}

static bool write_file(int directory_fd, const char *name, const struct buffer *content)
{
	int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			0600);
	size_t written = 0;

	if (fd < 0)
		return false;
	while (written < content->len) {
		ssize_t n = write(fd, content->data + written, content->len - written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			close(fd);
			return false;
		}
		written += n;
	}
	return !close(fd);
}

bool queue_write(struct queue *queue, const struct environment *environment,
		 const struct buffer *config, struct failure *failure)
{
	struct buffer json = { 0 };
	char digest[SHA256_HEX_SIZE], name[80], temporary[32];
	int files = count_files(queue);
	bool ok;

	build_request(&json, environment, config);
	if (json.failed) {
		buffer_free(&json);
		return failure_set(failure, CNI_IO_FAILURE, NULL, "queue deletion: out of memory");
	}
	sha256_hex(json.data, json.len, digest);
	snprintf(name, sizeof(name), "%s.json", digest);
	snprintf(temporary, sizeof(temporary), ".%d", (int)getpid());
	if (files >= QUEUE_MAX_FILES && faccessat(queue->directory_fd, name, F_OK, 0)) {
		buffer_free(&json);
		return failure_set(
			failure, CNI_IO_FAILURE, "start the fimbria agent: it empties the queue",
			"deletion queue directory %s has too many entries; aborting", queue->path);
	}
	ok = files >= 0 && write_file(queue->directory_fd, temporary, &json) &&
	     !renameat(queue->directory_fd, temporary, queue->directory_fd, name);
	if (!ok) {
		io_failure(failure, "write to deletion queue directory", queue->path);
		unlinkat(queue->directory_fd, temporary, 0);
	}
	buffer_free(&json);
	return ok;
}

void queue_unlock(struct queue *queue)
{
	if (queue->lock_fd >= 0)
		close(queue->lock_fd);
	if (queue->directory_fd >= 0)
		close(queue->directory_fd);
	queue->lock_fd = queue->directory_fd = -1;
}
