// Where TAPs are born. A TAP's descriptor holds on to the network namespace in which /dev/net/tun was opened: opened in
// a container's namespace, it would keep that namespace alive after its container, and nobody would ever hear that the
// container is gone. So TAPs are made in a namespace of this process's own, and moved: when the container's namespace
// goes, its TAP goes with it, and the descriptor says so.
#include "tapir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// Made with the first TAP; lives as long as the process.
static int nursery = -1;

static int make_nursery(int home) {
  if (unshare(CLONE_NEWNET) != 0) return errno;
  nursery = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  int error = nursery < 0 ? errno : 0;
  if (error != 0) return_to_namespace(home);
  return error;
}

int enter_nursery(int *home) {
  *home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (*home < 0) return errno;
  int error = nursery < 0 ? make_nursery(*home) : setns(nursery, CLONE_NEWNET) == 0 ? 0 : errno;
  if (error != 0) close(*home);
  return error;
}

bool device_exists(const char *ifname) {
  struct ifreq request = {0};
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  snprintf(request.ifr_name, IFNAMSIZ, "%s", ifname);
  bool exists = ioctl(fd, SIOCGIFINDEX, &request) == 0;
  close(fd);
  return exists;
}

struct move_request {
  struct nlmsghdr header;
  struct ifinfomsg link;
  struct rtattr name_attribute;
  char name[IFNAMSIZ];
  struct rtattr namespace_attribute;
  int target;
};

struct move_answer {
  struct nlmsghdr header;
  struct nlmsgerr error;
  char rest[1024];
};

static int ask_kernel(int fd, struct move_request *request) {
  struct move_answer answer;
  if (send(fd, request, sizeof *request, 0) < 0) return errno;
  ssize_t received = recv(fd, &answer, sizeof answer, 0);
  if (received < 0) return errno;
  bool whole = (size_t)received >= sizeof answer.header + sizeof answer.error;
  if (!whole || answer.header.nlmsg_type != NLMSG_ERROR) return EIO;
  return -answer.error.error;
}

int move_device(const char *ifname, int target) {
  struct move_request request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_family = AF_UNSPEC},
      .name_attribute = {.rta_len = RTA_LENGTH(IFNAMSIZ), .rta_type = IFLA_IFNAME},
      .namespace_attribute = {.rta_len = RTA_LENGTH(sizeof(int)), .rta_type = IFLA_NET_NS_FD},
      .target = target,
  };
  memcpy(request.name, ifname, strlen(ifname));
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return errno;
  int error = ask_kernel(fd, &request);
  close(fd);
  return error;
}
