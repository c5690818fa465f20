// TAP devices: Ethernet frames behind a virtio-net header, with the offloads that a container's kernel can use.
#include "tapir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
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

static int configure(int fd, const char *ifname, bool offload, unsigned *taken, const char **call) {
  struct ifreq request = {0};
  int header = VNET_HEADER_BYTES;
  snprintf(request.ifr_name, IFNAMSIZ, "%s", ifname);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  *call = "ioctl TUNSETIFF";
  if (ioctl(fd, TUNSETIFF, &request) != 0) return errno;
  *call = "ioctl TUNSETVNETHDRSZ";
  if (ioctl(fd, TUNSETVNETHDRSZ, &header) != 0) return errno;
  *call = "ioctl TUNSETOFFLOAD";
  return set_offloads(fd, offload, taken);
}

// openTap({ ifname, netns?, offload? }): { fd, ifname, offloads }
napi_value tap_open(napi_env env, napi_callback_info info) {
  napi_value args[1], value;
  size_t argc = 1;
  char ifname[IFNAMSIZ], netns[PATH_MAX] = "";
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_property(env, args[0], "ifname", &value)) return throw_message(env, "EINVAL", "openTap: no ifname");
  if (!get_string(env, value, ifname, sizeof ifname)) return NULL;
  if (get_property(env, args[0], "netns", &value) && !get_string(env, value, netns, sizeof netns)) return NULL;
  bool offload = get_bool_property(env, args[0], "offload", true);

  int home = -1, error = 0;
  const char *call = "setns";
  if (netns[0] != '\0' && (error = enter_namespace(netns, &home)) != 0) return throw_errno(env, error, call, netns);
  call = "open /dev/net/tun";
  unsigned taken = 0;
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  error = fd < 0 ? errno : configure(fd, ifname, offload, &taken, &call);
  if (home >= 0) leave_namespace(home);
  if (error != 0) {
    if (fd >= 0) close(fd);
    return throw_errno(env, error, call, ifname);
  }
  napi_value result;
  napi_create_object(env, &result);
  set_int(env, result, "fd", fd);
  set_string(env, result, "ifname", ifname);
  set_int(env, result, "offloads", taken);
  return result;
}
