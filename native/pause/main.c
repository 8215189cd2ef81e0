// SPDX-License-Identifier: Apache-2.0
/*
 * fimbria-pause: the one program that holds and enters the lab's namespaces.
 *
 * A namespace of the lab lives exactly as long as the processes in it: nothing is bind-mounted
 * where the machine could see it, so that killing every process leaves no namespace behind.
 *
 *   without CMD                 sets up what it is told, says so on --ready-fd, and sleeps
 *   CMD with --exec             enters, and becomes CMD (the command line is then CMD's own)
 *   CMD without --exec          enters, runs CMD, writes how it ended to --status-file
 *
 * It is linked statically, so that it works in any mount namespace, and says nothing unless
 * something fails. Errors read "verb object: cause", on --ready-fd where given, else on stderr.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_REPEATED	16
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND	127

struct options {
	bool new_net;
	bool new_mount;
	bool exec;
	const char *join_net;
	const char *join_mount;
	const char *cgroup;
	const char *sys_cgroup;
	const char *bpffs;
	const char *status_file;
	const char *binds[MAX_REPEATED];
	int bind_count;
	const char *sysctls[MAX_REPEATED];
	int sysctl_count;
	char **command;
};

static int ready_fd = -1;
static volatile sig_atomic_t child_pid;

static int report_fd(void)
{
	return ready_fd >= 0 ? ready_fd : STDERR_FILENO;
}

/* People see whose error it is; the program that reads --ready-fd knows. */
static const char *report_prefix(void)
{
	return ready_fd >= 0 ? "" : "fimbria: ";
}

/* Says what failed to whoever waits for us, and ends. */
static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	int saved_errno = errno;
	char text[PATH_MAX + 128];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (length < 0)
		length = 0;
	if ((size_t)length >= sizeof(text))
		length = sizeof(text) - 1;
	dprintf(report_fd(), "%s%.*s: %s\n", report_prefix(), length, text, strerror(saved_errno));
	exit(EXIT_CANNOT_RUN);
}

static void __attribute__((noreturn)) usage(const char *why)
{
	dprintf(STDERR_FILENO,
		"fimbria-pause: %s; usage: fimbria-pause --lab NAME --role ROLE --name NAME\n"
		"  [--new-net] [--new-mount] [--join-net PATH] [--join-mount PATH] [--cgroup DIR]\n"
		"  [--fresh-sys CGROUP_DIR] [--bpffs DIR] [--bind SOURCE:TARGET]...\n"
		"  [--sysctl PATH=VALUE]... [--ready-fd N] [--status-file PATH] [--exec] [-- CMD ARGS...]\n",
		why);
	exit(2);
}

static void write_file(const char *path, const char *text)
{
	size_t length = strlen(text);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		die("open %s", path);
	if (write(fd, text, length) != (ssize_t)length)
		die("write %s", path);
	close(fd);
}

static void join_cgroup(const char *dir)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	write_file(path, "0");
}

static int open_namespace(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("open namespace %s", path);
	return fd;
}

/* Entering a mount namespace moves us to its root: go back to the directory we were called in. */
static void join_namespaces(const struct options *o)
{
	int net = o->join_net ? open_namespace(o->join_net) : -1;
	int mount_ns = o->join_mount ? open_namespace(o->join_mount) : -1;
	char cwd[PATH_MAX];

	if (net >= 0 && setns(net, CLONE_NEWNET) < 0)
		die("enter network namespace %s", o->join_net);
	if (mount_ns < 0)
		return;
	if (!getcwd(cwd, sizeof(cwd)))
		die("read working directory");
	if (setns(mount_ns, CLONE_NEWNS) < 0)
		die("enter mount namespace %s", o->join_mount);
	if (chdir(cwd) < 0 && chdir("/") < 0)
		die("change to directory /");
}

/*
 * A sysfs shows the devices of the network namespace it was mounted in, so a node needs its own.
 * Below it the node sees one cgroup2 tree, its own: a program attached to "the root" of it can
 * only ever meet the node's processes.
 */
