// Reception from a device: a TPACKET_V3 ring, filled by the kernel block by block, so that a datagram costs the sender's
// processor one copy and this one no system call. A filter lets in only UDP to the port.
#include "common.h"
#include "device.h"
#include "sink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define BLOCK_BYTES (1u << 20)
#define RETIRE_MS 20

struct ring {
  int fd;
  uint8_t *memory;
  unsigned blocks;
};

static void set_option(int fd, int option, const void *value, socklen_t size) {
  if (setsockopt(fd, SOL_PACKET, option, value, size) != 0) die_errno("setsockopt SOL_PACKET %d", option);
}

// IPv4, UDP, first fragment, destination port.
static void set_filter(int fd, uint16_t port) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0800, 0, 8),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 6),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 20),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
      BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 16),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) die_errno("SO_ATTACH_FILTER");
}

static struct ring open_ring(const struct sink *sink) {
  if (sink->device == NULL) die("--device is needed");
  struct ring ring = {.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), .blocks = (unsigned)sink->ring_megabytes};
  if (ring.fd < 0) die_errno("socket AF_PACKET");
  int one = 1, version = TPACKET_V3;
  set_option(ring.fd, PACKET_VERSION, &version, sizeof version);
  set_option(ring.fd, PACKET_VNET_HDR, &one, sizeof one);
  set_option(ring.fd, PACKET_IGNORE_OUTGOING, &one, sizeof one);
  set_filter(ring.fd, (uint16_t)sink->port);
  struct tpacket_req3 request = {
      .tp_block_size = BLOCK_BYTES,
      .tp_block_nr = ring.blocks,
      .tp_frame_size = 2048,
      .tp_frame_nr = BLOCK_BYTES / 2048 * ring.blocks,
      .tp_retire_blk_tov = RETIRE_MS,
  };
  set_option(ring.fd, PACKET_RX_RING, &request, sizeof request);
  ring.memory = mmap(NULL, (size_t)BLOCK_BYTES * ring.blocks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                     ring.fd, 0);
  if (ring.memory == MAP_FAILED) die_errno("mmap of the ring");
  struct sockaddr_ll address = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = describe_link(sink->device).ifindex};
  if (bind(ring.fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("bind to %s", sink->device);
  return ring;
}

static void read_block(struct sink *sink, const struct tpacket_block_desc *block) {
  const uint8_t *at = (const uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
  for (unsigned i = 0; i < block->hdr.bh1.num_pkts; i++) {
    const struct tpacket3_hdr *header = (const void *)at;
    struct virtio_net_hdr vnet;
    memcpy(&vnet, at + header->tp_mac - sizeof vnet, sizeof vnet);
    bool is_merged = (vnet.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_UDP_L4;
    account_frame(&sink->account, at + header->tp_mac, header->tp_snaplen, is_merged ? vnet.gso_size : 0,
                  (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0,
                  (uint64_t)header->tp_sec * NANOSECONDS + header->tp_nsec);
    at += header->tp_next_offset;
  }
}

static struct tpacket_block_desc *block_at(const struct ring *ring, unsigned index) {
  return (void *)(ring->memory + (size_t)BLOCK_BYTES * index);
}

static bool is_ours(struct tpacket_block_desc *block) {
  return (__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) != 0;
}

// Returns false when there was nothing.
static bool read_next(struct sink *sink, const struct ring *ring, unsigned *next) {
  struct tpacket_block_desc *block = block_at(ring, *next);
  if (!is_ours(block)) return false;
  read_block(sink, block);
  __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
  *next = (*next + 1) % ring->blocks;
  return true;
}

uint64_t receive_from_ring(struct sink *sink) {
  struct ring ring = open_ring(sink);
  struct pollfd waiting = {.fd = ring.fd, .events = POLLIN};
  unsigned next = 0;
  uint64_t last = now_ns();
  say_ready();
  while (!sink_is_over(sink, now_ns(), last)) {
    uint64_t before = sink->account.received;
    if (!read_next(sink, &ring, &next)) poll(&waiting, 1, RETIRE_MS);
    if (sink->account.received != before) last = now_ns();
  }
  // What lies in the ring has arrived; the last block is closed by the kernel's timer.
  sleep_until(now_ns() + 2 * RETIRE_MS * UINT64_C(1000000));
  while (read_next(sink, &ring, &next)) continue;
  struct tpacket_stats_v3 statistics = {0};
  socklen_t size = sizeof statistics;
  getsockopt(ring.fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &size);
  return statistics.tp_drops;
}
