// System calls that fail when a test says so. Only the build that is made with `-Dfaults=true` has them: there each call
// below asks `fault_hits` first; in every other build this header says nothing, and the calls are what they are.
//
// What a test arms is one call, an errno, how many calls are let through before, and how many fail then. An errno of 0
// makes a call that takes many things take one only, where it may (`FAULTED_COUNT`).
#ifndef TAPIR_FAULTS_H
#define TAPIR_FAULTS_H

#ifndef TAPIR_FAULTS

#define FAULTED_COUNT(call, count) (count)
#define FAULTED_RESULT(result) (result)

#else

// All that declares one of the names below comes before they become macros.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define FAULT_CALLS(X)                                                                                               \
  X(accept4) X(bind) X(calloc) X(close) X(completion) X(connect) X(epoll_create1) X(epoll_ctl) X(epoll_pwait2)       \
  X(epoll_wait) X(execve) X(fcntl) X(fsconfig) X(fsmount) X(fsopen) X(fstat) X(getsockname) X(getsockopt)            \
  X(io_uring_enter) X(io_uring_setup) X(ioctl) X(listen) X(madvise) X(malloc) X(memfd_create) X(mmap) X(munmap)      \
  X(open) X(openat) X(prctl) X(pwrite) X(read) X(recv) X(recvmmsg) X(recvmsg) X(send) X(sendmmsg) X(sendmsg)         \
  X(sendto) X(setns) X(setrlimit) X(setsockopt) X(socket) X(socketpair) X(unshare) X(waitpid) X(write) X(writev)

#define FAULT_INDEX(call) FAULT_##call,
enum fault_call { FAULT_CALLS(FAULT_INDEX) FAULT_CALL_COUNT };
#undef FAULT_INDEX

// Whether this call fails; sets errno then.
bool fault_hits(enum fault_call call);
// How many of `count` things the call is given.
uint32_t fault_count(enum fault_call call, uint32_t count);
// What a completion of io_uring says in the place of `result`.
int32_t fault_result(int32_t result);

#define FAULTED_COUNT(call, count) fault_count(FAULT_##call, (count))
#define FAULTED_RESULT(result) fault_result(result)