static void mount_sys(const char *cgroup_dir)
{
	/* A detached copy: it outlives the unmounting of the tree that it comes from. */
	int cgroup_fd = open_tree(AT_FDCWD, cgroup_dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (cgroup_fd < 0)
		die("open cgroup %s", cgroup_dir);
	if (umount2("/sys", MNT_DETACH) < 0 && errno != EINVAL)
		die("unmount /sys");
	if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		die("mount sysfs on /sys");
	if (move_mount(cgroup_fd, "", AT_FDCWD, "/sys/fs/cgroup", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		die("mount cgroup %s on /sys/fs/cgroup", cgroup_dir);
	close(cgroup_fd);
}

static void bind_mount(const char *spec)
{
	const char *colon = strchr(spec, ':');
	char source[PATH_MAX];

	if (!colon)
		usage("--bind needs SOURCE:TARGET");
	snprintf(source, sizeof(source), "%.*s", (int)(colon - spec), spec);
	if (mount(source, colon + 1, NULL, MS_BIND, NULL) < 0)
		die("bind %s to %s", source, colon + 1);
}

static void set_sysctl(const char *spec)
{
	const char *equals = strchr(spec, '=');
	char path[PATH_MAX];

	if (!equals)
		usage("--sysctl needs PATH=VALUE");
	snprintf(path, sizeof(path), "/proc/sys/%.*s", (int)(equals - spec), spec);
	write_file(path, equals + 1);
}

/* A namespace is born with its loopback device down, which no machine has. */
static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("open socket");
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		die("read flags of link lo");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		die("set link lo up");
	close(fd);
}

static void set_up(const struct options *o)
{
	int flags = (o->new_net ? CLONE_NEWNET : 0) | (o->new_mount ? CLONE_NEWNS : 0);
	int i;

	if (o->cgroup)
		join_cgroup(o->cgroup);
	join_namespaces(o);
	if (flags && unshare(flags) < 0)
		die("unshare namespaces");
	if (o->new_mount && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("make mounts private");
	if (o->sys_cgroup)
		mount_sys(o->sys_cgroup);
	if (o->bpffs &&
	    mount("bpf", o->bpffs, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
		die("mount bpffs on %s", o->bpffs);
	for (i = 0; i < o->bind_count; i++)
		bind_mount(o->binds[i]);
	if (o->new_net)
		loopback_up();
	for (i = 0; i < o->sysctl_count; i++)
		set_sysctl(o->sysctls[i]);
}

static void say_ready(void)
{
	if (ready_fd < 0)
		return;
	dprintf(ready_fd, "ok\n");
	close(ready_fd);
	ready_fd = -1;
}

static void forward_signal(int signal_number)
{
	if (child_pid > 0)
		kill((pid_t)child_pid, signal_number);
}

/* By rename, so that a reader never sees half a line. */
static void write_status(const char *path, int status)
{
	char temporary[PATH_MAX];
	int fd;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (WIFSIGNALED(status))
		dprintf(fd, "signal %d\n", WTERMSIG(status));
	else
		dprintf(fd, "exit %d\n", WEXITSTATUS(status));
	close(fd);
	rename(temporary, path);
}

static void __attribute__((noreturn)) become(char **command)
{
	int code;

	execvp(command[0], command);
	code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
	dprintf(report_fd(), "%srun %s: %s\n", report_prefix(), command[0], strerror(errno));
	exit(code);
}

/* Passes on why CMD has not begun; false when it has: then the pipe just ends. */
static bool tell_failure(int begun)
{
	char why[256];
	ssize_t bytes;

	do
		bytes = read(begun, why, sizeof(why));
	while (bytes < 0 && errno == EINTR);
	close(begun);
	if (bytes <= 0)
		return false;
	dprintf(report_fd(), "%.*s", (int)bytes, why);
	return true;
}

static int supervise(const struct options *o)
{
	struct sigaction forward = { .sa_handler = forward_signal };
	sigset_t blocked, before;
	int begun[2];
	bool failed;
	int status;
	pid_t pid;

	if (pipe2(begun, O_CLOEXEC) < 0)
		die("pipe");
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		/* Whoever kills us ends the command too. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		if (ready_fd >= 0) {
			close(ready_fd);
			ready_fd = begun[1];
		}
		become(o->command);
	}
	close(begun[1]);
	child_pid = pid;
	sigaction(SIGTERM, &forward, NULL);
	sigaction(SIGINT, &forward, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	failed = tell_failure(begun[0]);
	if (!failed)
		say_ready();
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			die("wait for %s", o->command[0]);
	}
	if (o->status_file && !failed)
		write_status(o->status_file, status);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void append(const char **list, int *count, const char *value)
{
	if (*count == MAX_REPEATED)
		usage("too many values for one option");
	list[(*count)++] = value;
}

static struct options parse(int argc, char **argv)
{
	enum {
		LABEL = 1,
		NEW_NET,
		NEW_MOUNT,
		JOIN_NET,
		JOIN_MOUNT,
		CGROUP,
		FRESH_SYS,
		BPFFS,
		BIND,
		SYSCTL,
		READY_FD,
		STATUS_FILE,
		EXEC
	};
	/* The LABEL options mean something only to who reads the command line in /proc. */
	static const struct option known[] = {
		{ "lab", required_argument, NULL, LABEL },
		{ "role", required_argument, NULL, LABEL },
		{ "name", required_argument, NULL, LABEL },
		{ "node", required_argument, NULL, LABEL },
		{ "uid", required_argument, NULL, LABEL },
		{ "container-id", required_argument, NULL, LABEL },
		{ "new-net", no_argument, NULL, NEW_NET },
		{ "new-mount", no_argument, NULL, NEW_MOUNT },
		{ "join-net", required_argument, NULL, JOIN_NET },
		{ "join-mount", required_argument, NULL, JOIN_MOUNT },
		{ "cgroup", required_argument, NULL, CGROUP },
		{ "fresh-sys", required_argument, NULL, FRESH_SYS },
		{ "bpffs", required_argument, NULL, BPFFS },
		{ "bind", required_argument, NULL, BIND },
		{ "sysctl", required_argument, NULL, SYSCTL },
		{ "ready-fd", required_argument, NULL, READY_FD },
		{ "status-file", required_argument, NULL, STATUS_FILE },
		{ "exec", no_argument, NULL, EXEC },
		{},
	};
	struct options o = {};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "+", known, NULL)) != -1) {
		switch (option) {
		case LABEL:
			break;
		case NEW_NET:
			o.new_net = true;
			break;
		case NEW_MOUNT:
			o.new_mount = true;
			break;
		case JOIN_NET:
			o.join_net = optarg;
			break;
		case JOIN_MOUNT:
			o.join_mount = optarg;
			break;
		case CGROUP:
			o.cgroup = optarg;
			break;
		case FRESH_SYS:
			o.sys_cgroup = optarg;
			break;
		case BPFFS:
			o.bpffs = optarg;
			break;
		case BIND:
			append(o.binds, &o.bind_count, optarg);
			break;
		case SYSCTL:
			append(o.sysctls, &o.sysctl_count, optarg);
			break;
		case READY_FD:
			ready_fd = atoi(optarg);
			break;
		case STATUS_FILE:
			o.status_file = optarg;
			break;
		case EXEC:
			o.exec = true;
			break;
		default:
			usage("unknown option, or a value is missing");
		}
	}
	if (optind < argc)
		o.command = argv + optind;
	if (o.exec && !o.command)
		usage("--exec needs a command");
	return o;
}

int main(int argc, char **argv)
{
	struct options o = parse(argc, argv);

	/* With --exec the descriptor closes by itself when CMD has begun: end of file means success. */
	if (ready_fd >= 0 && fcntl(ready_fd, F_SETFD, FD_CLOEXEC) < 0)
		usage("--ready-fd is not open");
	set_up(&o);
	if (o.exec)
		become(o.command);
	if (o.command)
		return supervise(&o);
	signal(SIGHUP, SIG_IGN);
	say_ready();
	for (;;)
		pause();
}
