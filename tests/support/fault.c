/*
 * Calls of the C library that fail by rule.
 *
 * A test preloads this library into the gateway (LD_PRELOAD, ld.so(8)) and names a file in FAULT_CONTROL, which is
 * mapped here: `struct control`. The test writes rules into that file, also while the gateway runs, and reads from it
 * how often each rule matched and how often it did what it says. fault.rs has the same layout.
 *
 * A rule names a call, and may name the thread that makes it (its name as prctl(2) gives it), what it is made on (the
 * kind of descriptor, or a part of the path), and one argument of it. Of the calls that match, each is hit with a
 * chance of `per_mille`, until `limit` were hit. A call that is hit waits first, if there is a delay; its connection is reset, if it is to be; it moves less than it was asked to, if it
 * is to be short; or it fails with an error and does nothing at all.
 *
 * A descriptor has the kind of what made it: "socket", "bound", "listen", "member" (connected by us), "client"
 * (accepted), "udp", "unix", "event", "pipe", "file"; others have none.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES 1024
#define DESCRIPTORS 65536
#define ANY UINT32_MAX
enum { SHORT = 1, RESET = 2 };

struct rule {
	char call[16];
	char thread[16]; /* empty: any */
	char on[32];     /* the same */
	uint32_t arg;    /* ANY: any */
	uint32_t per_mille;
	uint32_t limit; /* 0: none */
	uint32_t error; /* 0: none */
	uint32_t delay_us;
	uint32_t effects;
	uint64_t matched;
	uint64_t hit;
};

struct control {
	uint64_t in_force; /* the first rule, and in the upper half the one behind the last */
	uint64_t seed;
	uint64_t loaded; /* set here */
	uint64_t unused;
	struct rule rules[RULES];
};

static struct control *control;
static const char *kinds[DESCRIPTORS];

#define REAL(name)                                                                                                     \
	static __typeof__(&name) real;                                                                                     \
	if (!real)                                                                                                         \
	real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void load(void)
{
	const char *path = getenv("FAULT_CONTROL");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
	if (fd == -1)
		return;
	void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	control = map;
	__atomic_add_fetch(&control->loaded, 1, __ATOMIC_SEQ_CST);
}

/* xorshift64*, of each thread its own. */
static uint64_t next_random(void)
{
	static uint64_t threads;
	static __thread uint64_t state;
	if (!state)
		state = (control->seed + __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED)) * 0x9e3779b97f4a7c15 | 1;
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1d) >> 16;
}

static void note(int fd, const char *kind)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		kinds[fd] = kind;
}

static const char *kind_of(int fd)
{
	const char *kind = fd >= 0 && fd < DESCRIPTORS ? kinds[fd] : NULL;
	return kind ? kind : "";
}

static int matches(const struct rule *rule, const char *call, const char *on, uint32_t arg)
{
	if (strncmp(rule->call, call, sizeof rule->call) || (rule->arg != ANY && rule->arg != arg))
		return 0;
	/* Kinds are told apart by their whole name, paths by a part of it. */
	if (*rule->on && (*on == '/' ? !strstr(on, rule->on) : strcmp(on, rule->on)))
		return 0;
	char name[16] = "";
	return !*rule->thread || (!prctl(PR_GET_NAME, name) && !strcmp(name, rule->thread));
}

/* Resets a connection as connect(2) on AF_UNSPEC does. */
static int reset(int fd)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
	return syscall(SYS_connect, fd, &nowhere, sizeof nowhere) == 0;
}

