// Receive: one call brings a burst from all ports.
//
// Ports are watched edge-triggered. A port that has something goes on the ready list and stays there until it has been
// read empty, so that a busy port costs no epoll event for each burst. Each ready port gets a fair share of a burst,
// and the list turns: the port served first now is served last next time.
#include "engine.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// epoll's word for the control descriptor.
#define CONTROL UINT32_MAX

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int poll_ports(struct engine *engine, int timeout_ms) {
  int count = epoll_wait(engine->epoll, engine->events, BATCH, timeout_ms);
  for (int i = 0; i < count; i++) {
    uint32_t index = engine->events[i].data.u32;
    if (index == CONTROL) {
      engine->state[CONTROL_READY] = 1;
    } else if (engine->ports[index].in_use && !engine->ports[index].ready) {
      engine->ports[index].ready = true;
      engine->ready[engine->ready_count++] = (int32_t)index;
    }
  }
  return count;
}

// Waits until something is there: first awake, because a sleep and a wake-up cost more than a short wait.
static void wait_for_ports(struct engine *engine, int timeout_ms) {
  if (engine->spin_ns > 0 && timeout_ms > 0) {
    int64_t end = now_ns() + engine->spin_ns;
    do {
      if (poll_ports(engine, 0) > 0) return;
    } while (now_ns() < end);
  }
  poll_ports(engine, timeout_ms);
}

static void accept_frame(struct engine *engine, int32_t at, int32_t port, int32_t slot, int32_t bytes) {
  engine->slot_length[slot] = bytes - VNET_HEADER_BYTES;
  engine->received_slot[at] = slot;
  engine->received_port[at] = port;
}

static bool is_frame(const struct engine *engine, ssize_t bytes) {
  return bytes >= VNET_HEADER_BYTES + ETHERNET_HEADER_BYTES && (size_t)bytes <= engine->slot_bytes;
}

// Reads up to `quota` frames of a TAP; returns how many. `*empty` tells that there is no more.
static int32_t read_tap(struct engine *engine, int32_t port, int32_t at, int32_t quota, int64_t *budget, bool *empty) {
  int fd = engine->ports[port].fd;
  int32_t got = 0;
  double bytes_read = 0;
  while (got < quota && *budget > 0) {
    int32_t free = engine->state[FREE_COUNT];
    if (free == 0) {
      engine->state[OUT_OF_SLOTS]++;
      break;
    }
    int32_t slot = engine->free_slots[free - 1];
    ssize_t bytes = read(fd, slot_at(engine, slot), engine->slot_bytes);
    if (bytes < 0) {
      if (errno == EINTR) continue;
      *empty = true;
      if (errno != EAGAIN) engine_port_failed(engine, port, errno);
      break;
    }
    if (!is_frame(engine, bytes)) {
      count(engine, port, RX_ERRORS, 1);
      continue;
    }
    engine->state[FREE_COUNT] = free - 1;
    accept_frame(engine, at + got, port, slot, (int32_t)bytes);
    bytes_read += (double)(bytes - VNET_HEADER_BYTES);
    *budget -= bytes;
    got++;
  }
  count(engine, port, RX_FRAMES, got);
  count(engine, port, RX_BYTES, bytes_read);
  return got;
}

// A packet socket says ENETDOWN both when its device goes down and when it is removed; only then it is unbound.
static bool is_device_gone(int fd) {
  struct sockaddr_ll address;
  socklen_t length = sizeof address;
  return getsockname(fd, (struct sockaddr *)&address, &length) != 0 || address.sll_ifindex <= 0;
}

// The same for a packet socket, a batch with each call.
static int32_t read_packet(struct engine *engine, int32_t port, int32_t at, int32_t quota, int64_t *budget,
                           bool *empty) {
  int fd = engine->ports[port].fd;
  int32_t free = engine->state[FREE_COUNT];
  int32_t want = quota < BATCH ? quota : BATCH;
  if (want > free) want = free;
  if (want == 0) {
    engine->state[OUT_OF_SLOTS]++;
    return 0;
  }
  for (int32_t i = 0; i < want; i++) {
    engine->vectors[i].iov_base = slot_at(engine, engine->free_slots[free - 1 - i]);
    engine->vectors[i].iov_len = engine->slot_bytes;
    engine->messages[i].msg_hdr = (struct msghdr){.msg_iov = &engine->vectors[i], .msg_iovlen = 1};
  }
  int received = recvmmsg(fd, engine->messages, (unsigned)want, MSG_DONTWAIT | MSG_TRUNC, NULL);
  if (received < 0) {
    *empty = errno != EINTR;
    if (errno == ENETDOWN && is_device_gone(fd)) engine_port_failed(engine, port, ENODEV);
    else if (errno != EAGAIN && errno != EINTR && errno != ENETDOWN) engine_port_failed(engine, port, errno);
    return 0;
  }
  if (received < want) *empty = true;
  int32_t got = 0;
  double bytes_read = 0;
  int32_t kept[BATCH], returned = 0;
  for (int32_t i = 0; i < received; i++) {
    int32_t slot = engine->free_slots[free - 1 - i];
    ssize_t bytes = engine->messages[i].msg_len;
    if (!is_frame(engine, bytes)) {
      count(engine, port, RX_ERRORS, 1);
      kept[returned++] = slot;
      continue;
    }
    accept_frame(engine, at + got, port, slot, (int32_t)bytes);
    bytes_read += (double)(bytes - VNET_HEADER_BYTES);
    *budget -= bytes;
    got++;
  }
  // The slots of malformed frames go back on top of those that were not used.
  int32_t left = free - received;
  for (int32_t i = 0; i < returned; i++) engine->free_slots[left + i] = kept[i];
  engine->state[FREE_COUNT] = left + returned;
  count(engine, port, RX_FRAMES, got);
  count(engine, port, RX_BYTES, bytes_read);
  return got;
}

int32_t engine_receive(struct engine *engine, int32_t max, int32_t timeout_ms) {
  engine->state[CONTROL_READY] = 0;
  engine->state[PORT_ERRORS] = 0;
  if (engine->ready_count > 0) poll_ports(engine, 0);
  else wait_for_ports(engine, timeout_ms);

  int32_t got = 0;
  int64_t budget = BURST_BYTES;
  int32_t rounds = engine->ready_count, still = 0;
  for (int32_t i = 0; i < rounds; i++) {
    int32_t port = engine->ready[i];
    bool empty = false;
    if (!engine->ports[port].in_use) continue;
    int32_t quota = (max - got) / (rounds - i);
    if (quota == 0 && got < max) quota = 1;
    if (quota > 0 && budget > 0) {
      got += engine->ports[port].kind == KIND_TAP ? read_tap(engine, port, got, quota, &budget, &empty)
                                                  : read_packet(engine, port, got, quota, &budget, &empty);
    }
    if (empty) engine->ports[port].ready = false;
    else engine->ready[still++] = port;
  }
  // Turn the list, so that another port is the first one next time.
  if (still > 1) {
    int32_t first = engine->ready[0];
    memmove(engine->ready, engine->ready + 1, (size_t)(still - 1) * sizeof *engine->ready);
    engine->ready[still - 1] = first;
  }
  engine->ready_count = still;
  engine->state[NOW_MS] = (int32_t)(uint32_t)(now_ns() / 1000000);
  return got;
}
