// What the programs of the bench share: options, namespaces, processor, clock, signals.
#ifndef TAPIR_BENCH_COMMON_H
#define TAPIR_BENCH_COMMON_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NANOSECONDS UINT64_C(1000000000)

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_SWITCH };

// `target`: const char * for a text, int64_t for a number, bool for a switch.
struct option_spec {
  const char *name;
  enum option_kind kind;
  void *target;
  const char *help;
};

// Reads `--name value` and `--switch`; ends with 2 and the list of options on anything else.
void parse_options(int argc, char **argv, const struct option_spec *options, size_t count);

// Ends the program with 1; `die_errno` adds what errno says.
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void die_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Goes into the network namespace at `path` (NULL: stays) and returns a descriptor of the one it left.
int enter_netns(const char *path);
void return_to_netns(int home);

// CPU < 0: any. Nice 0: as it was.
void pin_to_cpu(int64_t cpu);
void set_nice(int64_t nice);

// Monotonic.
uint64_t now_ns(void);
// Sleeps until the monotonic clock says `when`, to a microsecond or so; returns early on a signal.
void sleep_until(uint64_t when);
// User and system time of this process.
double cpu_seconds(void);

// Set by SIGTERM and SIGINT; blocking calls return EINTR.
extern volatile sig_atomic_t stop_requested;
void stop_on_signals(void);

// Tells who started the program that it is at work: a line on standard error.
void say_ready(void);

#endif
