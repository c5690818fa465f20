#include "device.h"

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

#define PORT_BUFFER_BYTES (16 << 20)

static void set_offloads(int fd, const char *ifname) {
  const unsigned basic = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  if (ioctl(fd, TUNSETOFFLOAD, basic | TUN_F_USO4 | TUN_F_USO6) == 0) return;
  if (ioctl(fd, TUNSETOFFLOAD, basic) != 0) die_errno("TUNSETOFFLOAD %s", ifname);
}

int open_tap(const char *netns, const char *ifname, bool vnet_header) {
  int home = enter_netns(netns);
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) die_errno("open /dev/net/tun");
  struct ifreq request = {0};
  strncpy(request.ifr_name, ifname, IFNAMSIZ - 1);
  request.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (vnet_header ? IFF_VNET_HDR : 0));
  if (ioctl(fd, TUNSETIFF, &request) != 0) die_errno("TUNSETIFF %s", ifname);
  if (vnet_header) set_offloads(fd, ifname);
  return_to_netns(home);
  return fd;
}

struct link describe_link(const char *device) {
  struct link link;
  struct ifreq request = {0};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) die_errno("device %s", device);
  link.ifindex = request.ifr_ifindex;
  if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) die_errno("device %s", device);
  memcpy(link.mac, request.ifr_hwaddr.sa_data, sizeof link.mac);
  close(fd);
  return link;
}

static void set_packet_option(int fd, int option, int value) {
  if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value) != 0) die_errno("setsockopt SOL_PACKET %d", option);
}

int open_packet_port(const char *netns, const char *device, bool vnet_header) {
  int home = enter_netns(netns);
  // Protocol 0 hears nothing; binding gives it ears on this device only.
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("socket AF_PACKET");
  int bytes = PORT_BUFFER_BYTES;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  if (vnet_header) set_packet_option(fd, PACKET_VNET_HDR, 1);
  set_packet_option(fd, PACKET_IGNORE_OUTGOING, 1);
  set_packet_option(fd, PACKET_QDISC_BYPASS, 1);
  int ifindex = describe_link(device).ifindex;
  struct packet_mreq membership = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) {
    die_errno("promiscuous mode of %s", device);
  }
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = ifindex};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("bind to %s", device);
  return_to_netns(home);
  return fd;
}
