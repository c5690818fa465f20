// Receive: one call brings a burst from all ports.
//
// Ports are watched edge-triggered. A port that has something stands in a queue until it has been read empty, so that
// a busy port costs no epoll event for each burst. Each port in the queue gets a fair share of a burst, in frames and
// in bytes, and goes to the end of the queue; those that a full burst did not reach come first in the next one. Epoll
// is asked once in each call: before the burst when it is known to be a full one, after it when it was not, and with a
// wait when there was nothing.
#include "engine.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

// Credit of waiting awake: what it is at most, how much is enough to do it, and how often it is tried without.
#define SPIN_FULL 1024
#define SPIN_ENOUGH 512
#define SPIN_PROBE 16

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void enqueue(struct engine *engine, int32_t port) {
  struct queue *ready = &engine->ready;
  int32_t tail = ready->head + ready->length;
  ready->ports[tail < ready->capacity ? tail : tail - ready->capacity] = port;
  ready->length++;
  engine->ports[port].queued = true;
}

static int32_t dequeue(struct engine *engine) {
  struct queue *ready = &engine->ready;
  int32_t port = ready->ports[ready->head];
  ready->head = ready->head + 1 < ready->capacity ? ready->head + 1 : 0;
  ready->length--;
  engine->ports[port].queued = false;
  return port;
}

// Waits as epoll_wait does, but to fractions of a millisecond where the kernel can (epoll_pwait2, Linux 5.11); one that
// cannot returns early and is asked again.
static int wait_for_events(struct engine *engine, int64_t timeout_ns) {
  static bool is_missing;
  if (timeout_ns % 1000000 != 0 && timeout_ns > 0 && !is_missing) {
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    int count = epoll_pwait2(engine->epoll, engine->events, BATCH, &timeout, NULL);
    // EPERM: a filter of system calls that is older than this one.
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    is_missing = true;
  }
  return epoll_wait(engine->epoll, engine->events, BATCH, timeout_ns < 0 ? -1 : (int)(timeout_ns / 1000000));
}

static int poll_ports(struct engine *engine, int64_t timeout_ns) {
  int count = wait_for_events(engine, timeout_ns);
  for (int i = 0; i < count; i++) {
    uint32_t index = engine->events[i].data.u32;
    if (index == CONTROL) engine->state[CONTROL_READY] = 1;
    else if (!engine->ports[index].queued) enqueue(engine, (int32_t)index);
  }
  return count;
}

// Whether waiting awake has paid lately. It does not where frames are far apart, nor where the sender needs this very
// processor to send; then only one wait in SPIN_PROBE is spent to ask again.
static bool is_spin_worth(struct engine *engine) {
  engine->waits++;
  return engine->spin_credit >= SPIN_ENOUGH || engine->waits % SPIN_PROBE == 0;
}

static bool spin_for_ports(struct engine *engine, int64_t longest_ns) {
  int64_t end = now_ns() + longest_ns;
  do {
    if (poll_ports(engine, 0) > 0) {
      engine->spin_credit += (SPIN_FULL - engine->spin_credit) / 8;
      return true;
    }
  } while (now_ns() < end);
  engine->spin_credit -= engine->spin_credit / 8;
  return false;
}

// Waits until something is there: first awake, where a sleep and a wake-up would cost more than a short wait.
static void wait_for_ports(struct engine *engine, int64_t timeout_ns) {
  if (engine->spin_ns > 0 && timeout_ns != 0 && is_spin_worth(engine)) {
    int64_t spin_ns = timeout_ns > 0 && timeout_ns < engine->spin_ns ? timeout_ns : engine->spin_ns;
    if (spin_for_ports(engine, spin_ns)) return;
    if (timeout_ns % 1000000 > 0) timeout_ns -= spin_ns;
  }
  poll_ports(engine, timeout_ns);
}

// Reads a TAP, which gives one frame with each call, straight into the slots. A slot filled to its last byte holds a
// frame that the kernel has cut.
static struct yield read_tap_port(struct engine *engine, int32_t port, struct share share) {
  int fd = engine->ports[port].fd;
  struct yield yield = {0};
  for (int32_t tries = 0; tries < share.frames && yield.bytes < share.bytes; tries++) {
    int32_t free_count = free_slot_count(engine);
    if (free_count == 0) {
      engine->state[OUT_OF_SLOTS]++;
      break;
    }
    int32_t slot = engine->free_slots[free_count - 1];
    if (!is_slot(engine, slot)) {
      engine->state[FREE_COUNT] = free_count - 1;
      continue;
    }
    ssize_t bytes = read(fd, slot_at(engine, slot), engine->slot_bytes);
    if (bytes < 0) {
      if (errno == EINTR) continue;
      if (is_frame_error(errno)) {
        count(engine, port, RX_ERRORS, 1);
        continue;
      }
      yield.empty = true;
      if (errno != EAGAIN) engine_port_failed(engine, port, errno);
      break;
    }
    if (bytes == 0) {
      // A socket in the place of a TAP: its other end is closed.
      yield.empty = true;
      engine_port_failed(engine, port, ENODEV);
      break;
    }
    if (bytes < SHORTEST_FRAME_BYTES || (size_t)bytes >= engine->slot_bytes) {
      count(engine, port, RX_ERRORS, 1);
      continue;
    }
    engine->state[FREE_COUNT] = free_count - 1;
    accept_frame(engine, share.at + yield.frames, port, slot, (int32_t)bytes - VNET_HEADER_BYTES);
    yield.bytes += bytes - VNET_HEADER_BYTES;
    yield.frames++;
  }
  return yield;
}

