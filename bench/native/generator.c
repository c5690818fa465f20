// Sends numbered UDP datagrams of many flows from a device, as fast as it goes or at a fixed rate.
//
// Flow i has source port `base + i mod count`; when the ports are used up, the next destination address. One JSON line
// at the end. A frame that the device refuses (a TAP whose queue is full) is not sent again: it was offered, and the
// receiver finds its number missing.
#include "common.h"
#include "datagram.h"
#include "device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
// An odd number of cache lines, so that the headers do not share cache sets.
#define SLOT_BYTES 1600
// A paced generator sends at least this often, and so this many frames at once.
#define PACE_NS 50000
// How far it may fall behind its rate and still catch up, in frames; more would be a burst that nobody asked for.
#define MAX_BEHIND 256

static const char *netns, *device, *destination_mac, *source_address = "10.55.66.2", *destination = "203.0.113.2";
static int64_t flow_count = 1, port_base = 10000, port_count = 50000, destination_port = 9000;
static int64_t frame_bytes = MIN_FRAME_BYTES, rate = 0, total = 0, milliseconds = 1000, cpu = -1, nice_level = 0;
static int64_t first_flow = 0;
static bool is_imix, is_random, through_qdisc;

static uint8_t slots[BATCH][SLOT_BYTES];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];
static uint64_t offered, taken, skipped;

// Simple IMIX, 7:4:1, spread evenly; lengths without FCS.
static const uint16_t imix[12] = {60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 590, 60};

static size_t length_of(uint64_t sequence) {
  return is_imix ? imix[sequence % 12] : (size_t)frame_bytes;
}

static uint64_t flow_of(uint64_t sequence) {
  if (!is_random) return sequence % (uint64_t)flow_count;
  // A mix of the number, so that the order is the same in every run (splitmix64).
  uint64_t mixed = sequence * UINT64_C(0x9e3779b97f4a7c15);
  mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  return ((mixed ^ (mixed >> 27)) >> 16) % (uint64_t)flow_count;
}

static uint32_t parse_ipv4(const char *text) {
  struct in_addr address;
  if (inet_pton(AF_INET, text, &address) != 1) die("%s is no IPv4 address", text);
  return ntohl(address.s_addr);
}

static void parse_mac(const char *text, uint8_t *mac) {
  if (text == NULL || sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) {
    die("--to-mac: a MAC address is needed");
  }
}

static int open_sender(void) {
  enter_netns(netns);
  if (device == NULL) die("--device is needed");
  struct link link = describe_link(device);
  uint8_t mac[6];
  parse_mac(destination_mac, mac);
  for (int i = 0; i < BATCH; i++) {
    datagram_template(slots[i], mac, link.mac);
    vectors[i].iov_base = slots[i];
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1, bytes = 4 << 20;
  if (fd < 0) die_errno("socket AF_PACKET");
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  if (!through_qdisc && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) != 0) {
    die_errno("PACKET_QDISC_BYPASS");
  }
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = link.ifindex};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("bind to %s", device);
  return fd;
}

static void build(int count) {
  static uint32_t source, target;
  if (source == 0) {
    source = parse_ipv4(source_address);
    target = parse_ipv4(destination);
  }
  uint64_t time = now_ns();
  for (int i = 0; i < count; i++) {
    uint64_t sequence = offered + (uint64_t)i, index = flow_of(sequence) + (uint64_t)first_flow;
    struct flow flow = {
        .source = source,
        .destination = target + (uint32_t)(index / (uint64_t)port_count),
        .source_port = (uint16_t)(port_base + (int64_t)(index % (uint64_t)port_count)),
        .destination_port = (uint16_t)destination_port,
    };
    vectors[i].iov_len = length_of(sequence);
    datagram_write(slots[i], vectors[i].iov_len, &flow, (uint32_t)sequence, time);
  }
}

static void send_batch(int fd, int count) {
  build(count);
  for (int done = 0; done < count;) {
    int sent = sendmmsg(fd, messages + done, (unsigned)(count - done), 0);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != ENOBUFS && errno != EAGAIN) die_errno("sendmmsg");
    if (sent > 0) {
      taken += (uint64_t)sent;
      done += sent;
    }
    if (done < count) done++; // The one behind was refused.
  }
  offered += (uint64_t)count;
}

