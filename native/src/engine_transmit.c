// Transmit: one call sends a burst to all ports, in order. A frame may be gathered from several slots: an entry with
// an offset appends what its slot holds from there on to the frame before it. Nothing blocks; what a device does not
// take is dropped and counted.
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct frame {
  int32_t port;
  int32_t entries;
  size_t bytes;
};

static bool is_valid(const struct engine *engine, int32_t entry) {
  int32_t slot = engine->transmit_slot[entry], port = engine->transmit_port[entry];
  return slot >= 0 && slot < engine->slot_count && port >= 0 && port < engine->port_count &&
         engine->ports[port].in_use && engine->slot_length[slot] >= 0 &&
         (size_t)engine->slot_length[slot] + VNET_HEADER_BYTES <= engine->slot_bytes;
}

// Puts the pieces of the frame that begins at `entry` into `pieces`; `entries` of the result is how many it took.
static struct frame gather(struct engine *engine, int32_t entry, int32_t count_all, struct iovec *pieces) {
  int32_t slot = engine->transmit_slot[entry];
  struct frame frame = {.port = engine->transmit_port[entry], .entries = 1};
  pieces[0].iov_base = slot_at(engine, slot);
  pieces[0].iov_len = (size_t)engine->slot_length[slot] + VNET_HEADER_BYTES;
  frame.bytes = pieces[0].iov_len;
  if (engine->transmit_offset == NULL) return frame;
  while (entry + frame.entries < count_all && frame.entries < MOST_PIECES) {
    int32_t next = entry + frame.entries;
    int32_t offset = engine->transmit_offset[next];
    if (offset <= 0 || !is_valid(engine, next)) break;
    int32_t other = engine->transmit_slot[next];
    if (offset > engine->slot_length[other]) break;
    pieces[frame.entries].iov_base = slot_at(engine, other) + VNET_HEADER_BYTES + offset;
    pieces[frame.entries].iov_len = (size_t)(engine->slot_length[other] - offset);
    frame.bytes += pieces[frame.entries].iov_len;
    frame.entries++;
  }
  return frame;
}

static void count_failure(struct engine *engine, int32_t port, int error) {
  bool full = error == EAGAIN || error == ENOBUFS;
  count(engine, port, full ? TX_FULL : TX_ERRORS, 1);
  if (error == EBADFD) engine_port_failed(engine, port, error);
}

static int32_t count_sent(struct engine *engine, struct frame frame) {
  count(engine, frame.port, TX_FRAMES, 1);
  count(engine, frame.port, TX_BYTES, (double)(frame.bytes - VNET_HEADER_BYTES));
  return 1;
}

static int32_t send_tap(struct engine *engine, struct frame frame, const struct iovec *pieces) {
  int fd = engine->ports[frame.port].fd;
  ssize_t sent;
  do {
    sent = frame.entries == 1 ? write(fd, pieces[0].iov_base, pieces[0].iov_len) : writev(fd, pieces, frame.entries);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return count_sent(engine, frame);
  count_failure(engine, frame.port, errno);
  return 0;
}

// A run of frames of one packet socket, sent with one call.
struct batch {
  int32_t port;
  int32_t frames;
  int32_t pieces;
  struct frame frame[BATCH];
};

static int32_t flush_batch(struct engine *engine, struct batch *batch) {
  int32_t done = 0, sent_all = 0;
  while (done < batch->frames) {
    int sent = sendmmsg(engine->ports[batch->port].fd, engine->messages + done, (unsigned)(batch->frames - done),
                        MSG_DONTWAIT);
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

static int32_t add_to_batch(struct engine *engine, struct batch *batch, struct frame frame,
                            const struct iovec *pieces) {
  int32_t sent = 0;
  bool fits = batch->port == frame.port && batch->frames < BATCH && batch->pieces + frame.entries <= BATCH;
  if (batch->frames > 0 && !fits) sent = flush_batch(engine, batch);
  batch->port = frame.port;
  struct iovec *vectors = engine->vectors + batch->pieces;
  memcpy(vectors, pieces, (size_t)frame.entries * sizeof *vectors);
  engine->messages[batch->frames].msg_hdr =
      (struct msghdr){.msg_iov = vectors, .msg_iovlen = (size_t)frame.entries};
  batch->frame[batch->frames++] = frame;
  batch->pieces += frame.entries;
  return sent;
}

int32_t engine_transmit(struct engine *engine, int32_t count_all) {
  struct batch batch = {.frames = 0};
  int32_t sent = 0;
  if (count_all > engine->transmit_limit) count_all = engine->transmit_limit;
  for (int32_t entry = 0; entry < count_all;) {
    if (!is_valid(engine, entry)) {
      int32_t port = engine->transmit_port[entry];
      if (port >= 0 && port < engine->port_count) count(engine, port, TX_ERRORS, 1);
      entry++;
      continue;
    }
    struct frame frame = gather(engine, entry, count_all, engine->pieces);
    sent += engine->ports[frame.port].kind == KIND_TAP ? send_tap(engine, frame, engine->pieces)
                                                       : add_to_batch(engine, &batch, frame, engine->pieces);
    entry += frame.entries;
  }
  if (batch.frames > 0) sent += flush_batch(engine, &batch);
  return sent;
}