/* What the rules say of a call: the number of an error, or zero. `length` is what it is to move at most. */
static int strike(const char *call, int fd, const char *on, uint32_t arg, size_t *length)
{
	if (!control)
		return 0;
	int before = errno;
	uint64_t in_force = __atomic_load_n(&control->in_force, __ATOMIC_SEQ_CST);
	for (uint64_t at = in_force & 0xffffffff; at < in_force >> 32 && at < RULES; at++) {
		struct rule *rule = &control->rules[at];
		if (!matches(rule, call, on, arg))
			continue;
		__atomic_fetch_add(&rule->matched, 1, __ATOMIC_SEQ_CST);
		if (next_random() % 1000 >= rule->per_mille || ((rule->effects & SHORT) && (!length || *length < 2)))
			continue;
		uint64_t hit = __atomic_fetch_add(&rule->hit, 1, __ATOMIC_SEQ_CST);
		if ((rule->limit && hit >= rule->limit) || ((rule->effects & RESET) && !reset(fd))) {
			__atomic_fetch_sub(&rule->hit, 1, __ATOMIC_SEQ_CST);
			continue;
		}
		if (rule->delay_us) {
			struct timespec delay = {rule->delay_us / 1000000, rule->delay_us % 1000000 * 1000};
			syscall(SYS_nanosleep, &delay, NULL);
		}
		if (rule->effects & SHORT)
			*length = 1 + next_random() % (*length - 1);
		if (rule->error)
			return (int)rule->error;
	}
	errno = before;
	return 0;
}

#define FAIL(call, fd, on, arg, length)                                                                                \
	do {                                                                                                               \
		int error = strike(call, fd, on, arg, length);                                                                 \
		if (error) {                                                                                                   \
			errno = error;                                                                                             \
			return -1;                                                                                                 \
		}                                                                                                              \
	} while (0)
#define MAKE(call, on, arg) FAIL(call, -1, on, (uint32_t)(arg), NULL)
#define DO(call, arg) FAIL(call, fd, kind_of(fd), (uint32_t)(arg), NULL)
#define MOVE(call) FAIL(call, fd, kind_of(fd), 0, &length)

/* A call that the rules are asked about, and that is as it was otherwise. */
#define PLAIN(type, name, ask, parameters, arguments)                                                                  \
	type name parameters                                                                                               \
	{                                                                                                                  \
		REAL(name);                                                                                                    \
		ask;                                                                                                           \
		return real arguments;                                                                                         \
	}

typedef __SOCKADDR_ARG address_t;
typedef __CONST_SOCKADDR_ARG const_address_t;

PLAIN(ssize_t, recv, MOVE("recv"), (int fd, void *to, size_t length, int flags), (fd, to, length, flags))
PLAIN(ssize_t, recvfrom, MOVE("recvfrom"),
      (int fd, void *to, size_t length, int flags, address_t from, socklen_t *size), (fd, to, length, flags, from, size))
PLAIN(ssize_t, read, MOVE("read"), (int fd, void *to, size_t length), (fd, to, length))
PLAIN(ssize_t, send, MOVE("send"), (int fd, const void *from, size_t length, int flags), (fd, from, length, flags))
PLAIN(ssize_t, sendto, MOVE("sendto"),
      (int fd, const void *from, size_t length, int flags, const_address_t to, socklen_t size),
      (fd, from, length, flags, to, size))
PLAIN(ssize_t, write, MOVE("write"), (int fd, const void *from, size_t length), (fd, from, length))
PLAIN(ssize_t, writev, DO("writev", 0), (int fd, const struct iovec *parts, int count), (fd, parts, count))
PLAIN(ssize_t, getrandom, FAIL("getrandom", -1, "", flags, &length), (void *to, size_t length, unsigned flags),
      (to, length, flags))
