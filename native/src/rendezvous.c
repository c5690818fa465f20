// A meeting place at a path: AF_UNIX sequenced packets, for the same user only. And the two calls that a process needs to
// become another program: taking its place, and burying the children that the former program has left.
#include "tapir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKLOG 16

static bool get_address(napi_env env, napi_value value, struct sockaddr_un *address, const char *operation) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  char path[4096];
  if (!get_string(env, value, path, sizeof path)) return false;
  if (strlen(path) >= sizeof address->sun_path) {
    throw_errno(env, ENAMETOOLONG, operation, path, "bind");
    return false;
  }
  strcpy(address->sun_path, path);
  return true;
}

static int open_socket(void) { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

static napi_value fail_and_close(napi_env env, int fd, const char *operation, const char *path, const char *call) {
  int error = errno;
  close(fd);
  return throw_errno(env, error, operation, path, call);
}

static napi_value make_fd(napi_env env, int fd) {
  napi_value result;
  napi_create_int32(env, fd, &result);
  return result;
}

// listenAt(path): fd; the file has mode 0600 from its first moment
napi_value rendezvous_listen(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  struct sockaddr_un address;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_address(env, args[0], &address, "listenAt")) return NULL;
  int fd = open_socket();
  if (fd < 0) return throw_errno(env, errno, "listenAt", address.sun_path, "socket");
  mode_t before = umask(0177);
  int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
  umask(before);
  if (bound != 0) return fail_and_close(env, fd, "listenAt", address.sun_path, "bind");
  if (listen(fd, BACKLOG) != 0) return fail_and_close(env, fd, "listenAt", address.sun_path, "listen");
  return make_fd(env, fd);
}

// The user at the other end; on the side that connects, who made the place.
static bool is_peer(int fd, uid_t user) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == user;
}

// connectTo(path): fd
napi_value rendezvous_connect(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  struct sockaddr_un address;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_address(env, args[0], &address, "connectTo")) return NULL;
  int fd = open_socket();
  if (fd < 0) return throw_errno(env, errno, "connectTo", address.sun_path, "socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    return fail_and_close(env, fd, "connectTo", address.sun_path, "connect");
  }
  if (!is_peer(fd, geteuid())) {
    errno = EPERM;
    return fail_and_close(env, fd, "connectTo", address.sun_path, "getsockopt SO_PEERCRED");
  }
  return make_fd(env, fd);
}

// acceptFrom(fd, user): fd of the next who is that user, null when nobody waits; others are sent away
napi_value rendezvous_accept(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  size_t argc = 2;
  int fd, user;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd) || !get_int(env, args[1], &user)) return NULL;
  for (;;) {
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) {
      if (is_peer(accepted, (uid_t)user)) return make_fd(env, accepted);
      close(accepted);
    } else if (errno == EAGAIN) {
      napi_get_null(env, &result);
      return result;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return throw_errno(env, errno, "acceptFrom", NULL, "accept4");
    }
  }
}

static void free_strings(char **strings) {
  for (char **each = strings; *each != NULL; each++) free(*each);
  free(strings);
}

// An array of strings as execve wants it; NULL with a pending exception.
static char **get_strings(napi_env env, napi_value array) {
  uint32_t count = 0;
  if (napi_get_array_length(env, array, &count) != napi_ok) {
    throw_message(env, "EINVAL", "replaceProgram: an array of strings was expected");
    return NULL;
  }
  char **strings = calloc((size_t)count + 1, sizeof *strings);
  for (uint32_t i = 0; strings != NULL && i < count; i++) {
    napi_value value;
    size_t length = 0;
    bool is_string = napi_get_element(env, array, i, &value) == napi_ok &&
                     napi_get_value_string_utf8(env, value, NULL, 0, &length) == napi_ok;
    if (is_string) strings[i] = malloc(length + 1);
    if (strings[i] == NULL) {
      free_strings(strings);
      throw_message(env, is_string ? "ENOMEM" : "EINVAL", "replaceProgram: an array of strings was expected");
      return NULL;
    }
    napi_get_value_string_utf8(env, value, strings[i], length + 1, NULL);
  }
  if (strings == NULL) throw_errno(env, ENOMEM, "replaceProgram", NULL, "calloc");
  return strings;
}

// Node makes even the standard streams close-on-exec.
static void pass_standard_streams(bool are_passed) {
  for (int fd = 0; fd <= 2; fd++) {
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) fcntl(fd, F_SETFD, are_passed ? flags & ~FD_CLOEXEC : flags | FD_CLOEXEC);
  }
}

// replaceProgram(file, arguments, environment): only ever returns by throwing
napi_value program_replace(napi_env env, napi_callback_info info) {
  napi_value args[3];
  size_t argc = 3;
  char file[4096];
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_string(env, args[0], file, sizeof file)) return NULL;
  char **arguments = get_strings(env, args[1]);
  if (arguments == NULL) return NULL;
  char **environment = get_strings(env, args[2]);
  if (environment == NULL) {
    free_strings(arguments);
    return NULL;
  }
  // A program begins with nothing blocked; what is handled here is reset by the kernel.
  sigset_t none, before;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, &before);
  pass_standard_streams(true);
  execve(file, arguments, environment);
  int error = errno;
  pass_standard_streams(false);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  free_strings(arguments);
  free_strings(environment);
  return throw_errno(env, error, "replaceProgram", file, "execve");
}

// buryChild(pid): true when the child has ended, or is none of this process's
napi_value child_bury(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  size_t argc = 1;
  int pid;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &pid)) return NULL;
  if (pid <= 0) return throw_message(env, "EINVAL", "buryChild: a process id was expected");
  int status;
  pid_t buried = waitpid(pid, &status, WNOHANG);
  napi_get_boolean(env, buried == pid || (buried < 0 && errno == ECHILD), &result);
  return result;
}
