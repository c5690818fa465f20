// Network namespaces: the calling thread goes into one, does its work and comes back.
#include "tapir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The way back may lack memory for a moment; it has no other reason to fail.
#define RETURN_TRIES 100

int enter_namespace(const char *path, int *home) {
  *home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (*home < 0) return errno;
  int target = open(path, O_RDONLY | O_CLOEXEC);
  int error = target < 0 ? errno : 0;
  if (error == 0 && setns(target, CLONE_NEWNET) != 0) error = errno;
  if (target >= 0) close(target);
  if (error != 0) close(*home);
  return error;
}

void return_to_namespace(int home) {
  for (int tries = 0; tries < RETURN_TRIES; tries++) {
    if (setns(home, CLONE_NEWNET) == 0) return;
    usleep(1000);
  }
  perror("tapir: cannot return to the network namespace it came from");
  abort();
}

void leave_namespace(int home) {
  return_to_namespace(home);
  close(home);
}

// inNamespace(netns, body): what body returns. When body throws, its exception is pending on the way back.
napi_value namespace_run(napi_env env, napi_callback_info info) {
  napi_value args[2], global, result = NULL;
  size_t argc = 2;
  char path[PATH_MAX];
  int home;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  napi_valuetype type;
  if (!get_string(env, args[0], path, sizeof path)) return NULL;
  if (napi_typeof(env, args[1], &type) != napi_ok || type != napi_function) {
    return throw_message(env, "EINVAL", "inNamespace: a function was expected");
  }
  int error = enter_namespace(path, &home);
  if (error != 0) return throw_errno(env, error, "inNamespace", path, "setns");
  napi_get_global(env, &global);
  napi_call_function(env, global, args[1], 0, NULL, &result);
  leave_namespace(home);
  return result;
}

// enterNamespace(netns): for good
napi_value namespace_enter(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  char path[PATH_MAX];
  int home;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_string(env, args[0], path, sizeof path)) return NULL;
  int error = enter_namespace(path, &home);
  if (error != 0) return throw_errno(env, error, "enterNamespace", path, "setns");
  close(home);
  return NULL;
}

// closeDescriptor(fd): whatever else Linux says, the descriptor is closed (close(2)).
napi_value descriptor_close(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  int fd;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  if (close(fd) != 0 && errno == EBADF) return throw_errno(env, errno, "closeDescriptor", NULL, "close");
  return NULL;
}
