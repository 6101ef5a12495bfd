/*
 * A service manager for one service, as far as sd_notify(3) goes: what systemd does for a unit of Type=notify with
 * NotifyAccess=main and KillMode=control-group.
 *
 *   manager EVENTS SOCKET PROGRAM [ARGUMENT...]
 *
 * It starts the program as the main process of the service, and adopts what that leaves behind (it is a child
 * subreaper). Messages to the socket count if the main process sends them; MAINPID= makes another process the main one,
 * if that is one of the service. When the main process ends, so does the service: SIGTERM to all that is left of it,
 * SIGKILL five seconds later. The manager exits when all are gone, with the status of the last main process.
 *
 * Signals: SIGTERM stops the service (SIGTERM to all of its processes), SIGHUP, SIGUSR1, SIGUSR2 and SIGINT go to
 * the main process, as ExecReload= would send them. If the one who started it ends, everything does, at once.
 *
 * What happens is appended to EVENTS, one line per event: milliseconds of the monotonic clock, the event, the process,
 * a text.
 *
 *   main PID -                 this is the main process from now on
 *   message PID LINE;LINE      from the main process
 *   rejected PID LINE;LINE     from another one
 *   ended PID STATUS           as a shell counts it: 128 + N for signal N
 *   over 0 -                   nothing is left
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 5000 /* milliseconds from SIGTERM to SIGKILL */
#define PIDS 65536

static FILE *events;
static pid_t main_pid;

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void event(const char *what, pid_t pid, const char *text)
{
	fprintf(events, "%ld %s %d %s\n", now(), what, pid, text);
	fflush(events);
}

/* The parent of a process; 0 if there is none. */
static pid_t parent(pid_t pid)
{
	char path[64], line[512];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	size_t count = fread(line, 1, sizeof line - 1, file);
	fclose(file);
	line[count] = 0;
	int found = 0;
	char *rest = strrchr(line, ')');
	if (!rest || sscanf(rest, ") %*c %d", &found) != 1)
		return 0;
	return found;
}

static int is_ours(pid_t pid)
{
	pid_t self = getpid();
	for (int depth = 0; depth < 100 && pid > 1; depth++) {
		pid = parent(pid);
		if (pid == self)
			return 1;
	}
	return 0;
}

/* Sends a signal to all processes of the service. */
static void signal_all(int number)
{
	static pid_t ours[PIDS];
	size_t count = 0;
	DIR *directory = opendir("/proc");
	if (!directory)
		err(1, "/proc");
	for (struct dirent *entry; (entry = readdir(directory));) {
		pid_t pid = atoi(entry->d_name);
		if (pid > 0 && count < PIDS && is_ours(pid))
			ours[count++] = pid;
	}
	closedir(directory);
	for (size_t at = 0; at < count; at++)
		kill(ours[at], number);
}

static void set_main(pid_t pid)
{
	main_pid = pid;
	event("main", pid, "-");
}

static pid_t start(char **argv, const sigset_t *mask, const char *socket_path)
{
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid > 0)
		return pid;
	char own[16];
	snprintf(own, sizeof own, "%d", getpid());
	setenv("NOTIFY_SOCKET", socket_path, 1);
	if (getenv("WATCHDOG_USEC"))
		setenv("WATCHDOG_PID", own, 1);
	if (getenv("LISTEN_FDS"))
		setenv("LISTEN_PID", own, 1);
	sigprocmask(SIG_UNBLOCK, mask, NULL);
	execvp(argv[0], argv);
	err(127, "%s", argv[0]);
}

static void receive(int socket)
{
	char text[4096];
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec vector = {text, sizeof text - 1};
	struct msghdr message = {.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control};
	ssize_t count = recvmsg(socket, &message, MSG_DONTWAIT);
	if (count < 0)
		return;
	text[count] = 0;
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	struct ucred sender = {0};
	if (head && head->cmsg_type == SCM_CREDENTIALS)
		memcpy(&sender, CMSG_DATA(head), sizeof sender);
	char flat[sizeof text];
	strcpy(flat, text);
	for (char *at = flat; (at = strchr(at, '\n'));)
		*at = ';';
	if (sender.pid != main_pid) {
		event("rejected", sender.pid, flat);
		return;
	}
	event("message", sender.pid, flat);
	char *line = strstr(text, "MAINPID=");
	if (line && (line == text || line[-1] == '\n')) {
		pid_t pid = atoi(line + strlen("MAINPID="));
		if (pid > 1 && is_ours(pid))
			set_main(pid);
		else
			event("rejected", pid, "is not a process of the service");
	}
}

int main(int argc, char **argv)
{
	if (argc < 4)
		errx(2, "usage: manager EVENTS SOCKET PROGRAM [ARGUMENT...]");
	events = fopen(argv[1], "ae");
	if (!events)
		err(1, "%s", argv[1]);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		err(1, "subreaper");
	sigset_t mask;
	sigemptyset(&mask);
	const int numbers[] = {SIGCHLD, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT};
	for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
		sigaddset(&mask, numbers[at]);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	prctl(PR_SET_PDEATHSIG, SIGQUIT);

	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[2]);
	int socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int yes = 1;
	if (socket_fd < 0 || bind(socket_fd, (struct sockaddr *)&address, sizeof address) ||
		setsockopt(socket_fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes))
		err(1, "%s", argv[2]);

	set_main(start(argv + 3, &mask, argv[2]));
	int main_status = 0;
	long deadline = 0;
	for (;;) {
		struct pollfd wait[] = {{signals, POLLIN, 0}, {socket_fd, POLLIN, 0}};
		poll(wait, 2, deadline ? 50 : -1);
		if (deadline && now() >= deadline)
			signal_all(SIGKILL);
		/* Before ends are looked at: who said something has said it before it ended. */
		if (wait[1].revents) {
			receive(socket_fd);
			continue;
		}
		struct signalfd_siginfo info;
		while (read(signals, &info, sizeof info) == sizeof info) {
			switch (info.ssi_signo) {
			case SIGCHLD:
				break;
			case SIGQUIT:
				for (int round = 0; round < 3; round++)
					signal_all(SIGKILL);
				_exit(1);
			case SIGTERM:
				signal_all(SIGTERM);
				if (!deadline && getenv("MANAGER_STOP_MS"))
					deadline = now() + atol(getenv("MANAGER_STOP_MS"));
				break;
			default:
				kill(main_pid, (int)info.ssi_signo);
			}
		}
		int status;
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) != 0;) {
			if (pid < 0) {
				event("over", 0, "-");
				return main_status;
			}
			int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			char text[16];
			snprintf(text, sizeof text, "%d", code);
			event("ended", pid, text);
			if (pid == main_pid) {
				main_status = code;
				main_pid = 0;
				signal_all(SIGTERM);
				if (!deadline)
					deadline = now() + PATIENCE;
			}
		}
	}
}
