/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slice of traffic between two network namespaces, client and server on one CPU, nothing but system calls in the
 * measured path.
 *
 *   bench-slice rr|crr|stream CPU MILLISECONDS ADDRESS CLIENT_NETNS SERVER_NETNS [CLIENT_CGROUP SERVER_CGROUP]
 *
 * rr: one byte there and back on one connection; crr: the same with a connection of its own, reset at the end;
 * stream: as many bytes as go. Prints one line of JSON: {"samples":N,"p10Ns":…,"p50Ns":…,"p90Ns":…} or {"mbps":…}.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES   (1 << 20)
#define WARM_UP	      50
#define STREAM_BUFFER (128 * 1024)
#define STUCK_SECONDS 5

enum mode {
	MODE_RR,
	MODE_CRR,
	MODE_STREAM
};

static uint32_t samples[MAX_SAMPLES];
static char buffer[STREAM_BUFFER];

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Puts this process where the pod's own processes are: a socket hook of the node's cgroup then sees it too. */
static void enter(const char *netns, const char *cgroup)
{
	int fd = open(netns, O_RDONLY | O_CLOEXEC);
	char procs[512];

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		die(netns);
	close(fd);
	if (!cgroup || !*cgroup)
		return;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die(procs);
	close(fd);
}

static int tcp_socket(enum mode mode)
{
	struct timeval stuck = { .tv_sec = STUCK_SECONDS };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		die("socket");
	/* A slice that got stuck says so instead of hanging. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stuck, sizeof(stuck));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stuck, sizeof(stuck));
	if (mode != MODE_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* The same control everywhere, whatever the machine's default is; a kernel without it keeps its own. */
	setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", strlen("cubic"));
	return fd;
}

static void echo(int fd)
{
	char byte;

	while (read(fd, &byte, 1) == 1)
		if (write(fd, &byte, 1) != 1)
			return;
}

static void swallow(int fd)
{
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	if (write(fd, "", 1) != 1)
		die("confirm stream");
}

/* Ends with its parent, or when the connection does. */
static void serve(enum mode mode, int tell)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	int listener = tcp_socket(mode);
	int one = 1;

	if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		die("listen");
	if (write(tell, &address.sin_port, sizeof(address.sin_port)) != sizeof(address.sin_port))
		die("tell port");
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			exit(0);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (mode == MODE_STREAM)
			swallow(fd);
		else
			echo(fd);
		close(fd);
	}
}

static int connect_to(enum mode mode, const struct sockaddr_in *server)
{
	int fd = tcp_socket(mode);

	if (connect(fd, (const struct sockaddr *)server, sizeof(*server)))
		die("connect");
	return fd;
}

static void round_trip(int fd)
{
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("round trip");
}

static void transaction(enum mode mode, const struct sockaddr_in *server, int connected)
{
	/* Reset instead of TIME_WAIT: a slice opens thousands, and ports must not run out. */
	struct linger reset = { .l_onoff = 1 };
	int fd;

	if (mode == MODE_RR) {
		round_trip(connected);
		return;
	}
	fd = connect_to(mode, server);
	round_trip(fd);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void measure_latency(enum mode mode, const struct sockaddr_in *server, uint64_t for_ns)
{
	int fd = mode == MODE_RR ? connect_to(mode, server) : -1;
	uint64_t end, before, after;
	size_t count = 0;

	for (int i = 0; i < WARM_UP; i++)
		transaction(mode, server, fd);
	before = now_ns();
	end = before + for_ns;
	do {
		transaction(mode, server, fd);
		after = now_ns();
		samples[count++] = (uint32_t)(after - before);
		before = after;
	} while (after < end && count < MAX_SAMPLES);
	qsort(samples, count, sizeof(samples[0]), ascending);
	printf("{\"samples\":%zu,\"p10Ns\":%u,\"p50Ns\":%u,\"p90Ns\":%u}\n", count,
	       samples[count / 10], samples[count / 2], samples[count * 9 / 10]);
}

static void measure_stream(const struct sockaddr_in *server, uint64_t for_ns)
{
	int fd = connect_to(MODE_STREAM, server);
	uint64_t begin = now_ns(), bytes = 0;
	char byte;

	while (now_ns() - begin < for_ns) {
		ssize_t written = write(fd, buffer, sizeof(buffer));

		if (written < 0)
			die("stream");
		bytes += (uint64_t)written;
	}
	/* The time ends when the other side has read everything, not when our buffer took it. */
	shutdown(fd, SHUT_WR);
	if (read(fd, &byte, 1) != 1)
		die("end of stream");
	printf("{\"mbps\":%.1f}\n", (double)bytes * 8e3 / (double)(now_ns() - begin));
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "rr", "crr", "stream" };
	struct sockaddr_in server = { .sin_family = AF_INET };
	enum mode mode = MODE_RR;
	uint64_t for_ns;
	cpu_set_t cpus;
	pid_t child;
	int tell[2];

	if (argc != 7 && argc != 9) {
		fprintf(stderr, "usage: bench-slice rr|crr|stream CPU MS ADDRESS CLIENT_NETNS "
				"SERVER_NETNS [CLIENT_CGROUP SERVER_CGROUP]\n");
		return 2;
	}
	while (mode < MODE_STREAM && strcmp(argv[1], names[mode]))
		mode++;
	for_ns = strtoull(argv[3], NULL, 10) * 1000000u;
	if (inet_pton(AF_INET, argv[4], &server.sin_addr) != 1) {
		fprintf(stderr, "%s is no IPv4 address\n", argv[4]);
		return 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[2]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("pin to one CPU");
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(tell, O_CLOEXEC))
		die("pipe");
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter(argv[6], argc == 9 ? argv[8] : NULL);
		serve(mode, tell[1]);
	}
	close(tell[1]);
	enter(argv[5], argc == 9 ? argv[7] : NULL);
	if (read(tell[0], &server.sin_port, sizeof(server.sin_port)) != sizeof(server.sin_port)) {
		fprintf(stderr, "the server did not start\n");
		return 1;
	}
	if (mode == MODE_STREAM)
		measure_stream(&server, for_ns);
	else
		measure_latency(mode, &server, for_ns);
	fflush(stdout);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
