// Bulk streams, up or down. The rate is that of bytes acknowledged (up) or read (down), without the beginning.
#include "common.h"
#include "tcpload.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REPORT_WITHIN_MS 5000

struct stream {
  int fd;
  bool has_begun; // the byte that says what it is for is sent
  uint64_t bytes;
  uint64_t damaged_at;
};

static uint8_t chunk[CHUNK_BYTES];

static void tag_purpose(const struct tcpload *load, int poller, struct stream *stream, uint32_t index) {
  if (write(stream->fd, load->is_down ? "D" : "U", 1) != 1) die_errno("stream %u", index);
  stream->has_begun = true;
  if (load->is_down) change_watch(poller, stream->fd, EPOLLIN, index);
}

static void send_more(struct stream *stream) {
  ssize_t length = write(stream->fd, pattern_at(stream->bytes), CHUNK_BYTES);
  if (length > 0) {
    stream->bytes += (uint64_t)length;
  } else if (errno != EAGAIN && errno != EINTR) {
    die_errno("write");
  }
}

static void receive_more(const struct tcpload *load, struct stream *stream) {
  ssize_t length = read(stream->fd, chunk, sizeof chunk);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length <= 0) die("the server ended a stream");
  if (load->verify && stream->damaged_at == NO_DAMAGE && memcmp(chunk, pattern_at(stream->bytes), (size_t)length) != 0) {
    stream->damaged_at = stream->bytes;
  }
  stream->bytes += (uint64_t)length;
}

static struct tcp_info info_of(const struct stream *stream) {
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) die_errno("TCP_INFO");
  return info;
}

static uint64_t delivered(const struct tcpload *load, const struct stream *streams) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < load->streams; i++) {
    sum += load->is_down ? streams[i].bytes : info_of(&streams[i]).tcpi_bytes_acked;
  }
  return sum;
}

static void pump(const struct tcpload *load, int poller, struct stream *streams, uint64_t until) {
  struct epoll_event events[64];
  while (!stop_requested && now_ns() < until) {
    int count = epoll_wait(poller, events, 64, 10);
    for (int i = 0; i < count; i++) {
      struct stream *stream = &streams[events[i].data.u32];
      if (!stream->has_begun) {
        tag_purpose(load, poller, stream, events[i].data.u32);
      } else if (load->is_down) {
        receive_more(load, stream);
      } else {
        send_more(stream);
      }
    }
  }
}

// What the server says of an upload; counts as damaged when it does not say that all has arrived.
static bool upload_is_whole(const struct stream *stream) {
  struct upload_report report;
  struct pollfd waiting = {.fd = stream->fd, .events = POLLIN};
  shutdown(stream->fd, SHUT_WR);
  if (poll(&waiting, 1, REPORT_WITHIN_MS) != 1) return false;
  if (read(stream->fd, &report, sizeof report) != sizeof report) return false;
  return report.received == stream->bytes && report.damaged_at == NO_DAMAGE;
}

int run_bulk(const struct tcpload *load) {
  struct stream *streams = calloc((size_t)load->streams, sizeof *streams);
  if (streams == NULL) die("no memory");
  int poller = epoll_create1(EPOLL_CLOEXEC);
  for (int64_t i = 0; i < load->streams; i++) {
    streams[i] = (struct stream){.fd = start_connection(load, (unsigned)i), .damaged_at = NO_DAMAGE};
    watch(poller, streams[i].fd, EPOLLOUT, (uint32_t)i);
  }
  uint64_t begin = now_ns();
  pump(load, poller, streams, begin + (uint64_t)load->skip_ms * 1000000);
  uint64_t from = now_ns(), before = delivered(load, streams);
  pump(load, poller, streams, begin + (uint64_t)load->milliseconds * 1000000);
  uint64_t bytes = delivered(load, streams) - before, elapsed = now_ns() - from, retransmitted = 0, damaged = 0;
  for (int64_t i = 0; i < load->streams; i++) {
    retransmitted += info_of(&streams[i]).tcpi_total_retrans;
    bool is_whole = load->is_down ? streams[i].damaged_at == NO_DAMAGE : upload_is_whole(&streams[i]);
    if (!is_whole) damaged++;
    close(streams[i].fd);
  }
  printf("{\"bytes\":%lu,\"seconds\":%.6f,\"gigabitsPerSecond\":%.4f,\"retransmitted\":%lu,\"damagedStreams\":%lu,"
         "\"cpuSeconds\":%.3f}\n",
         bytes, (double)elapsed / 1e9, (double)bytes * 8 / (double)elapsed, retransmitted, damaged, cpu_seconds());
  return 0;
}
