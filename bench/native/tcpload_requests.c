// Connections that ask once and close: how many in a second, with a fixed number of them under way.
#include "common.h"
#include "tcpload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FILES 65536
// A connection that has not been answered by then counts as failed; it is far above TCP's first retransmission.
#define GIVE_UP_NS (4 * NANOSECONDS)

struct request {
  int fd;
  size_t received;
  bool is_asked;
  uint64_t begin;
};

struct totals {
  uint64_t started, completed, failed, damaged;
};

static void begin_request(const struct tcpload *load, int poller, struct request *request, uint32_t index,
                          struct totals *totals) {
  if (load->total > 0 && totals->started >= (uint64_t)load->total) {
    request->fd = -1;
    return;
  }
  *request = (struct request){.fd = start_connection(load, (unsigned)totals->started++), .begin = now_ns()};
  watch(poller, request->fd, EPOLLOUT, index);
}

static bool ask(int poller, struct request *request, uint32_t index) {
  uint8_t message[MESSAGE_BYTES] = {'R'};
  if (write(request->fd, message, sizeof message) != sizeof message) return false;
  request->is_asked = true;
  change_watch(poller, request->fd, EPOLLIN, index);
  return true;
}

// 1: answered, 0: goes on, -1: failed.
static int read_answer(struct request *request, struct totals *totals) {
  uint8_t message[MESSAGE_BYTES];
  ssize_t length = read(request->fd, message, sizeof message - request->received);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (length <= 0) return -1;
  if (memcmp(message, pattern_at(request->received), (size_t)length) != 0) totals->damaged++;
  request->received += (size_t)length;
  return request->received == MESSAGE_BYTES ? 1 : 0;
}

static void step(const struct tcpload *load, int poller, struct request *request, uint32_t index,
                 struct totals *totals) {
  int outcome = request->is_asked ? read_answer(request, totals) : (ask(poller, request, index) ? 0 : -1);
  if (outcome == 0) return;
  if (outcome > 0) {
    totals->completed++;
  } else {
    totals->failed++;
  }
  close(request->fd);
  begin_request(load, poller, request, index, totals);
}

static void give_up_old(const struct tcpload *load, int poller, struct request *requests, struct totals *totals) {
  uint64_t now = now_ns();
  for (int64_t i = 0; i < load->concurrent; i++) {
    if (requests[i].fd < 0 || now - requests[i].begin < GIVE_UP_NS) continue;
    totals->failed++;
    close(requests[i].fd);
    begin_request(load, poller, &requests[i], (uint32_t)i, totals);
  }
}

static bool is_done(const struct tcpload *load, const struct totals *totals) {
  return load->total > 0 && totals->completed + totals->failed >= (uint64_t)load->total;
}

static void pump(const struct tcpload *load, int poller, struct request *requests, struct totals *totals,
                 uint64_t until) {
  struct epoll_event events[256];
  uint64_t looked = now_ns();
  while (!stop_requested && !is_done(load, totals)) {
    int count = epoll_wait(poller, events, 256, 10);
    for (int i = 0; i < count; i++) {
      uint32_t index = events[i].data.u32;
      step(load, poller, &requests[index], index, totals);
    }
    uint64_t now = now_ns();
    if (now >= until) return;
    if (now - looked > NANOSECONDS / 10) {
      give_up_old(load, poller, requests, totals);
      looked = now;
    }
  }
}

int run_requests(const struct tcpload *load) {
  struct rlimit files = {.rlim_cur = MAX_FILES, .rlim_max = MAX_FILES};
  setrlimit(RLIMIT_NOFILE, &files);
  struct request *requests = calloc((size_t)load->concurrent, sizeof *requests);
  if (requests == NULL) die("no memory");
  int poller = epoll_create1(EPOLL_CLOEXEC);
  struct totals totals = {0};
  uint64_t begin = now_ns();
  for (int64_t i = 0; i < load->concurrent; i++) begin_request(load, poller, &requests[i], (uint32_t)i, &totals);
  pump(load, poller, requests, &totals, begin + (uint64_t)load->skip_ms * 1000000);
  uint64_t from = now_ns(), before = totals.completed;
  pump(load, poller, requests, &totals, begin + (uint64_t)load->milliseconds * 1000000);
  double seconds = (double)(now_ns() - from) / 1e9;
  printf("{\"completed\":%lu,\"failed\":%lu,\"damaged\":%lu,\"seconds\":%.6f,\"perSecond\":%.1f,\"cpuSeconds\":%.3f}\n",
         totals.completed, totals.failed, totals.damaged, seconds, (double)(totals.completed - before) / seconds,
         cpu_seconds());
  return 0;
}
