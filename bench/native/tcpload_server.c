// The server's side of tcpload: one thread, one epoll.
#include "common.h"
#include "tcpload.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS 65536
#define EVENTS 256

struct connection {
  bool is_listener;
  char purpose; // 0: not known yet
  uint64_t bytes; // of the pattern, behind the first byte
  uint64_t damaged_at;
};

// By descriptor.
static struct connection connections[MAX_CONNECTIONS];
static uint8_t chunk[CHUNK_BYTES];
static int poller;
static uint64_t accepted, answered, bytes_received, bytes_sent;

static void listen_on(const struct tcpload *load, uint16_t port) {
  int fd = open_stream(load), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("bind to port %d", port);
  if (listen(fd, 4096) != 0) die_errno("listen");
  connections[fd].is_listener = true;
  watch(poller, fd, EPOLLIN, (uint32_t)fd);
}

static void accept_all(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (fd >= MAX_CONNECTIONS) {
      close(fd);
      continue;
    }
    connections[fd] = (struct connection){.damaged_at = NO_DAMAGE};
    accepted++;
    watch(poller, fd, EPOLLIN, (uint32_t)fd);
  }
}

static void take(const struct tcpload *load, struct connection *connection, const uint8_t *bytes, size_t length) {
  if (load->verify && connection->damaged_at == NO_DAMAGE && memcmp(bytes, pattern_at(connection->bytes), length) != 0) {
    connection->damaged_at = connection->bytes;
  }
  connection->bytes += length;
  bytes_received += length;
}

static void finish_upload(int fd, const struct connection *connection) {
  struct upload_report report = {.received = connection->bytes, .damaged_at = connection->damaged_at};
  if (write(fd, &report, sizeof report) != sizeof report) perror("report");
  close(fd);
}

static void answer(int fd, struct connection *connection) {
  if (connection->bytes != MESSAGE_BYTES) return;
  if (write(fd, pattern_at(0), MESSAGE_BYTES) == MESSAGE_BYTES) answered++;
}

static void read_from(const struct tcpload *load, int fd) {
  struct connection *connection = &connections[fd];
  ssize_t length = read(fd, chunk, sizeof chunk);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length <= 0) {
    if (length == 0 && connection->purpose == 'U') {
      finish_upload(fd, connection);
    } else {
      close(fd);
    }
    return;
  }
  size_t used = 0;
  if (connection->purpose == 0) {
    connection->purpose = (char)chunk[0];
    used = connection->purpose == 'R' ? 0 : 1;
    if (connection->purpose == 'D') change_watch(poller, fd, EPOLLOUT | EPOLLRDHUP, (uint32_t)fd);
  }
  if (connection->purpose == 'U') take(load, connection, chunk + used, (size_t)length - used);
  if (connection->purpose == 'R') {
    connection->bytes += (uint64_t)length;
    answer(fd, connection);
  }
}

static void write_to(int fd) {
  struct connection *connection = &connections[fd];
  ssize_t length = write(fd, pattern_at(connection->bytes), CHUNK_BYTES);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (length < 0) {
    close(fd);
    return;
  }
  connection->bytes += (uint64_t)length;
  bytes_sent += (uint64_t)length;
}

static void handle(const struct tcpload *load, const struct epoll_event *event) {
  int fd = (int)event->data.u32;
  if (connections[fd].is_listener) {
    accept_all(fd);
  } else if (connections[fd].purpose == 'D') {
    if (event->events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
      close(fd);
    } else {
      write_to(fd);
    }
  } else {
    read_from(load, fd);
  }
}

int serve(const struct tcpload *load) {
  struct rlimit files = {.rlim_cur = MAX_CONNECTIONS, .rlim_max = MAX_CONNECTIONS};
  setrlimit(RLIMIT_NOFILE, &files);
  poller = epoll_create1(EPOLL_CLOEXEC);
  for (int64_t i = 0; i < load->port_count; i++) listen_on(load, (uint16_t)(load->port + i));
  say_ready();
  struct epoll_event events[EVENTS];
  while (!stop_requested) {
    int count = epoll_wait(poller, events, EVENTS, 1000);
    for (int i = 0; i < count; i++) handle(load, &events[i]);
  }
  printf("{\"accepted\":%lu,\"answered\":%lu,\"bytesReceived\":%lu,\"bytesSent\":%lu,\"cpuSeconds\":%.3f}\n", accepted,
         answered, bytes_received, bytes_sent, cpu_seconds());
  return 0;
}
