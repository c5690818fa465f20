#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t stop_requested;

static _Noreturn void usage(const char *program, const struct option_spec *options, size_t count) {
  fprintf(stderr, "usage: %s", program);
  for (size_t i = 0; i < count; i++) {
    fprintf(stderr, "\n  --%s%s  %s", options[i].name, options[i].kind == OPTION_SWITCH ? "" : " VALUE", options[i].help);
  }
  fputc('\n', stderr);
  exit(2);
}

static bool store(const struct option_spec *option, const char *value) {
  if (option->kind == OPTION_TEXT) {
    *(const char **)option->target = value;
    return true;
  }
  char *end;
  errno = 0;
  *(int64_t *)option->target = strtoll(value, &end, 10);
  return errno == 0 && end != value && *end == '\0';
}

void parse_options(int argc, char **argv, const struct option_spec *options, size_t count) {
  for (int i = 1; i < argc; i++) {
    const struct option_spec *option = NULL;
    for (size_t k = 0; k < count && strncmp(argv[i], "--", 2) == 0; k++) {
      if (strcmp(argv[i] + 2, options[k].name) == 0) option = &options[k];
    }
    if (option == NULL) usage(argv[0], options, count);
    if (option->kind == OPTION_SWITCH) {
      *(bool *)option->target = true;
    } else if (++i == argc || !store(option, argv[i])) {
      usage(argv[0], options, count);
    }
  }
}

static void complain(const char *format, va_list arguments, int error) {
  vfprintf(stderr, format, arguments);
  if (error != 0) fprintf(stderr, ": %s", strerror(error));
  fputc('\n', stderr);
}

void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  complain(format, arguments, 0);
  exit(1);
}

void die_errno(const char *format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  complain(format, arguments, error);
  exit(1);
}

int enter_netns(const char *path) {
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) die_errno("open /proc/self/ns/net");
  if (path == NULL) return home;
  int target = open(path, O_RDONLY | O_CLOEXEC);
  if (target < 0 || setns(target, CLONE_NEWNET) != 0) die_errno("setns %s", path);
  close(target);
  return home;
}

void return_to_netns(int home) {
  if (setns(home, CLONE_NEWNET) != 0) die_errno("setns back");
  close(home);
}

void pin_to_cpu(int64_t cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) die_errno("sched_setaffinity %d", (int)cpu);
}

void set_nice(int64_t nice) {
  if (nice != 0 && setpriority(PRIO_PROCESS, 0, (int)nice) != 0) die_errno("setpriority %d", (int)nice);
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * NANOSECONDS + (uint64_t)time.tv_nsec;
}

void sleep_until(uint64_t when) {
  static bool is_exact;
  if (!is_exact) prctl(PR_SET_TIMERSLACK, 1);
  is_exact = true;
  struct timespec time = {.tv_sec = (time_t)(when / NANOSECONDS), .tv_nsec = (long)(when % NANOSECONDS)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static double seconds(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

static void request_stop(int signal) {
  (void)signal;
  stop_requested = 1;
}

void stop_on_signals(void) {
  struct sigaction action = {.sa_handler = request_stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
}

void say_ready(void) {
  fputs("ready\n", stderr);
  fflush(stderr);
}
