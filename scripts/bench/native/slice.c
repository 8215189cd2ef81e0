/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slice of traffic between two network namespaces, client and server on one CPU, nothing but system calls in the
 * measured path.
 *
 *   bench-slice rr|crr|connect|stream CPU MILLISECONDS ADDRESS CLIENT_NETNS SERVER_NETNS
 *               [CLIENT_CGROUP SERVER_CGROUP [PORT SERVER_PORT]]
 *
 * rr: one byte there and back on one connection; crr: the same with a connection of its own, reset at the end;
 * connect: of such a connection the connect call alone; stream: as many bytes as go. Prints one line of JSON:
 * {"samples":N,"p10Ns":…,"p50Ns":…,"p90Ns":…} or {"mbps":…}. With ports the client asks for ADDRESS:PORT, which may be
 * a service's, and servers listen on SERVER_PORT and the port after it: a service with two backends has both.
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
	MODE_CONNECT,
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
static void serve(enum mode mode, int tell, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t length = sizeof(address);
	int listener = tcp_socket(mode);
	int one = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
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

/* Returns the connection, and how long the call took. */
static int connect_to(enum mode mode, const struct sockaddr_in *server, uint64_t *took_ns)
{
	int fd = tcp_socket(mode);
	uint64_t before = now_ns();

	if (connect(fd, (const struct sockaddr *)server, sizeof(*server)))
		die("connect");
	*took_ns = now_ns() - before;
	return fd;
}

static void round_trip(int fd)
{
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("round trip");
}

/* Returns the nanoseconds that are measured. */
static uint64_t transaction(enum mode mode, const struct sockaddr_in *server, int connected)
{
	/* Reset instead of TIME_WAIT: a slice opens thousands, and ports must not run out. */
	struct linger reset = { .l_onoff = 1 };
	uint64_t before = now_ns(), connect_ns;
	int fd;

	if (mode == MODE_RR) {
		round_trip(connected);
		return now_ns() - before;
	}
	fd = connect_to(mode, server, &connect_ns);
	/* In every mode: the server gets its turn, so that connections do not queue up before it. */
	round_trip(fd);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	return mode == MODE_CONNECT ? connect_ns : now_ns() - before;
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void measure_latency(enum mode mode, const struct sockaddr_in *server, uint64_t for_ns)
{
	uint64_t end, unused;
	int fd = mode == MODE_RR ? connect_to(mode, server, &unused) : -1;
	size_t count = 0;

	for (int i = 0; i < WARM_UP; i++)
		transaction(mode, server, fd);
	end = now_ns() + for_ns;
	do {
		samples[count++] = (uint32_t)transaction(mode, server, fd);
	} while (now_ns() < end && count < MAX_SAMPLES);
	qsort(samples, count, sizeof(samples[0]), ascending);
	printf("{\"samples\":%zu,\"p10Ns\":%u,\"p50Ns\":%u,\"p90Ns\":%u}\n", count,
	       samples[count / 10], samples[count / 2], samples[count * 9 / 10]);
}

static void measure_stream(const struct sockaddr_in *server, uint64_t for_ns)
{
	uint64_t begin, bytes = 0;
	int fd = connect_to(MODE_STREAM, server, &begin);
	char byte;

	begin = now_ns();

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

/* Starts a server in its namespace; its port is what it tells, when it listens. */
static pid_t start_server(enum mode mode, const char *netns, const char *cgroup, int tell,
			  uint16_t port)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter(netns, cgroup);
		serve(mode, tell, port);
	}
	return child;
}

static void end_server(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static in_port_t heard_port(int from)
{
	in_port_t port;

	if (read(from, &port, sizeof(port)) != sizeof(port)) {
		fprintf(stderr, "the server did not start\n");
		exit(1);
	}
	return port;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "rr", "crr", "connect", "stream" };
	struct sockaddr_in server = { .sin_family = AF_INET };
	enum mode mode = MODE_RR;
	uint16_t port = 0;
	uint64_t for_ns;
	cpu_set_t cpus;
	pid_t children[2];
	int tell[2], count = 1;

	if (argc != 7 && argc != 9 && argc != 11) {
		fprintf(stderr,
			"usage: bench-slice rr|crr|connect|stream CPU MS ADDRESS CLIENT_NETNS "
			"SERVER_NETNS [CLIENT_CGROUP SERVER_CGROUP [PORT SERVER_PORT]]\n");
		return 2;
	}
	while (mode < MODE_STREAM && strcmp(argv[1], names[mode]))
		mode++;
	for_ns = strtoull(argv[3], NULL, 10) * 1000000u;
	if (inet_pton(AF_INET, argv[4], &server.sin_addr) != 1) {
		fprintf(stderr, "%s is no IPv4 address\n", argv[4]);
		return 2;
	}
	if (argc == 11) {
		port = (uint16_t)atoi(argv[10]);
		count = 2;
	}
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[2]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("pin to one CPU");
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(tell, O_CLOEXEC))
		die("pipe");
	for (int i = 0; i < count; i++)
		children[i] = start_server(mode, argv[6], argc > 7 ? argv[8] : NULL, tell[1],
					   (uint16_t)(port ? port + i : 0));
	close(tell[1]);
	enter(argv[5], argc > 7 ? argv[7] : NULL);
	for (int i = 0; i < count; i++)
		server.sin_port = heard_port(tell[0]);
	if (argc == 11)
		server.sin_port = htons((uint16_t)atoi(argv[9]));
	if (mode == MODE_STREAM)
		measure_stream(&server, for_ns);
	else
		measure_latency(mode, &server, for_ns);
	fflush(stdout);
	for (int i = 0; i < count; i++)
		end_server(children[i]);
	return 0;
}
