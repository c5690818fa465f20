// The engine: moves bursts of frames between devices and the slots of the arena.
#ifndef TAPIR_ENGINE_H
#define TAPIR_ENGINE_H

#include "ring.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define VNET_HEADER_BYTES 10
#define ETHERNET_HEADER_BYTES 14
#define SHORTEST_FRAME_BYTES (VNET_HEADER_BYTES + ETHERNET_HEADER_BYTES)
// Frames of one recvmmsg or sendmmsg, and events of one epoll_wait.
#define BATCH 64
// Pieces of one frame that is gathered from several slots.
#define MOST_PIECES 64
// A burst ends when it has brought this much. It is what 64 super-frames have: a burst that ends earlier leaves them in the
// cache, but sender, router and receiver then wake each other more often, which costs more.
#define BURST_BYTES (4 << 20)
// What epoll tells about the control descriptor in the place of a port.
#define CONTROL UINT32_MAX

// Indexes as in src/io/native.ts.
enum {
  FREE_COUNT,
  NOW_MS,
  CONTROL_READY,
  PORT_ERRORS,
  OUT_OF_SLOTS,
  NOW_MICROSECONDS,
  BUSY_NS,
  RING_ERROR,
  STATE_WORDS = 16
};
enum { RX_FRAMES, RX_BYTES, TX_FRAMES, TX_BYTES, TX_FULL, TX_ERRORS, RX_ERRORS, PORT_COUNTERS = 8 };
enum { KIND_TAP, KIND_PACKET };

struct port {
  int fd;
  uint8_t kind;
  bool in_use;
  // It is in the queue of ready ports (perhaps still, after it was removed).
  bool queued;
  // What the kernel puts in front of a frame: VNET_HEADER_BYTES, or nothing on a packet socket without vnet headers.
  uint8_t header_bytes;
  // Length of the frames that came last; keeps a batch of super-frames within the burst.
  int32_t typical_bytes;
  // With a ring (a TAP): how many reads to ask for next time, and what came of those of this burst.
  uint8_t reads;
  bool is_empty;
  int32_t asked;
  int32_t got;
  int64_t got_bytes;
};

// A frame that is to be sent: one entry of the transmit arrays, or several.
struct frame {
  int32_t port;
  int32_t entries;
  size_t bytes;
};

// Reads of a burst that are queued in the ring.
struct asked {
  int32_t count;
  int32_t slot[RING_ENTRIES];
  int32_t port[RING_ENTRIES];
};

// Writes that are queued in the ring, each with its pieces from `first` on.
#define WRITTEN_PIECES (RING_ENTRIES + MOST_PIECES)
struct written {
  int32_t count;
  int32_t pieces_count;
  int32_t first[RING_ENTRIES];
  struct frame frame[RING_ENTRIES];
  struct iovec pieces[WRITTEN_PIECES];
};

// Ports that may have more to read, in the order in which they are served; each at most once.
struct queue {
  int32_t *ports;
  int32_t capacity;
  int32_t head;
  int32_t length;
};

// What one port may take of a burst.
struct share {
  int32_t at;
  int32_t frames;
  int64_t bytes;
};

// What came of it.
struct yield {
  int32_t frames;
  int64_t bytes;
  // Nothing is left to read: epoll tells when there is.
  bool empty;
  // Probably nothing is left.
  bool short_of_share;
};

union auxiliary {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
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
  // Keeps the arrays above alive.
  napi_ref kept;

  int epoll;
  struct ring ring;
  // The ring did not take all reads of this burst.
  bool ring_refused;
  struct asked asked;
  int32_t *asked_ports;
  struct written written;
  int64_t spin_ns;
  int32_t spin_credit;  // how often spinning has ended with a frame, see engine_receive.c
  uint32_t waits;
  int64_t received_ns;  // when the last burst had been received; 0 when nothing came
  struct port *ports;
  struct queue ready;
  // A port in the queue had more than its share in the last burst.
  bool more_expected;
  struct epoll_event events[BATCH];
  struct mmsghdr received[BATCH];
  struct iovec received_vectors[BATCH];
  union auxiliary auxiliaries[BATCH];
  struct mmsghdr sent[BATCH];
  struct iovec sent_vectors[BATCH];
  struct iovec pieces[MOST_PIECES];
};

// Takes the arrays out of an EngineMemory; false with a pending exception.
bool engine_read_memory(napi_env env, napi_value memory, struct engine *engine);

// Waits at most `timeout_ns`; negative: for ever.
int32_t engine_receive(struct engine *engine, int32_t max, int64_t timeout_ns);
int32_t engine_transmit(struct engine *engine, int32_t count);

// Gives TAPs a ring or takes it away; returns whether there is one.
bool engine_use_ring(struct engine *engine, bool wanted);
// Queues reads of a TAP as far as its share goes; returns how many.
int32_t ring_ask_port(struct engine *engine, int32_t port, struct share share);
// Reads what was asked for into the burst, from place `at` on; returns how many frames came.
int32_t ring_take_reads(struct engine *engine, int32_t at);
// What came from one of the ports that were asked.
struct yield ring_yield_of(struct engine *engine, int32_t port);
// Queues a frame whose pieces are in `engine->pieces`, and sends what is queued; both return how many were sent.
int32_t ring_add_write(struct engine *engine, const struct frame *frame);
int32_t ring_flush_writes(struct engine *engine);

// Writes a frame to a TAP, and counts what came of a write: 1 when it was sent, else 0.
int32_t engine_write_tap(struct engine *engine, const struct frame *frame, const struct iovec *pieces);
int32_t engine_count_write(struct engine *engine, const struct frame *frame, int32_t result);

// Prepares what `read_packet_port` uses in every call.
void engine_prepare_batches(struct engine *engine);
struct yield read_packet_port(struct engine *engine, int32_t port, struct share share);

// A device has failed for good: it is reported once, and not served any more.
void engine_port_failed(struct engine *engine, int32_t port, int error);

static inline uint8_t *slot_at(const struct engine *engine, int32_t slot) {
  return engine->arena + (size_t)slot * engine->slot_bytes;
}

static inline void count(struct engine *engine, int32_t port, int counter, double amount) {
  engine->port_counters[(size_t)port * PORT_COUNTERS + (size_t)counter] += amount;
}

// The words that JavaScript writes are not trusted: a wrong one must not reach beyond the arena.
static inline int32_t free_slot_count(const struct engine *engine) {
  int32_t free_count = engine->state[FREE_COUNT];
  if (free_count < 0) return 0;
  return free_count < engine->slot_count ? free_count : engine->slot_count;
}

// Whether a read that failed with `error` lost one frame only. EINVAL: its segmentation has no words in a vnet header.
static inline bool is_frame_error(int error) {
  return error == EINVAL || error == ENOMEM || error == ENOBUFS;
}

static inline bool is_slot(const struct engine *engine, int32_t slot) {
  return (uint32_t)slot < (uint32_t)engine->slot_count;
}

static inline void accept_frame(struct engine *engine, int32_t at, int32_t port, int32_t slot, int32_t bytes) {
  engine->slot_length[slot] = bytes;
  engine->received_slot[at] = slot;
  engine->received_port[at] = port;
}

#endif
