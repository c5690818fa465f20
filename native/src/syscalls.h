// The system calls that a dataplane may make (seccomp(2)), as a program for the kernel's filter.
#ifndef TAPIR_SYSCALLS_H
#define TAPIR_SYSCALLS_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

// Room for the whole list: five instructions an entry.
#define MOST_INSTRUCTIONS 1024

// Writes the program into `program` and returns its length; 0 on an architecture whose calls are not known here. `may_open`
// lets files be opened, as V8's profilers want it.
unsigned short syscall_filter(struct sock_filter *program, bool may_open);

#endif
