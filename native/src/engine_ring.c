// TAPs by io_uring: a TAP gives and takes one frame with each read and write, but one system call can carry many of
// those. How many reads a port is asked for follows from what it gave last: one that finds nothing costs little, but not
// nothing. Reads of one port are answered in order, so that the frames that came are the first of its reads.
//
// Where the kernel does not know how to read or write a TAP without waiting (before Linux 5.10), the ring is given up
// and everything goes the way of one system call for each frame. One that lacks memory for a moment keeps its ring: what
// it did not take goes that way, in the same burst.
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

// Reads of a port of which nothing is known yet, and those that look for more than what came last time.
#define FIRST_READS 4
#define MORE_READS 2

bool engine_use_ring(struct engine *engine, bool wanted) {
  if (engine->ring.fd >= 0) ring_close(&engine->ring);
  if (wanted) ring_open(&engine->ring);
  return engine->ring.fd >= 0;
}

// The system call that an entry stands for would have to wait, or there is no such entry: never again.
static bool is_unknown(int error) {
  return error == EOPNOTSUPP || error == ENOSYS;
}

// The kernel lacks something for a moment.
static bool is_passing(int error) {
  return error == EAGAIN || error == EBUSY || error == ENOMEM || error == ENOBUFS;
}

// `error` is what the ring said as a whole, `unknown` whether one of its entries was not understood.
static void keep_or_give_up(struct engine *engine, int error, bool unknown) {
  if (!unknown && (error == 0 || is_passing(error))) return;
  ring_close(&engine->ring);
  engine->state[RING_ERROR] = error != 0 ? error : EOPNOTSUPP;
  engine->state[PORT_ERRORS]++;
}

static int32_t reads_wanted(const struct port *port, struct share share) {
  int64_t fits = port->typical_bytes > 0 ? share.bytes / port->typical_bytes + 1 : share.frames;
  int64_t wanted = port->reads > 0 ? port->reads : FIRST_READS;
  if (wanted > share.frames) wanted = share.frames;
  return (int32_t)(wanted < fits ? wanted : fits);
}

// Lends the topmost free slot to a read; -1 when there is none.
static int32_t lend_slot(struct engine *engine) {
  for (int32_t left = free_slot_count(engine); left > 0; left--) {
    int32_t slot = engine->free_slots[left - 1];
    engine->state[FREE_COUNT] = left - 1;
    // A wrong entry of the list is left out.
    if (is_slot(engine, slot)) return slot;
  }
  engine->state[OUT_OF_SLOTS]++;
  return -1;
}

int32_t ring_ask_port(struct engine *engine, int32_t port_index, struct share share) {
  struct port *port = &engine->ports[port_index];
  struct asked *asked = &engine->asked;
  int32_t wanted = reads_wanted(port, share);
  port->asked = 0;
  port->got = 0;
  port->got_bytes = 0;
  port->is_empty = false;
  while (port->asked < wanted && asked->count < RING_ENTRIES) {
    int32_t slot = lend_slot(engine);
    if (slot < 0) break;
    ring_read(&engine->ring, port->fd, slot_at(engine, slot), engine->slot_bytes, (uint64_t)asked->count);
    asked->slot[asked->count] = slot;
    asked->port[asked->count++] = port_index;
    port->asked++;
  }
  return port->asked;
}

// What a read has brought: a frame for place `at` of the burst (true), or none.
static bool take_read(struct engine *engine, int32_t port_index, int32_t slot, int32_t result, int32_t at) {
  struct port *port = &engine->ports[port_index];
  if (result >= SHORTEST_FRAME_BYTES && (size_t)result < engine->slot_bytes) {
    accept_frame(engine, at, port_index, slot, result - VNET_HEADER_BYTES);
    port->got++;
    port->got_bytes += result - VNET_HEADER_BYTES;
    return true;
  }
  if (result >= 0 || is_frame_error(-result)) count(engine, port_index, RX_ERRORS, 1);
  else if (result == -EAGAIN) port->is_empty = true;
  else if (result != -EINTR && !is_unknown(-result)) {
    port->is_empty = true;
    engine_port_failed(engine, port_index, -result);
  }
  return false;
}

