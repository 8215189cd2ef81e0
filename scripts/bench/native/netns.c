/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds network namespaces and runs CNI plugins in one of them, timed from before the start of the plugin to after its
 * exit. Everything it holds is gone when it ends, and it ends with its standard input.
 *
 *   bench-netns [NETNS]          plugins run in NETNS, else in the namespace of the caller
 *
 * Commands, one a line, answered in one line each:
 *   new                                                       the descriptor of a new namespace, loopback up
 *   close FD                                                  lets go of it
 *   cni COMMAND PLUGIN CONFIG CONTAINER NETNS|- ARGS|-        exit status, nanoseconds, what the plugin printed
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE   4096
#define OUTPUT (64 * 1024)

static char output[OUTPUT];

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

static void make_netns(int home)
{
	int fd = -1;

	if (unshare(CLONE_NEWNET) == 0) {
		loopback_up();
		fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	}
	printf("%d %s\n", fd, fd < 0 ? strerror(errno) : "");
	if (setns(home, CLONE_NEWNET))
		exit(1);
}

/* Reads all that the plugin prints, on one line. */
static void read_output(int fd)
{
	size_t length = 0;
	ssize_t got;

	while ((got = read(fd, output + length, sizeof(output) - 1 - length)) > 0)
		length += (size_t)got;
	output[length] = '\0';
	for (size_t i = 0; i < length; i++)
		if (output[i] == '\n' || output[i] == '\r')
			output[i] = ' ';
}

static void run_plugin(char *const words[])
{
	char command[64], container[256], netns[512], args[1024], path[512];
	char *env[] = { command,
			container,
			netns,
			"CNI_IFNAME=eth0",
			path,
			args,
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
			NULL };
	char *argv[] = { words[1], NULL };
	posix_spawn_file_actions_t actions;
	int out[2], status, error;
	uint64_t begin;
	pid_t pid;

	snprintf(command, sizeof(command), "CNI_COMMAND=%s", words[0]);
	snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", words[3]);
	snprintf(netns, sizeof(netns), "CNI_NETNS=%s", strcmp(words[4], "-") ? words[4] : "");
	snprintf(args, sizeof(args), "CNI_ARGS=%s", strcmp(words[5], "-") ? words[5] : "");
	snprintf(path, sizeof(path), "CNI_PATH=%.*s", (int)(strrchr(words[1], '/') - words[1]),
		 words[1]);
	if (pipe2(out, O_CLOEXEC)) {
		printf("-1 0 %s\n", strerror(errno));
		return;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, words[2], O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	begin = now_ns();
	error = posix_spawn(&pid, words[1], &actions, NULL, argv, env);
	close(out[1]);
	if (error) {
		printf("-1 0 %s\n", strerror(error));
	} else {
		read_output(out[0]);
		waitpid(pid, &status, 0);
		printf("%d %llu %s\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		       (unsigned long long)(now_ns() - begin), output);
	}
	posix_spawn_file_actions_destroy(&actions);
	close(out[0]);
}

int main(int argc, char **argv)
{
	struct rlimit many = { .rlim_cur = 4096, .rlim_max = 4096 };
	static char line[LINE];
	int home;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Ctrl-C is for the script, which takes things down in order. */
	signal(SIGINT, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &many);
	home = open(argc > 1 ? argv[1] : "/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0 || setns(home, CLONE_NEWNET)) {
		fprintf(stderr, "%s: %s\n", argc > 1 ? argv[1] : "own namespace", strerror(errno));
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		char *words[8] = { NULL };
		int count = 0;

		for (char *word = strtok(line, " \n"); word && count < 8;
		     word = strtok(NULL, " \n"))
			words[count++] = word;
		if (count == 1 && !strcmp(words[0], "new"))
			make_netns(home);
		else if (count == 2 && !strcmp(words[0], "close"))
			printf("%d\n", close(atoi(words[1])));
		else if (count == 7 && !strcmp(words[0], "cni") && strchr(words[2], '/'))
			run_plugin(words + 1);
		else
			printf("-1 0 bad command\n");
		fflush(stdout);
	}
	return 0;
}