// Of a port that has been served: counts, and the place in the queue that it has from now on.
static void finish_port(struct engine *engine, int32_t port, struct yield yield) {
  count(engine, port, RX_FRAMES, yield.frames);
  count(engine, port, RX_BYTES, (double)yield.bytes);
  if (yield.empty) return;
  enqueue(engine, port);
  if (!yield.short_of_share) engine->more_expected = true;
}

static bool uses_ring(const struct engine *engine, int32_t port) {
  return engine->ring.fd >= 0 && engine->ports[port].kind == KIND_TAP;
}

// Serves each port of the queue once, as far as the burst goes. The last of `left` ports takes what is left. With a ring
// the TAPs are only asked at first: their frames come, all at once, behind those of the packet sockets.
static int32_t serve_ports(struct engine *engine, int32_t max) {
  int32_t got = 0, promised = 0, asked_ports = 0;
  int64_t budget = BURST_BYTES;
  engine->more_expected = false;
  for (int32_t left = engine->ready.length; left > 0; left--) {
    int32_t room = max - got - promised;
    if (room <= 0 || budget <= 0) {
      engine->more_expected = true;
      break;
    }
    int32_t port = dequeue(engine);
    if (!engine->ports[port].in_use) continue;
    struct share share = {.at = got, .frames = (room + left - 1) / left, .bytes = (budget + left - 1) / left};
    if (uses_ring(engine, port)) {
      int32_t asked = ring_ask_port(engine, port, share);
      promised += asked;
      budget -= (int64_t)asked * engine->ports[port].typical_bytes;
      engine->asked_ports[asked_ports++] = port;
      continue;
    }
    struct yield yield = engine->ports[port].kind == KIND_TAP ? read_tap_port(engine, port, share)
                                                              : read_packet_port(engine, port, share);
    got += yield.frames;
    budget -= yield.bytes;
    finish_port(engine, port, yield);
  }
  got += ring_take_reads(engine, got);
  for (int32_t i = 0; i < asked_ports; i++) {
    int32_t port = engine->asked_ports[i];
    struct yield yield = ring_yield_of(engine, port);
    if (yield.frames == 0 && !yield.empty && engine->ring_refused) {
      // The share that it had: never more than was promised.
      yield = read_tap_port(engine, port, (struct share){.at = got, .frames = engine->ports[port].asked, .bytes = BURST_BYTES});
      got += yield.frames;
    }
    finish_port(engine, port, yield);
  }
  return got;
}

static bool has_news(const struct engine *engine) {
  return engine->ready.length > 0 || engine->state[CONTROL_READY] != 0 || engine->state[PORT_ERRORS] != 0;
}

// How long the burst before has been with the router; it has been sent by now.
static void note_busy(struct engine *engine) {
  if (engine->received_ns == 0) return;
  int64_t busy_ns = now_ns() - engine->received_ns;
  engine->state[BUSY_NS] = busy_ns > INT32_MAX ? INT32_MAX : (int32_t)busy_ns;
}

int32_t engine_receive(struct engine *engine, int32_t max, int64_t timeout_ns) {
  note_busy(engine);
  engine->state[CONTROL_READY] = 0;
  engine->state[PORT_ERRORS] = 0;
  bool polled = engine->more_expected;
  if (polled) poll_ports(engine, 0);
  int32_t got = serve_ports(engine, max);
  if (got == 0 && !has_news(engine)) {
    wait_for_ports(engine, timeout_ns);
    got = serve_ports(engine, max);
  } else if (!polled) {
    poll_ports(engine, 0);
  }
  int64_t now = now_ns(), now_us = now / 1000;
  engine->state[NOW_MS] = (int32_t)(uint32_t)(now_us / 1000);
  engine->state[NOW_MICROSECONDS] = (int32_t)(now_us % 1000);
  engine->received_ns = got > 0 ? now : 0;
  return got;
}