static int at_most(uint64_t frames) {
  return frames < BATCH ? (int)frames : BATCH;
}

// How many frames are due now; sleeps when it is too early for a batch.
static int due(uint64_t *start, uint64_t now) {
  uint64_t batch = (uint64_t)rate * PACE_NS / NANOSECONDS;
  if (batch < 1) batch = 1;
  if (batch > BATCH) batch = BATCH;
  uint64_t schedule = (uint64_t)((double)(now - *start) * (double)rate / 1e9);
  if (schedule < offered + batch) {
    sleep_until(*start + (uint64_t)((double)(offered + batch) * 1e9 / (double)rate) + 1);
    return 0;
  }
  if (schedule - offered > MAX_BEHIND) {
    uint64_t given_up = schedule - offered - MAX_BEHIND;
    skipped += given_up;
    *start += (uint64_t)((double)given_up * 1e9 / (double)rate);
  }
  return at_most(schedule - offered);
}

static double run(int fd) {
  uint64_t begin = now_ns(), start = begin, end = begin + (uint64_t)milliseconds * 1000000;
  while (!stop_requested && (total == 0 || offered < (uint64_t)total)) {
    uint64_t now = now_ns();
    if (now >= end) break;
    int count = rate == 0 ? BATCH : due(&start, now);
    if (total != 0 && (uint64_t)count > (uint64_t)total - offered) count = (int)((uint64_t)total - offered);
    if (count > 0) send_batch(fd, count);
  }
  return (double)(now_ns() - begin) / 1e9;
}

int main(int argc, char **argv) {
  const struct option_spec options[] = {
      {"netns", OPTION_TEXT, &netns, "path of the network namespace"},
      {"device", OPTION_TEXT, &device, "device to send from"},
      {"to-mac", OPTION_TEXT, &destination_mac, "MAC address of the next hop"},
      {"from", OPTION_TEXT, &source_address, "source address (10.55.66.2)"},
      {"to", OPTION_TEXT, &destination, "first destination address (203.0.113.2)"},
      {"port", OPTION_NUMBER, &destination_port, "destination port (9000)"},
      {"flows", OPTION_NUMBER, &flow_count, "number of flows (1)"},
      {"first-flow", OPTION_NUMBER, &first_flow, "number of the first flow (0)"},
      {"port-base", OPTION_NUMBER, &port_base, "first source port (10000)"},
      {"port-count", OPTION_NUMBER, &port_count, "source ports for each destination (50000)"},
      {"random", OPTION_SWITCH, &is_random, "flows in random order, not in turn"},
      {"size", OPTION_NUMBER, &frame_bytes, "length of a frame without FCS (60)"},
      {"imix", OPTION_SWITCH, &is_imix, "frames of 60, 590 and 1514 bytes, 7:4:1"},
      {"pps", OPTION_NUMBER, &rate, "frames in a second (0: as many as possible)"},
      {"count", OPTION_NUMBER, &total, "end after this many frames (0: when the time is over)"},
      {"ms", OPTION_NUMBER, &milliseconds, "end after this time (1000)"},
      {"qdisc", OPTION_SWITCH, &through_qdisc, "through the queueing discipline, not past it"},
      {"cpu", OPTION_NUMBER, &cpu, "run on this processor"},
      {"nice", OPTION_NUMBER, &nice_level, "scheduling priority"},
  };
  parse_options(argc, argv, options, sizeof options / sizeof *options);
  if (frame_bytes < MIN_FRAME_BYTES || frame_bytes > MAX_FRAME_BYTES) die("--size is 60 to 1514");
  if (flow_count < 1 || port_count < 1 || port_base + port_count > 65536) die("flows or ports out of range");
  stop_on_signals();
  pin_to_cpu(cpu);
  set_nice(nice_level);
  int fd = open_sender();
  double seconds = run(fd);
  printf("{\"offered\":%lu,\"taken\":%lu,\"skipped\":%lu,\"seconds\":%.6f,\"cpuSeconds\":%.3f}\n", offered, taken,
         skipped, seconds, cpu_seconds());
  return 0;
}
