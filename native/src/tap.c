// TAP devices: Ethernet frames behind a virtio-net header, with the offloads that a container's kernel can use.
#include "tapir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define VNET_HEADER_BYTES 10

// The most that the kernel takes of: UDP segmentation too, TCP segmentation, nothing.
static int set_offloads(int fd, bool offload, unsigned *taken) {
  const unsigned basic = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  const unsigned choices[] = {basic | TUN_F_USO4 | TUN_F_USO6, basic, 0};
  for (size_t i = offload ? 0 : 2; i < 3; i++) {
    if (ioctl(fd, TUNSETOFFLOAD, choices[i]) == 0) {
      *taken = choices[i];
      return 0;
    }
    if (errno != EINVAL) return errno;
  }
  return errno;
}

// Replaces `ifname` by the name that the kernel gave, for a pattern such as `tap%d`.
static int configure(int fd, char *ifname, bool offload, unsigned *taken, const char **call) {
  struct ifreq request = {0};
  int header = VNET_HEADER_BYTES;
  snprintf(request.ifr_name, IFNAMSIZ, "%s", ifname);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  *call = "ioctl TUNSETIFF";
  if (ioctl(fd, TUNSETIFF, &request) != 0) return errno;
  memcpy(ifname, request.ifr_name, IFNAMSIZ);
  *call = "ioctl TUNSETVNETHDRSZ";
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) != 0) return errno;
  *call = "ioctl TUNSETOFFLOAD";
  return set_offloads(fd, offload, taken);
}

// What is to be opened, and what came of it.
struct tap {
  char ifname[IFNAMSIZ];
  char netns[PATH_MAX];
  bool offload;
  int fd;
  unsigned offloads;
  // The call that failed, and on what.
  const char *call;
  const char *subject;
};

// Creates the TAP in the namespace where the thread is, or attaches to it.
static int open_here(struct tap *tap) {
  tap->call = "open /dev/net/tun";
  tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap->fd < 0) return errno;
  int error = configure(tap->fd, tap->ifname, tap->offload, &tap->offloads, &tap->call);
  if (error != 0) close(tap->fd);
  return error;
}

// Creates it in the nursery and moves it to the namespace behind `target`.
static int open_and_move(struct tap *tap, int target) {
  int home;
  tap->call = "unshare";
  int error = enter_nursery(&home);
  if (error != 0) return error;
  error = open_here(tap);
  if (error == 0) {
    tap->call = "RTM_NEWLINK";
    error = move_device(tap->ifname, target);
    if (error != 0) close(tap->fd);
  }
  leave_namespace(home);
  return error;
}

static int open_elsewhere(struct tap *tap) {
  int home, error;
  tap->call = "setns";
  tap->subject = tap->netns;
  if ((error = enter_namespace(tap->netns, &home)) != 0) return error;
  tap->subject = tap->ifname;
  bool attach = device_exists(tap->ifname);
  // Held by the thread's own place, whatever becomes of the path.
  int target = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (target < 0) error = errno;
  else if (attach) error = open_here(tap);
  leave_namespace(home);
  if (target < 0) return error;
  if (!attach) error = open_and_move(tap, target);
  close(target);
  return error;
}

// openTap({ ifname, netns?, offload? }): { fd, ifname, offloads }
napi_value tap_open(napi_env env, napi_callback_info info) {
  napi_value args[1], value, result;
  size_t argc = 1;
  struct tap tap = {.subject = tap.ifname};
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_property(env, args[0], "ifname", &value)) return throw_message(env, "EINVAL", "openTap: no ifname");
  if (!get_string(env, value, tap.ifname, sizeof tap.ifname)) return NULL;
  if (get_property(env, args[0], "netns", &value) && !get_string(env, value, tap.netns, sizeof tap.netns)) return NULL;
  tap.offload = get_bool_property(env, args[0], "offload", true);
  int error = tap.netns[0] == '\0' ? open_here(&tap) : open_elsewhere(&tap);
  if (error != 0) return throw_errno(env, error, "openTap", tap.subject, tap.call);
  napi_create_object(env, &result);
  set_int(env, result, "fd", tap.fd);
  set_string(env, result, "ifname", tap.ifname);
  set_int(env, result, "offloads", tap.offloads);
  return result;
}
