// Sockets on which the kernel tells of changes to devices and routes (rtnetlink(7)). Messages go over `sendMessage` and
// `receiveMessage`, as those of any other socket of messages.
#include "tapir.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

// Room for the changes of some thousand devices that come at once.
#define NETLINK_BUFFER_BYTES (4 << 20)

static int open_route_socket(uint32_t groups, int *fd, const char **call) {
  *call = "socket AF_NETLINK";
  *fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (*fd < 0) return errno;
  int bytes = NETLINK_BUFFER_BYTES;
  if (setsockopt(*fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  *call = "bind";
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  return bind(*fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
}

// openRouteNetlink({ groups, netns? }): fd
napi_value netlink_open(napi_env env, napi_callback_info info) {
  napi_value args[1], value, result;
  size_t argc = 1;
  char netns[PATH_MAX] = "";
  int groups = 0, home = -1, fd = -1, error;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_property(env, args[0], "groups", &value)) return throw_message(env, "EINVAL", "openRouteNetlink: no groups");
  if (!get_int(env, value, &groups)) return NULL;
  if (get_property(env, args[0], "netns", &value) && !get_string(env, value, netns, sizeof netns)) return NULL;
  const char *call = "setns";
  if (netns[0] != '\0' && (error = enter_namespace(netns, &home)) != 0) {
    return throw_errno(env, error, "openRouteNetlink", netns, call);
  }
  error = open_route_socket((uint32_t)groups, &fd, &call);
  if (home >= 0) leave_namespace(home);
  if (error != 0) {
    if (fd >= 0) close(fd);
    return throw_errno(env, error, "openRouteNetlink", NULL, call);
  }
  napi_create_int32(env, fd, &result);
  return result;
}
