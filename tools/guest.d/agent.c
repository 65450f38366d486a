// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's process 1 once its file systems stand: runs the command that
 * tools/guest was given, passes on its output, and reports its status.
 *
 * It talks over virtio ports, each a stream of its own, so that nothing that
 * the kernel prints can get between: guest.out and guest.err carry the
 * command's output, guest.klog the kernel's log, guest.result the status.
 * The command gets pipes, not the ports, because a port opens only once and
 * programs do open /dev/stderr.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONFIG_DIR "/run/guest"

enum limits {
	MAX_WORDS = 4096,
	BUFFER_SIZE = 64 * 1024,
	PORT_TRIES = 500, /* of 10 ms */
};

static int port_out, port_err, port_klog, port_result;
static int kmsg;

static void write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return;
		p += done;
		n -= done;
	}
}

/* There is no udev to name the ports, so look them up as it would. */
static int find_port(const char *name)
{
	char path[600], text[64];
	struct dirent *e;
	int port = -1;
	DIR *d = opendir("/sys/class/virtio-ports");

	while (d && port < 0 && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
		FILE *f = fopen(path, "re");

		if (f && fgets(text, sizeof(text), f)) {
			text[strcspn(text, "\n")] = 0;
			snprintf(path, sizeof(path), "/dev/%s", e->d_name);
			if (strcmp(text, name) == 0)
				port = open(path, O_WRONLY | O_CLOEXEC);
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return port;
}

/* The driver makes ports in the background, so they may be yet to come. */
static int open_port(const char *name)
{
	for (int i = 0; i < PORT_TRIES; i++) {
		int fd = find_port(name);

		if (fd >= 0)
			return fd;
		usleep(10000);
	}
	errx(1, "no port %s", name);
}

/*
 * Pass the kernel's log on as text. A record is "PRIO,SEQ,USEC,FLAGS;TEXT";
 * those that a process wrote (facility above 0) are marked, so that they are
 * not taken for the kernel's own.
 */
static void drain_kmsg(void)
{
	static char record[16 * 1024], line[17 * 1024];
	unsigned int prio;
	unsigned long long seq, usec;
	ssize_t n;

	for (;;) {
		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE) {
			const char *lost = "(kernel log records lost)\n";

			write_all(port_klog, lost, strlen(lost));
			continue;
		}
		if (n <= 0)
			return;
		record[n] = 0;
		char *text = strchr(record, ';');

		if (!text || sscanf(record, "%u,%llu,%llu", &prio, &seq, &usec) != 3)
			continue;
		text++;
		text[strcspn(text, "\n")] = 0; /* what follows are properties */
		n = snprintf(line, sizeof(line), "[%5llu.%06llu] %s%s\n", usec / 1000000,
			     usec % 1000000, prio >= 8 ? "(process) " : "", text);
		write_all(port_klog, line, n);
	}
}

/* Move what is there from a pipe to a port. False at the pipe's end. */
static bool relay(int from, int to)
{
	static char buf[BUFFER_SIZE];

	for (;;) {
		ssize_t n = read(from, buf, sizeof(buf));

		if (n > 0)
			write_all(to, buf, n);
		else
			return n < 0 && (errno == EAGAIN || errno == EINTR);
	}
}

static void child_exec(char **argv, int out, int err)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	dup2(null, 0);
	dup2(out, 1);
	dup2(err, 2);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	fprintf(stderr, "guest: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static void on_child(int sig)
{
	(void)sig; /* only there to end poll() */
}

/* Reap all orphans; tell the status once it is the command's own. */
static bool command_ended(pid_t pid, int *status)
{
	int s;
	pid_t who;

	while ((who = waitpid(-1, &s, WNOHANG)) > 0) {
		if (who == pid) {
			*status = WIFSIGNALED(s) ? 128 + WTERMSIG(s) : WEXITSTATUS(s);
			return true;
		}
	}
	return false;
}

static void make_pipe(int fd[2])
{
	if (pipe2(fd, O_CLOEXEC))
		err(1, "pipe");
	fcntl(fd[0], F_SETFL, O_NONBLOCK);
}

/*
 * Run a command to its end. Processes that it leaves behind may hold the
 * pipes open, so it is the command's end that counts, not the pipes'.
 */
static int run(char **argv)
{
	int out[2], err_[2], status = 0;
	sigset_t blocked, open_;

	make_pipe(out);
	make_pipe(err_);
	sigemptyset(&open_);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, NULL);

	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0)
		child_exec(argv, out[1], err_[1]);
	close(out[1]);
	close(err_[1]);

	struct pollfd p[] = {
		{ .fd = out[0], .events = POLLIN },
		{ .fd = err_[0], .events = POLLIN },
		{ .fd = kmsg, .events = POLLIN },
	};

	while (!command_ended(pid, &status)) {
		if (ppoll(p, 3, NULL, &open_) <= 0)
			continue;
		if (p[0].revents && !relay(out[0], port_out))
			p[0].fd = -1;
		if (p[1].revents && !relay(err_[0], port_err))
			p[1].fd = -1;
		if (p[2].revents)
			drain_kmsg();
	}
	relay(out[0], port_out);
	relay(err_[0], port_err);
	drain_kmsg();
	close(out[0]);
	close(err_[0]);
	return status;
}

/* Read a file of words, each ended by a NUL, so that any word passes. */
static char **read_words(const char *path)
{
	static char *none[] = { NULL };
	char **words = calloc(MAX_WORDS + 1, sizeof(*words));
	size_t size = 0;
	int n = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return none;
	if (!words)
		err(1, "no memory");
	while (n < MAX_WORDS && getdelim(&words[n], &size, '\0', f) > 0) {
		n++;
		size = 0;
	}
	free(words[n]);
	words[n] = NULL;
	fclose(f);
	return words;
}

static void report(const char *what, int status)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s %d\n", what, status);

	write_all(port_result, text, n);
}

static void enter_directory(void)
{
	char **cwd = read_words(CONFIG_DIR "/cwd");

	if (cwd[0] && chdir(cwd[0]) == 0)
		return;
	fprintf(stderr, "guest: %s is not visible, running in /\n", cwd[0] ? cwd[0] : "?");
	if (chdir("/"))
		err(1, "chdir");
}

/* The service's script says itself what went wrong, on standard error. */
static int run_all(void)
{
	char **command = read_words(CONFIG_DIR "/command");
	char **service = read_words(CONFIG_DIR "/service");
	char *start[] = { service[0], "start", NULL };
	char *stop[] = { service[0], "stop", NULL };
	int status = 0;

	report("started", 0);
	if (service[0])
		status = run(start);
	if (status)
		return 1;
	status = run(command);
	if (service[0] && run(stop) && status == 0)
		status = 1;
	return status;
}

static void power_off(void)
{
	kill(-1, SIGTERM);
	sync();
	drain_kmsg();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

int main(void)
{
	struct sigaction child = { .sa_handler = on_child };
	char **env = read_words(CONFIG_DIR "/environment");

	port_result = open_port("guest.result");
	port_klog = open_port("guest.klog");
	port_out = open_port("guest.out");
	port_err = open_port("guest.err");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0)
		err(1, "/dev/kmsg");
	dup2(port_err, 2); /* our own complaints belong there */
	sigaction(SIGCHLD, &child, NULL);
	clearenv();
	for (; *env; env++)
		putenv(*env);
	enter_directory();
	drain_kmsg();

	int status = run_all();

	report("status", status);
	power_off();
}
