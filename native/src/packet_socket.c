// AF_PACKET sockets: the router's side of a device that the kernel drives.
#include "tapir.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

// Room for a burst of super-frames in each direction.
#define SOCKET_BUFFER_BYTES (16 << 20)

struct device {
  int ifindex;
  int mtu;
  unsigned char mac[6];
};

static int describe(int fd, const char *name, struct device *device, const char **call) {
  struct ifreq request = {0};
  snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
  *call = "ioctl SIOCGIFINDEX";
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) return errno;
  device->ifindex = request.ifr_ifindex;
  *call = "ioctl SIOCGIFMTU";
  if (ioctl(fd, SIOCGIFMTU, &request) != 0) return errno;
  device->mtu = request.ifr_mtu;
  *call = "ioctl SIOCGIFHWADDR";
  if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) return errno;
  memcpy(device->mac, request.ifr_hwaddr.sa_data, 6);
  return 0;
}

static void set_buffer(int fd, int force_option, int option) {
  int bytes = SOCKET_BUFFER_BYTES;
  if (setsockopt(fd, SOL_SOCKET, force_option, &bytes, sizeof bytes) != 0) {
    setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
  }
}

static int set_option(int fd, int option, int value) {
  return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0 ? 0 : errno;
}

struct wishes {
  bool vnet_header;
  bool outgoing;
  bool promiscuous;
};

// The socket is made deaf (protocol 0) and hears only once it is bound: no frame of another device slips in.
static int configure(int fd, const char *name, struct wishes wishes, struct device *device, const char **call) {
  int error = describe(fd, name, device, call);
  if (error != 0) return error;
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  *call = "setsockopt PACKET_VNET_HDR";
  if (wishes.vnet_header && (error = set_option(fd, PACKET_VNET_HDR, 1)) != 0) return error;
  *call = "setsockopt PACKET_IGNORE_OUTGOING";
  if (!wishes.outgoing && (error = set_option(fd, PACKET_IGNORE_OUTGOING, 1)) != 0) return error;
  *call = "setsockopt PACKET_ADD_MEMBERSHIP";
  struct packet_mreq membership = {.mr_ifindex = device->ifindex, .mr_type = PACKET_MR_PROMISC};
  if (wishes.promiscuous &&
      setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) {
    return errno;
  }
  // The kernel takes VLAN tags off and keeps them beside the frame; the engine puts them back.
  *call = "setsockopt PACKET_AUXDATA";
  if ((error = set_option(fd, PACKET_AUXDATA, 1)) != 0) return error;
  *call = "bind";
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = device->ifindex};
  return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
}

// openPacketSocket({ device, netns?, vnetHeader?, outgoing?, promiscuous? }): { fd, ifindex, mtu, mac }
napi_value packet_open(napi_env env, napi_callback_info info) {
  napi_value args[1], value;
  size_t argc = 1;
  char name[IFNAMSIZ], netns[PATH_MAX] = "";
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_property(env, args[0], "device", &value)) return throw_message(env, "EINVAL", "openPacketSocket: no device");
  if (!get_string(env, value, name, sizeof name)) return NULL;
  if (get_property(env, args[0], "netns", &value) && !get_string(env, value, netns, sizeof netns)) return NULL;
  struct wishes wishes = {
      .vnet_header = get_bool_property(env, args[0], "vnetHeader", true),
      .outgoing = get_bool_property(env, args[0], "outgoing", false),
      .promiscuous = get_bool_property(env, args[0], "promiscuous", true),
  };

  int home = -1, error = 0;
  const char *call = "setns";
  if (netns[0] != '\0' && (error = enter_namespace(netns, &home)) != 0) {
    return throw_errno(env, error, "openPacketSocket", netns, call);
  }
  struct device device = {0};
  call = "socket AF_PACKET";
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  error = fd < 0 ? errno : configure(fd, name, wishes, &device, &call);
  if (home >= 0) leave_namespace(home);
  if (error != 0) {
    if (fd >= 0) close(fd);
    return throw_errno(env, error, "openPacketSocket", name, call);
  }
  char mac[18];
  snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", device.mac[0], device.mac[1], device.mac[2],
           device.mac[3], device.mac[4], device.mac[5]);
  napi_value result;
  napi_create_object(env, &result);
  set_int(env, result, "fd", fd);
  set_int(env, result, "ifindex", device.ifindex);
  set_int(env, result, "mtu", device.mtu);
  set_string(env, result, "mac", mac);
  return result;
}
