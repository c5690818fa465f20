// The engine: moves bursts of frames between devices and the slots of the arena.
#ifndef TAPIR_ENGINE_H
#define TAPIR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define VNET_HEADER_BYTES 10
#define ETHERNET_HEADER_BYTES 14
// Frames of one recvmmsg or sendmmsg.
#define BATCH 64
// Pieces of one frame that is gathered from several slots.
#define MOST_PIECES 64
// A burst ends when it has brought this much: super-frames shall still be in the cache when they are sent.
#define BURST_BYTES (512 << 10)

// Indexes as in src/io/native.ts.
enum { FREE_COUNT, NOW_MS, CONTROL_READY, PORT_ERRORS, OUT_OF_SLOTS };
enum { RX_FRAMES, RX_BYTES, TX_FRAMES, TX_BYTES, TX_FULL, TX_ERRORS, RX_ERRORS, PORT_COUNTERS = 8 };
enum { KIND_TAP, KIND_PACKET };

struct port {
  int fd;
  bool in_use;
  bool ready;
  uint8_t kind;
};

struct engine {
  uint8_t *arena;
  size_t slot_bytes;
  int32_t slot_count;
  int32_t *slot_length;
  int32_t *free_slots;
  int32_t *received_slot;
  int32_t *received_port;
  int32_t received_limit;
  int32_t *transmit_slot;
  int32_t *transmit_port;
  int32_t *transmit_offset;
  int32_t transmit_limit;
  int32_t *state;
  int32_t *port_errors;
  double *port_counters;
  int32_t port_count;

  int epoll;
  int64_t spin_ns;
  struct port *ports;
  // Ports that may have more to read, in the order in which they are served.
  int32_t *ready;
  int32_t ready_count;
  struct epoll_event events[BATCH];
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  struct iovec pieces[MOST_PIECES];
};

int32_t engine_receive(struct engine *engine, int32_t max, int32_t timeout_ms);
int32_t engine_transmit(struct engine *engine, int32_t count);

// A device has failed for good: it is reported once, and not served any more.
void engine_port_failed(struct engine *engine, int32_t port, int error);

static inline uint8_t *slot_at(const struct engine *engine, int32_t slot) {
  return engine->arena + (size_t)slot * engine->slot_bytes;
}

static inline void count(struct engine *engine, int32_t port, int counter, double amount) {
  engine->port_counters[(size_t)port * PORT_COUNTERS + (size_t)counter] += amount;
}

#endif
