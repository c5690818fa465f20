// notifyService: a line to the service manager (sd_notify(3)). Node has no datagram sockets of AF_UNIX.
#include "tapir.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LONGEST_LINE 4096

// notifyService(path, text): `path` as NOTIFY_SOCKET has it; one that begins with @ is an abstract name
napi_value service_notify(napi_env env, napi_callback_info info) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  char text[LONGEST_LINE];
  napi_value args[2];
  size_t argc = 2;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_string(env, args[0], address.sun_path, sizeof address.sun_path)) return NULL;
  if (!get_string(env, args[1], text, sizeof text)) return NULL;
  size_t length = strlen(address.sun_path);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return throw_errno(env, errno, "notifyService", NULL, "socket");
  // An abstract name has its length for its end.
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  ssize_t sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, size);
  int error = errno;
  close(fd);
  if (sent < 0) return throw_errno(env, error, "notifyService", NULL, "sendto");
  return NULL;
}
