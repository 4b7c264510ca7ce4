/*
 * unfaked_waits.c
 *		To be preloaded ahead of libfaketime: waits go to the C library at once.
 *
 * libfaketime stops faking in a process while that is inside its select(),
 * poll() or epoll_wait(), with a flag that a child inherits.  Before version 16
 * the postmaster starts background workers in signal handlers, which run inside
 * its select(): such a worker would see the real time for ever.  Nor would
 * timeouts, whose signals arrive during waits, go by the clock they were set by.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>

typedef int (*SelectFunction) (int n, fd_set *readers, fd_set *writers, fd_set *exceptions,
							   struct timeval *timeout);
typedef int (*PollFunction) (struct pollfd *fds, nfds_t n, int timeout);
typedef int (*EpollFunction) (int fd, struct epoll_event *events, int n, int timeout);

static SelectFunction real_select;
static PollFunction real_poll;
static EpollFunction real_epoll_wait;

__attribute__((constructor)) static void
find_functions(void)
{
	void	   *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

	if (libc == NULL)
		libc = RTLD_NEXT;		/* another C library: better faked than not at all */
	real_select = (SelectFunction) dlsym(libc, "select");
	real_poll = (PollFunction) dlsym(libc, "poll");
	real_epoll_wait = (EpollFunction) dlsym(libc, "epoll_wait");
}

int
select(int n, fd_set *readers, fd_set *writers, fd_set *exceptions, struct timeval *timeout)
{
	return real_select(n, readers, writers, exceptions, timeout);
}

int
poll(struct pollfd *fds, nfds_t n, int timeout)
{
	return real_poll(fds, n, timeout);
}

int
epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	return real_epoll_wait(fd, events, n, timeout);
}