PLAIN(int, poll, FAIL("poll", count ? fds[0].fd : -1, count ? kind_of(fds[0].fd) : "", (uint32_t)count, NULL),
      (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
PLAIN(int, shutdown, DO("shutdown", how), (int fd, int how), (fd, how))
PLAIN(int, getsockname, DO("getsockname", 0), (int fd, address_t name, socklen_t *size), (fd, name, size))
PLAIN(int, getpeername, DO("getpeername", 0), (int fd, address_t name, socklen_t *size), (fd, name, size))
/* The argument of an option's rule is its level times 1000 and the option. */
PLAIN(int, setsockopt, DO("setsockopt", level * 1000 + option),
      (int fd, int level, int option, const void *value, socklen_t size), (fd, level, option, value, size))
PLAIN(int, getsockopt, DO("getsockopt", level * 1000 + option),
      (int fd, int level, int option, void *value, socklen_t *size), (fd, level, option, value, size))
PLAIN(int, stat64, MAKE("stat", path, 0), (const char *path, struct stat64 *facts), (path, facts))
PLAIN(int, statx, FAIL("stat", fd, *path ? path : kind_of(fd), 0, NULL),
      (int fd, const char *path, int flags, unsigned mask, struct statx *facts), (fd, path, flags, mask, facts))

/* Into a pipe it has the argument 0, and is made on the socket that is read; out of one 1, on the one that is written. */
ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags)
{
	REAL(splice);
	int out = !strcmp(kind_of(from), "pipe");
	int fd = out ? to : from;
	FAIL("splice", fd, kind_of(fd), (uint32_t)out, &length);
	return real(from, from_at, to, to_at, length, flags);
}

int socket(int domain, int type, int protocol)
{
	REAL(socket);
	const char *kind = domain == AF_UNIX ? "unix" : (type & 0xf) == SOCK_DGRAM ? "udp" : "socket";
	MAKE("socket", kind, domain);
	int fd = real(domain, type, protocol);
	note(fd, kind);
	return fd;
}

int eventfd(unsigned int count, int flags)
{
	REAL(eventfd);
	MAKE("eventfd", "", flags);
	int fd = real(count, flags);
	note(fd, "event");
	return fd;
}

int pipe2(int fds[2], int flags)
{
	REAL(pipe2);
	MAKE("pipe2", "", 0);
	int result = real(fds, flags);
	if (!result)
		note(fds[0], "pipe"), note(fds[1], "pipe");
	return result;
}

int bind(int fd, const_address_t address, socklen_t size)
{
	REAL(bind);
	DO("bind", 0);
	if (!strcmp(kind_of(fd), "socket"))
		note(fd, "bound");
	return real(fd, address, size);
}

int listen(int fd, int queue)
{
	REAL(listen);
	DO("listen", 0);
	note(fd, "listen");
	return real(fd, queue);
}

int accept4(int fd, address_t address, socklen_t *size, int flags)
{
	REAL(accept4);
	DO("accept4", 0);
	int client = real(fd, address, size, flags);
	note(client, "client");
	return client;
}

/* One that is interrupted goes on by itself (connect(2)), and so does what EALREADY is said of. */
int connect(int fd, const_address_t address, socklen_t size)
{
	REAL(connect);
	int error = strike("connect", fd, kind_of(fd), 0, NULL);
	if (!strcmp(kind_of(fd), "socket"))
		note(fd, "member");
	int result = !error || error == EINTR || error == EALREADY ? real(fd, address, size) : -1;
	if (!error)
		return result;
	errno = error;
	return -1;
}

/* Takes what may follow the last named parameter: at most one word. */
#define TAKE(type, name, last)                                                                                         \
	va_list rest;                                                                                                      \
	va_start(rest, last);                                                                                              \
	type name = va_arg(rest, type);                                                                                    \
	va_end(rest)

int fcntl(int fd, int command, ...)
{
	REAL(fcntl);
	TAKE(void *, argument, command);
	DO("fcntl", command);
	int result = real(fd, command, argument);
	if (command == F_DUPFD_CLOEXEC)
		note(result, kind_of(fd));
	return result;
}

int ioctl(int fd, unsigned long request, ...)
{
	REAL(ioctl);
	TAKE(void *, argument, request);
	DO("ioctl", request);
	return real(fd, request, argument);
}

int open64(const char *path, int flags, ...)
{
	REAL(open64);
	TAKE(mode_t, mode, flags);
	MAKE("open", path, 0);
	int fd = real(path, flags, mode);
	note(fd, "file");
	return fd;
}

/* The wall clock alone; one that fails is half a century behind, as that of a host without a battery may be. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	REAL(clock_gettime);
	int result = real(clock, now);
	if (clock == CLOCK_REALTIME && strike("clock_gettime", -1, "", 0, NULL))
		now->tv_sec -= 1577880000;
	return result;
}

/* These two return the number of an error. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	REAL(pthread_create);
	int error = strike("pthread_create", -1, "", 0, NULL);
	return error ? error : real(thread, attributes, start, argument);
}

int sigwait(const sigset_t *set, int *number)
{
	REAL(sigwait);
	int error = strike("sigwait", -1, "", 0, NULL);
	return error ? error : real(set, number);
}