#define accept4(...) (fault_hits(FAULT_accept4) ? -1 : (accept4)(__VA_ARGS__))
#define bind(...) (fault_hits(FAULT_bind) ? -1 : (bind)(__VA_ARGS__))
#define calloc(...) (fault_hits(FAULT_calloc) ? NULL : (calloc)(__VA_ARGS__))
// Linux has closed the descriptor whatever it says (close(2)).
#define close(fd) (fault_hits(FAULT_close) ? fault_close(fd) : (close)(fd))
#define connect(...) (fault_hits(FAULT_connect) ? -1 : (connect)(__VA_ARGS__))
#define epoll_create1(...) (fault_hits(FAULT_epoll_create1) ? -1 : (epoll_create1)(__VA_ARGS__))
#define epoll_ctl(...) (fault_hits(FAULT_epoll_ctl) ? -1 : (epoll_ctl)(__VA_ARGS__))
#define epoll_pwait2(...) (fault_hits(FAULT_epoll_pwait2) ? -1 : (epoll_pwait2)(__VA_ARGS__))
#define epoll_wait(...) (fault_hits(FAULT_epoll_wait) ? -1 : (epoll_wait)(__VA_ARGS__))
#define execve(...) (fault_hits(FAULT_execve) ? -1 : (execve)(__VA_ARGS__))
#define fcntl(...) (fault_hits(FAULT_fcntl) ? -1 : (fcntl)(__VA_ARGS__))
#define fstat(...) (fault_hits(FAULT_fstat) ? -1 : (fstat)(__VA_ARGS__))
#define getsockname(...) (fault_hits(FAULT_getsockname) ? -1 : (getsockname)(__VA_ARGS__))
#define getsockopt(...) (fault_hits(FAULT_getsockopt) ? -1 : (getsockopt)(__VA_ARGS__))
#define ioctl(...) (fault_hits(FAULT_ioctl) ? -1 : (ioctl)(__VA_ARGS__))
#define listen(...) (fault_hits(FAULT_listen) ? -1 : (listen)(__VA_ARGS__))
#define madvise(...) (fault_hits(FAULT_madvise) ? -1 : (madvise)(__VA_ARGS__))
#define malloc(...) (fault_hits(FAULT_malloc) ? NULL : (malloc)(__VA_ARGS__))
#define memfd_create(...) (fault_hits(FAULT_memfd_create) ? -1 : (memfd_create)(__VA_ARGS__))
#define mmap(...) (fault_hits(FAULT_mmap) ? MAP_FAILED : (mmap)(__VA_ARGS__))
#define munmap(...) (fault_hits(FAULT_munmap) ? -1 : (munmap)(__VA_ARGS__))
#define open(...) (fault_hits(FAULT_open) ? -1 : (open)(__VA_ARGS__))
#define openat(...) (fault_hits(FAULT_openat) ? -1 : (openat)(__VA_ARGS__))
#define prctl(...) (fault_hits(FAULT_prctl) ? -1 : (prctl)(__VA_ARGS__))
#define pwrite(...) (fault_hits(FAULT_pwrite) ? -1 : (pwrite)(__VA_ARGS__))
#define read(...) (fault_hits(FAULT_read) ? -1 : (read)(__VA_ARGS__))
#define recv(...) (fault_hits(FAULT_recv) ? -1 : (recv)(__VA_ARGS__))
#define recvmmsg(...) (fault_hits(FAULT_recvmmsg) ? -1 : (recvmmsg)(__VA_ARGS__))
#define recvmsg(...) (fault_hits(FAULT_recvmsg) ? -1 : (recvmsg)(__VA_ARGS__))
#define send(...) (fault_hits(FAULT_send) ? -1 : (send)(__VA_ARGS__))
#define sendmmsg(...) (fault_hits(FAULT_sendmmsg) ? -1 : (sendmmsg)(__VA_ARGS__))
#define sendmsg(...) (fault_hits(FAULT_sendmsg) ? -1 : (sendmsg)(__VA_ARGS__))
#define sendto(...) (fault_hits(FAULT_sendto) ? -1 : (sendto)(__VA_ARGS__))
#define setns(...) (fault_hits(FAULT_setns) ? -1 : (setns)(__VA_ARGS__))
#define setrlimit(...) (fault_hits(FAULT_setrlimit) ? -1 : (setrlimit)(__VA_ARGS__))
#define setsockopt(...) (fault_hits(FAULT_setsockopt) ? -1 : (setsockopt)(__VA_ARGS__))
#define socket(...) (fault_hits(FAULT_socket) ? -1 : (socket)(__VA_ARGS__))
#define socketpair(...) (fault_hits(FAULT_socketpair) ? -1 : (socketpair)(__VA_ARGS__))
#define syscall(number, ...) (fault_hits(FAULT_OF(number)) ? -1 : (syscall)(number, __VA_ARGS__))
#define FAULT_OF(number)                                                                                             \
  ((number) == __NR_io_uring_setup ? FAULT_io_uring_setup                                                            \
   : (number) == __NR_fsopen       ? FAULT_fsopen                                                                    \
   : (number) == __NR_fsconfig     ? FAULT_fsconfig                                                                  \
   : (number) == __NR_fsmount      ? FAULT_fsmount                                                                   \
                                   : FAULT_io_uring_enter)
#define unshare(...) (fault_hits(FAULT_unshare) ? -1 : (unshare)(__VA_ARGS__))
#define waitpid(...) (fault_hits(FAULT_waitpid) ? -1 : (waitpid)(__VA_ARGS__))
#define write(...) (fault_hits(FAULT_write) ? -1 : (write)(__VA_ARGS__))
#define writev(...) (fault_hits(FAULT_writev) ? -1 : (writev)(__VA_ARGS__))

static inline int fault_close(int fd) {
  int error = errno;
  (close)(fd);
  errno = error;
  return -1;
}

#endif
#endif
