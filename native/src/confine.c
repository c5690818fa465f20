// Privileges are given up here, for good: capabilities(7), no_new_privs, limits and seccomp(2).
#include "syscalls.h"
#include "tapir.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

// No capability has a number above this: they are 64 bits in all.
#define MOST_CAPABILITIES 64

static bool holds(const struct __user_cap_data_struct *sets, int capability) {
  return (sets[capability / 32].effective >> (capability % 32) & 1) != 0;
}

// Takes all but `kept` from the calling thread's sets, and from what programs that it starts can get; returns an errno.
// The bounding set stays where CAP_SETPCAP is not held.
static int keep_capabilities(uint64_t kept) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
  if (syscall(__NR_capget, &header, sets) != 0) return errno;
  for (int each = 0; holds(sets, CAP_SETPCAP) && each < MOST_CAPABILITIES; each++) {
    if ((kept >> each & 1) != 0 || prctl(PR_CAPBSET_READ, each, 0, 0, 0) != 1) continue;
    if (prctl(PR_CAPBSET_DROP, each, 0, 0, 0) != 0) return errno;
  }
  for (int half = 0; half < _LINUX_CAPABILITY_U32S_3; half++) {
    uint32_t mask = (uint32_t)(kept >> (32 * half));
    sets[half].effective &= mask;
    sets[half].permitted &= mask;
    sets[half].inheritable &= mask;
  }
  // The ambient set follows the permitted and the inheritable one.
  return syscall(__NR_capset, &header, sets) == 0 ? 0 : errno;
}

// keepCapabilities(bits: bigint)
napi_value capabilities_keep(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  uint64_t kept;
  bool lossless;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (napi_get_value_bigint_uint64(env, args[0], &kept, &lossless) != napi_ok || !lossless) {
    return throw_message(env, "EINVAL", "keepCapabilities: 64 bits in a bigint were expected");
  }
  int error = keep_capabilities(kept);
  if (error != 0) return throw_errno(env, error, "keepCapabilities", NULL, "capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return throw_errno(env, errno, "keepCapabilities", NULL, "prctl");
  return NULL;
}

// For all threads (TSYNC). SPEC_ALLOW: before Linux 5.16 a filter slowed a process down against speculation between programs
// of one process, of which there is only one here.
static int install_filter(bool may_open) {
  struct sock_filter program[MOST_INSTRUCTIONS];
  struct sock_fprog filter = {.len = syscall_filter(program, may_open), .filter = program};
  if (filter.len == 0) return EOPNOTSUPP;
  const unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  long result = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (result > 0) return EBUSY;
  return result == 0 ? 0 : errno;
}

// confine({ mayOpen })
napi_value process_confine(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  const struct rlimit none = {0, 0};
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  bool may_open = get_bool_property(env, args[0], "mayOpen", false);
  // Frames of others' traffic have no place in a core file.
  if (setrlimit(RLIMIT_CORE, &none) != 0) return throw_errno(env, errno, "confine", NULL, "setrlimit");
  int error = keep_capabilities(0);
  if (error != 0) return throw_errno(env, error, "confine", NULL, "capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return throw_errno(env, errno, "confine", NULL, "prctl");
  error = install_filter(may_open);
  if (error != 0) return throw_errno(env, error, "confine", NULL, "seccomp");
  return NULL;
}
