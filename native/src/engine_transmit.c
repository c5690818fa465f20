// Transmit: one call sends a burst to all ports, in order. A frame may be gathered from several slots: an entry with
// an offset appends what its slot holds from there on to the frame before it. Nothing blocks; what a device does not
// take is dropped and counted.
//
// A TAP takes one frame with each write; with a ring, many writes are one system call (engine_ring.c). The frames of a
// packet socket are held back and sent together; the order within a port is kept, the order between ports may change.
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The indexes come from JavaScript: none may reach beyond the arena.
static bool is_valid_slot(const struct engine *engine, int32_t slot) {
  if (!is_slot(engine, slot)) return false;
  int32_t length = engine->slot_length[slot];
  return length >= 0 && (size_t)length + VNET_HEADER_BYTES <= engine->slot_bytes;
}

static bool is_valid_port(const struct engine *engine, int32_t port) {
  return (uint32_t)port < (uint32_t)engine->port_count && engine->ports[port].in_use;
}

// How many entries the frame has that begins at `entry`.
static int32_t entries_of_frame(const struct engine *engine, int32_t entry, int32_t count_all) {
  int32_t end = entry + 1;
  if (engine->transmit_offset == NULL) return 1;
  while (end < count_all && engine->transmit_offset[end] != 0) end++;
  return end - entry;
}

// Puts the pieces of the frame at `entry` into `pieces`; false when one of them is not there.
static bool gather(struct engine *engine, int32_t entry, struct frame *frame) {
  struct iovec *pieces = engine->pieces;
  int32_t slot = engine->transmit_slot[entry];
  if (!is_valid_port(engine, frame->port) || !is_valid_slot(engine, slot) || frame->entries > MOST_PIECES) return false;
  if (engine->transmit_offset != NULL && engine->transmit_offset[entry] != 0) return false;
  size_t skipped = VNET_HEADER_BYTES - engine->ports[frame->port].header_bytes;
  pieces[0].iov_base = slot_at(engine, slot) + skipped;
  pieces[0].iov_len = (size_t)engine->slot_length[slot] + VNET_HEADER_BYTES - skipped;
  frame->bytes = (size_t)engine->slot_length[slot];
  for (int32_t i = 1; i < frame->entries; i++) {
    int32_t offset = engine->transmit_offset[entry + i], other = engine->transmit_slot[entry + i];
    if (!is_valid_slot(engine, other) || offset < 0 || offset > engine->slot_length[other]) return false;
    pieces[i].iov_base = slot_at(engine, other) + VNET_HEADER_BYTES + offset;
    pieces[i].iov_len = (size_t)(engine->slot_length[other] - offset);
    frame->bytes += pieces[i].iov_len;
  }
  return true;
}

// A device that is down refuses frames with EIO or ENETDOWN; these errors tell that it is gone.
static bool is_gone(int error) {
  return error == EBADFD || error == ENXIO || error == ENODEV || error == EBADF;
}

static void count_failure(struct engine *engine, int32_t port, int error) {
  bool full = error == EAGAIN || error == ENOBUFS;
  count(engine, port, full ? TX_FULL : TX_ERRORS, 1);
  // A packet socket says ENXIO for a device that is gone: the same as what receiving tells, ENODEV.
  if (is_gone(error)) engine_port_failed(engine, port, error == ENXIO ? ENODEV : error);
}

static int32_t count_sent(struct engine *engine, struct frame frame) {
  count(engine, frame.port, TX_FRAMES, 1);
  count(engine, frame.port, TX_BYTES, (double)frame.bytes);
  return 1;
}

int32_t engine_count_write(struct engine *engine, const struct frame *frame, int32_t result) {
  if (result >= 0) return count_sent(engine, *frame);
  count_failure(engine, frame->port, -result);
  return 0;
}

int32_t engine_write_tap(struct engine *engine, const struct frame *frame, const struct iovec *pieces) {
  int fd = engine->ports[frame->port].fd;
  ssize_t sent;
  do {
    sent = frame->entries == 1 ? write(fd, pieces[0].iov_base, pieces[0].iov_len) : writev(fd, pieces, frame->entries);
  } while (sent < 0 && errno == EINTR);
  return engine_count_write(engine, frame, sent < 0 ? -errno : (int32_t)sent);
}

static int32_t send_to_tap(struct engine *engine, const struct frame *frame) {
  if (engine->ring.fd < 0) return engine_write_tap(engine, frame, engine->pieces);
  return ring_add_write(engine, frame);
}

// Frames of one packet socket, to be sent with one call.
struct batch {
  int32_t port;
  int32_t frames;
  int32_t pieces;
  struct frame frame[BATCH];
};

static int32_t flush_batch(struct engine *engine, struct batch *batch) {
  int32_t done = 0, sent_all = 0;
  while (done < batch->frames) {
    unsigned left = (unsigned)(batch->frames - done);
    int sent = sendmmsg(engine->ports[batch->port].fd, engine->sent + done, FAULTED_COUNT(sendmmsg, left), MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      // The first of the rest was refused: it alone is lost.
      count_failure(engine, batch->port, errno);
      sent = 0;
      done++;
    }
    for (int i = 0; i < sent; i++) sent_all += count_sent(engine, batch->frame[done + i]);
    done += sent;
  }
  batch->frames = 0;
  batch->pieces = 0;
  return sent_all;
}

static int32_t add_to_batch(struct engine *engine, struct batch *batch, struct frame frame) {
  int32_t sent = 0;
  bool fits = batch->port == frame.port && batch->frames < BATCH && batch->pieces + frame.entries <= BATCH;
  if (batch->frames > 0 && !fits) sent = flush_batch(engine, batch);
  batch->port = frame.port;
  struct iovec *vectors = engine->sent_vectors + batch->pieces;
  memcpy(vectors, engine->pieces, (size_t)frame.entries * sizeof *vectors);
  engine->sent[batch->frames].msg_hdr = (struct msghdr){.msg_iov = vectors, .msg_iovlen = (size_t)frame.entries};
  batch->frame[batch->frames++] = frame;
  batch->pieces += frame.entries;
  return sent;
}

int32_t engine_transmit(struct engine *engine, int32_t count_all) {
  struct batch batch;
  int32_t sent = 0;
  batch.frames = 0;
  batch.pieces = 0;
  if (count_all > engine->transmit_limit) count_all = engine->transmit_limit;
  for (int32_t entry = 0; entry < count_all;) {
    struct frame frame = {.port = engine->transmit_port[entry], .entries = entries_of_frame(engine, entry, count_all)};
    if (!gather(engine, entry, &frame)) {
      if ((uint32_t)frame.port < (uint32_t)engine->port_count) count(engine, frame.port, TX_ERRORS, 1);
    } else if (engine->ports[frame.port].kind == KIND_TAP) {
      sent += send_to_tap(engine, &frame);
    } else {
      sent += add_to_batch(engine, &batch, frame);
    }
    entry += frame.entries;
  }
  if (batch.frames > 0) sent += flush_batch(engine, &batch);
  return sent + ring_flush_writes(engine);
}