// The slots that were lent and not filled go back to the top of the list, in the order in which they were there.
static void give_back(struct engine *engine, const bool *used) {
  struct asked *asked = &engine->asked;
  int32_t left = free_slot_count(engine);
  for (int32_t i = asked->count - 1; i >= 0; i--) {
    if (!used[i] && left < engine->slot_count) engine->free_slots[left++] = asked->slot[i];
  }
  engine->state[FREE_COUNT] = left;
  asked->count = 0;
}

int32_t ring_take_reads(struct engine *engine, int32_t at) {
  struct asked *asked = &engine->asked;
  bool used[RING_ENTRIES] = {false}, unknown = false;
  int32_t got = 0, result;
  uint64_t tag;
  engine->ring_refused = false;
  if (asked->count == 0) return 0;
  int error = ring_submit(&engine->ring);
  while (ring_next(&engine->ring, &tag, &result)) {
    if (tag >= (uint64_t)asked->count) continue;
    unknown |= is_unknown(-result);
    used[tag] = take_read(engine, asked->port[tag], asked->slot[tag], result, at + got);
    if (used[tag]) got++;
  }
  give_back(engine, used);
  engine->ring_refused = unknown || error != 0;
  keep_or_give_up(engine, error, unknown);
  return got;
}

struct yield ring_yield_of(struct engine *engine, int32_t port_index) {
  struct port *port = &engine->ports[port_index];
  struct yield yield = {.frames = port->got, .bytes = port->got_bytes, .empty = port->is_empty};
  if (port->got > 0) port->typical_bytes = (int32_t)(port->got_bytes / port->got);
  int32_t next = port->is_empty ? port->got + MORE_READS : port->asked * 2;
  port->reads = (uint8_t)(next > BATCH ? BATCH : next);
  return yield;
}

// Writes that are queued: what to count when their results come.
int32_t ring_flush_writes(struct engine *engine) {
  struct written *written = &engine->written;
  int32_t sent = 0, result;
  uint64_t tag;
  bool done[RING_ENTRIES] = {false}, unknown = false;
  if (written->count == 0) return 0;
  int error = ring_submit(&engine->ring);
  while (ring_next(&engine->ring, &tag, &result)) {
    if (tag >= (uint64_t)written->count) continue;
    done[tag] = !is_unknown(-result);
    unknown |= !done[tag];
    if (done[tag]) sent += engine_count_write(engine, &written->frame[tag], result);
  }
  // What the ring could not do is done without it.
  for (int32_t i = 0; i < written->count; i++) {
    if (!done[i]) sent += engine_write_tap(engine, &written->frame[i], written->pieces + written->first[i]);
  }
  written->count = 0;
  written->pieces_count = 0;
  keep_or_give_up(engine, error, unknown);
  return sent;
}

int32_t ring_add_write(struct engine *engine, const struct frame *frame) {
  struct written *written = &engine->written;
  int32_t sent = 0;
  if (written->count == RING_ENTRIES || written->pieces_count + frame->entries > WRITTEN_PIECES) {
    sent = ring_flush_writes(engine);
  }
  struct iovec *pieces = written->pieces + written->pieces_count;
  memcpy(pieces, engine->pieces, (size_t)frame->entries * sizeof *pieces);
  if (engine->ring.fd < 0) return sent + engine_write_tap(engine, frame, pieces);
  written->frame[written->count] = *frame;
  written->first[written->count] = written->pieces_count;
  ring_write(&engine->ring, engine->ports[frame->port].fd, pieces, frame->entries, (uint64_t)written->count);
  written->pieces_count += frame->entries;
  written->count++;
  return sent;
}
