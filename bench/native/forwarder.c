// The limit: carries frames between two ports and touches nothing. What a router costs beyond this is its own work.
//
// As fast as system calls allow: bursts of reads, then of writes; a burst ends early when its bytes would not stay in
// the cache; frames that a device refuses are dropped and counted, as a router would; before it sleeps it looks again
// for --spin-us microseconds, which saves wake-ups when frames come close together. With --ring the reads and the writes
// of a burst share a system call each (io_uring), as Tapir's do.
#include "common.h"
#include "device.h"
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_BURST 256

struct port {
  bool is_tap;
  int fd;
  // Reads to ask for with a ring: those that brought a frame last time, and some more.
  int reads;
  uint64_t received, transmitted, refused;
};

struct burst {
  int count;
  struct iovec frames[MAX_BURST];
  struct mmsghdr messages[MAX_BURST];
};

static struct burst burst;
static uint8_t *arena;
static struct ring ring = {.fd = -1};
static int64_t burst_frames = 64, burst_bytes = 256 * 1024, spin_us = 0;

// tap:NETNS:IFNAME or packet:NETNS:DEVICE; the namespace is a path, or empty for this one.
static struct port open_port(const char *text, bool vnet_header) {
  if (text == NULL) die("two ports are needed: --a and --b");
  char *copy = strdup(text), *netns = strchr(copy, ':'), *device = strrchr(copy, ':');
  if (netns == NULL || netns == device) die("port %s: not KIND:NETNS:DEVICE", text);
  *netns++ = *device++ = '\0';
  const char *path = *netns == '\0' ? NULL : netns;
  struct port port = {.is_tap = strcmp(copy, "tap") == 0};
  if (!port.is_tap && strcmp(copy, "packet") != 0) die("port %s: tap or packet", text);
  port.fd = port.is_tap ? open_tap(path, device, vnet_header) : open_packet_port(path, device, vnet_header);
  free(copy);
  return port;
}

static void receive_from_tap(struct port *port) {
  int64_t bytes = 0;
  int count = 0;
  while (count < burst_frames && bytes < burst_bytes) {
    ssize_t length = read(port->fd, burst.frames[count].iov_base, SUPER_FRAME_BYTES);
    if (length <= 0) {
      if (length < 0 && errno != EAGAIN && errno != EINTR) die_errno("read");
      break;
    }
    burst.frames[count++].iov_len = (size_t)length;
    bytes += length;
  }
  burst.count = count;
}

static void submit_ring(void) {
  int error = ring_submit(&ring);
  if (error != 0) die("io_uring_enter: %s", strerror(error));
}

static void receive_by_ring(struct port *port) {
  uint64_t tag;
  int32_t result;
  int count = 0, asked = port->reads > 0 ? port->reads : 2;
  if (asked > burst_frames) asked = (int)burst_frames;
  for (int i = 0; i < asked; i++) {
    ring_read(&ring, port->fd, burst.frames[i].iov_base, SUPER_FRAME_BYTES, (uint64_t)i);
  }
  submit_ring();
  while (ring_next(&ring, &tag, &result)) {
    if (result < 0 && result != -EAGAIN) die("read: %s", strerror(-result));
    if (result <= 0) continue;
    struct iovec filled = burst.frames[tag];
    burst.frames[tag] = burst.frames[count];
    burst.frames[count] = filled;
    burst.frames[count++].iov_len = (size_t)result;
  }
  burst.count = count;
  port->reads = count == asked ? asked * 2 : count + 2;
}

static void transmit_by_ring(struct port *port) {
  uint64_t tag;
  int32_t result;
  for (int i = 0; i < burst.count; i++) ring_write(&ring, port->fd, &burst.frames[i], 1, (uint64_t)i);
  submit_ring();
  while (ring_next(&ring, &tag, &result)) {
    if (result < 0) port->refused++;
    else port->transmitted++;
  }
}

static void receive_from_packet(struct port *port) {
  for (int i = 0; i < burst_frames; i++) burst.frames[i].iov_len = SUPER_FRAME_BYTES;
  int count = recvmmsg(port->fd, burst.messages, (unsigned)burst_frames, MSG_DONTWAIT, NULL);
  if (count < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN) die_errno("recvmmsg");
  burst.count = count < 0 ? 0 : count;
  for (int i = 0; i < burst.count; i++) burst.frames[i].iov_len = burst.messages[i].msg_len;
}

