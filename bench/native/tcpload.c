// TCP load through a router: bulk streams up or down, or connections that ask once and close. See tcpload.h.
#include "tcpload.h"

#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

// A prime, so that nothing else in the way repeats with it.
#define PERIOD 65521

static uint8_t pattern[PERIOD + CHUNK_BYTES];

static void fill_pattern(void) {
  uint32_t state = 0x9e3779b9;
  for (size_t i = 0; i < sizeof pattern; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    pattern[i] = i < PERIOD ? (uint8_t)(state >> 7) : pattern[i - PERIOD];
  }
}

const uint8_t *pattern_at(uint64_t offset) {
  return pattern + offset % PERIOD;
}

// Streams that pace themselves (BBR) would be measured instead of what is in their way: the host's default does not count.
int open_stream(const struct tcpload *load) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("socket");
  if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, load->congestion, (socklen_t)strlen(load->congestion)) != 0) {
    die_errno("congestion control %s", load->congestion);
  }
  return fd;
}

int start_connection(const struct tcpload *load, unsigned index) {
  int fd = open_stream(load);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)(load->port + (int64_t)index % load->port_count))};
  if (inet_pton(AF_INET, load->to, &address.sin_addr) != 1) die("%s is no IPv4 address", load->to);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) die_errno("connect");
  return fd;
}

void watch(int poller, int fd, uint32_t events, uint32_t tag) {
  struct epoll_event event = {.events = events, .data.u32 = tag};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) die_errno("epoll_ctl");
}

void change_watch(int poller, int fd, uint32_t events, uint32_t tag) {
  struct epoll_event event = {.events = events, .data.u32 = tag};
  if (epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event) != 0) die_errno("epoll_ctl");
}

int main(int argc, char **argv) {
  struct tcpload load = {.to = "203.0.113.2", .congestion = "cubic", .port = 9100, .port_count = 16, .streams = 1, .milliseconds = 2000,
                         .skip_ms = 300, .concurrent = 64};
  const char *netns = NULL;
  bool is_server = false, is_requests = false;
  int64_t cpu = -1;
  const struct option_spec options[] = {
      {"netns", OPTION_TEXT, &netns, "path of the network namespace"},
      {"server", OPTION_SWITCH, &is_server, "serve, until SIGTERM"},
      {"requests", OPTION_SWITCH, &is_requests, "connect, ask, close, again and again, instead of bulk"},
      {"to", OPTION_TEXT, &load.to, "the server (203.0.113.2)"},
      {"congestion", OPTION_TEXT, &load.congestion, "congestion control (cubic)"},
      {"port", OPTION_NUMBER, &load.port, "its first port (9100)"},
      {"port-count", OPTION_NUMBER, &load.port_count, "its number of ports (16)"},
      {"streams", OPTION_NUMBER, &load.streams, "bulk: streams at once (1)"},
      {"down", OPTION_SWITCH, &load.is_down, "bulk: from the server to the client"},
      {"verify", OPTION_SWITCH, &load.verify, "compare every byte that arrives"},
      {"concurrent", OPTION_NUMBER, &load.concurrent, "requests: connections at once (64)"},
      {"count", OPTION_NUMBER, &load.total, "requests: end after this many (0: when the time is over)"},
      {"ms", OPTION_NUMBER, &load.milliseconds, "duration (2000)"},
      {"skip-ms", OPTION_NUMBER, &load.skip_ms, "what the rate leaves out at the beginning (300)"},
      {"cpu", OPTION_NUMBER, &cpu, "run on this processor"},
  };
  parse_options(argc, argv, options, sizeof options / sizeof *options);
  if (load.port_count < 1 || load.streams < 1 || load.concurrent < 1) die("counts are at least 1");
  stop_on_signals();
  pin_to_cpu(cpu);
  enter_netns(netns);
  fill_pattern();
  if (is_server) return serve(&load);
  return is_requests ? run_requests(&load) : run_bulk(&load);
}
