// What a dataplane may ask of the kernel once it works: an allow list, because what V8 and the engine need then is little,
// and what an attacker could use is long and grows. All else fails with EPERM: a library that tries something new gets an
// error, and traffic goes on. Checks look at values alone, never behind a pointer.
#include "syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

// SELF: the argument is this process's number. OPENING: where files may be opened.
enum check { ALWAYS, EQUALS, HAS_BITS, SELF, OPENING };

struct entry {
  int number;
  enum check check;
  unsigned argument;
  uint32_t value;
};

#define CALL(name) {__NR_##name, ALWAYS, 0, 0}
#define CALL_IF(name, at, wanted) {__NR_##name, EQUALS, at, wanted}

// Those of each burst come first.
static const struct entry entries[] = {
    CALL(io_uring_enter),
    CALL(epoll_pwait),
    CALL(epoll_pwait2),
#ifdef __NR_epoll_wait
    CALL(epoll_wait),
#endif
    CALL(recvmmsg),
    CALL(sendmmsg),
    CALL(read),
    CALL(write),
    CALL(readv),
    CALL(writev),
    CALL(futex),

    // The channel to the control process, and its descriptors.
    CALL(recvmsg),
    CALL(sendmsg),
    CALL(close),
    CALL(epoll_ctl),
    CALL(fstat),
    // Long messages. Memory gets its length by a write: ftruncate could cut what other processes have mapped.
    CALL(memfd_create),
    CALL(pread64),
    CALL(pwrite64),
    CALL(lseek),
    CALL_IF(newfstatat, 3, AT_EMPTY_PATH),
    CALL_IF(fcntl, 1, F_GETFD),
    CALL_IF(fcntl, 1, F_SETFD),
    CALL_IF(fcntl, 1, F_GETFL),
    CALL_IF(fcntl, 1, F_SETFL),
    CALL_IF(ioctl, 1, FIONBIO),
    CALL_IF(ioctl, 1, FIOCLEX),
    CALL_IF(ioctl, 1, TCGETS),
    CALL_IF(ioctl, 1, TIOCGWINSZ),
    CALL(ppoll),
#ifdef __NR_poll
    CALL(poll),
#endif

    // Whether the device of a packet socket that says ENETDOWN is gone.
    CALL(getsockname),

    // A dataplane that has lost its control process waits for the next one on a socket that it was given.
    CALL(accept4),
    CALL(getsockopt),
    CALL(shutdown),

    // Memory and threads of V8.
    CALL(brk),
    CALL(mmap),
    CALL(munmap),
    CALL(mremap),
    CALL(mprotect),
    CALL(pkey_mprotect),
    CALL(madvise),
    CALL(membarrier),
    {__NR_clone, HAS_BITS, 0, CLONE_THREAD | CLONE_VM},
    CALL(set_robust_list),
    CALL(rseq),
    CALL(sched_yield),
    CALL(sched_getaffinity),
    CALL(getcpu),
    CALL_IF(prctl, 0, PR_SET_NAME),
    CALL_IF(prctl, 0, PR_GET_NAME),
    CALL_IF(prctl, 0, PR_SET_VMA),
    CALL(exit),
    CALL(exit_group),

    // Signals: to itself alone (abort, and the profiler's to its own threads).
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(sigaltstack),
    CALL(restart_syscall),
    {__NR_kill, SELF, 0, 0},
    {__NR_tgkill, SELF, 0, 0},

    // Time, chance, and what a process may know of itself.
    CALL(clock_gettime),
    CALL(clock_getres),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(gettimeofday),
    CALL(getrandom),
    CALL(getpid),
    CALL(gettid),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(getrusage),
    CALL(sysinfo),
    CALL(uname),

    // V8's profilers: the folder is made where it is not there.
    {__NR_openat, OPENING, 0, 0},
    {__NR_mkdirat, OPENING, 0, 0},
#ifdef __NR_mkdir
    {__NR_mkdir, OPENING, 0, 0},
#endif
    {__NR_newfstatat, OPENING, 0, 0},
    {__NR_statx, OPENING, 0, 0},
};

struct writer {
  struct sock_filter *program;
  unsigned short length;
};

static void add(struct writer *writer, uint16_t code, uint32_t value, uint8_t if_so, uint8_t if_not) {
  writer->program[writer->length++] = (struct sock_filter){.code = code, .jt = if_so, .jf = if_not, .k = value};
}

static void load(struct writer *writer, size_t offset) {
  add(writer, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(struct writer *writer, uint32_t action) {
  add(writer, BPF_RET | BPF_K, action, 0, 0);
}

// The lower half of an argument: the kernel takes the calls' numbers, commands and flags from there, on little-endian
// machines its first bytes.
static size_t argument_offset(unsigned argument) {
  return offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t);
}

static void skip_unless(struct writer *writer, uint32_t value, uint8_t skipped) {
  add(writer, BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped);
}

// The instructions behind the comparison of the call's number; a check that fails goes to the last of them, which loads the
// number anew for the next entry.
static void add_check(struct writer *writer, const struct entry *entry) {
  uint32_t value = entry->check == SELF ? (uint32_t)getpid() : entry->value;
  load(writer, argument_offset(entry->argument));
  if (entry->check == HAS_BITS) add(writer, BPF_ALU | BPF_AND | BPF_K, value, 0, 0);
  skip_unless(writer, value, 1);
  answer(writer, SECCOMP_RET_ALLOW);
  load(writer, offsetof(struct seccomp_data, nr));
}

// Expects the call's number to be loaded, and leaves it so.
static void add_entry(struct writer *writer, const struct entry *entry) {
  unsigned short comparison = writer->length;
  skip_unless(writer, (uint32_t)entry->number, 0);
  if (entry->check == ALWAYS || entry->check == OPENING) answer(writer, SECCOMP_RET_ALLOW);
  else add_check(writer, entry);
  writer->program[comparison].jf = (uint8_t)(writer->length - comparison - 1);
}

unsigned short syscall_filter(struct sock_filter *program, bool may_open) {
  struct writer writer = {.program = program};
  load(&writer, offsetof(struct seccomp_data, arch));
  add(&writer, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  answer(&writer, SECCOMP_RET_KILL_PROCESS);
  load(&writer, offsetof(struct seccomp_data, nr));
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
    if (entries[i].check != OPENING || may_open) add_entry(&writer, &entries[i]);
  }
  // The C library makes threads with clone where there is no clone3, whose flags a filter cannot see.
  add(&writer, BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 0, 1);
  answer(&writer, SECCOMP_RET_ERRNO | ENOSYS);
  answer(&writer, SECCOMP_RET_ERRNO | EPERM);
  return writer.length;
}

#else

unsigned short syscall_filter(struct sock_filter *program, bool may_open) {
  (void)program, (void)may_open;
  return 0;
}

#endif
