// The devices under test, opened as the router opens them.
#ifndef TAPIR_BENCH_DEVICE_H
#define TAPIR_BENCH_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

// struct virtio_net_hdr, in front of each frame.
#define VNET_HEADER_BYTES 10
#define SUPER_FRAME_BYTES (65536 + 64)

// Both are nonblocking. `netns` may be NULL. With `vnet_header`, frames come and go behind a virtio-net header and
// all offloads that the kernel takes are on.
int open_tap(const char *netns, const char *ifname, bool vnet_header);
int open_packet_port(const char *netns, const char *device, bool vnet_header);

struct link {
  int ifindex;
  uint8_t mac[6];
};

// Of a device in the current namespace.
struct link describe_link(const char *device);

#endif