static void transmit_to_tap(struct port *port) {
  for (int i = 0; i < burst.count; i++) {
    if (write(port->fd, burst.frames[i].iov_base, burst.frames[i].iov_len) < 0) {
      port->refused++;
    } else {
      port->transmitted++;
    }
  }
}

static void transmit_to_packet(struct port *port) {
  for (int done = 0; done < burst.count;) {
    int taken = sendmmsg(port->fd, burst.messages + done, (unsigned)(burst.count - done), MSG_DONTWAIT);
    if (taken > 0) {
      port->transmitted += (uint64_t)taken;
      done += taken;
    }
    // The frame behind the last one taken was refused: it is lost, the others go on.
    if (done < burst.count) {
      port->refused++;
      done++;
    }
  }
}

static int carry(struct port *from, struct port *to) {
  if (from->is_tap && ring.fd >= 0) {
    receive_by_ring(from);
  } else if (from->is_tap) {
    receive_from_tap(from);
  } else {
    receive_from_packet(from);
  }
  if (burst.count == 0) return 0;
  from->received += (uint64_t)burst.count;
  if (to->is_tap && ring.fd >= 0) {
    transmit_by_ring(to);
  } else if (to->is_tap) {
    transmit_to_tap(to);
  } else {
    transmit_to_packet(to);
  }
  return burst.count;
}

static void prepare_burst(void) {
  arena = mmap(NULL, (size_t)MAX_BURST * SUPER_FRAME_BYTES, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) die_errno("mmap");
  for (size_t i = 0; i < MAX_BURST; i++) {
    burst.frames[i].iov_base = arena + i * SUPER_FRAME_BYTES;
    burst.messages[i].msg_hdr.msg_iov = &burst.frames[i];
    burst.messages[i].msg_hdr.msg_iovlen = 1;
  }
}

static void forward(struct port *a, struct port *b) {
  struct pollfd waiting[2] = {{.fd = a->fd, .events = POLLIN}, {.fd = b->fd, .events = POLLIN}};
  uint64_t spin_ns = (uint64_t)spin_us * 1000, last = now_ns();
  while (!stop_requested) {
    int carried = carry(a, b);
    carried += carry(b, a);
    if (carried > 0) {
      if (spin_ns > 0) last = now_ns();
      continue;
    }
    if (spin_ns > 0 && now_ns() - last < spin_ns) continue;
    poll(waiting, 2, 1000);
    if (spin_ns > 0) last = now_ns();
  }
}

int main(int argc, char **argv) {
  const char *a_text = NULL, *b_text = NULL;
  bool no_offload = false, wants_ring = false;
  int64_t cpu = -1;
  const struct option_spec options[] = {
      {"a", OPTION_TEXT, &a_text, "one port: tap:NETNS:IFNAME or packet:NETNS:DEVICE, the namespace as a path"},
      {"b", OPTION_TEXT, &b_text, "the other port"},
      {"no-offload", OPTION_SWITCH, &no_offload, "no virtio-net header, no offloads"},
      {"ring", OPTION_SWITCH, &wants_ring, "TAPs by io_uring"},
      {"burst", OPTION_NUMBER, &burst_frames, "frames of a burst (64)"},
      {"burst-bytes", OPTION_NUMBER, &burst_bytes, "bytes after which a burst ends (262144)"},
      {"spin-us", OPTION_NUMBER, &spin_us, "look again for this long before sleeping (0)"},
      {"cpu", OPTION_NUMBER, &cpu, "run on this processor"},
  };
  parse_options(argc, argv, options, sizeof options / sizeof *options);
  if (burst_frames < 1 || burst_frames > MAX_BURST) die("--burst is 1 to %d", MAX_BURST);
  stop_on_signals();
  pin_to_cpu(cpu);
  struct port a = open_port(a_text, !no_offload), b = open_port(b_text, !no_offload);
  prepare_burst();
  if (wants_ring && !ring_open(&ring)) die_errno("io_uring_setup");
  say_ready();
  forward(&a, &b);
  printf("{\"aReceived\":%lu,\"aTransmitted\":%lu,\"aRefused\":%lu,\"bReceived\":%lu,\"bTransmitted\":%lu,"
         "\"bRefused\":%lu,\"cpuSeconds\":%.3f}\n",
         a.received, a.transmitted, a.refused, b.received, b.transmitted, b.refused, cpu_seconds());
  return 0;
}
