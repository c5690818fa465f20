// io_uring, as far as the engine needs it: many reads and writes with one system call. All that is queued completes
// before `ring_submit` returns, because every entry asks not to wait (RWF_NOWAIT): nothing is left under way, and no
// buffer is in use afterwards. No library: what is needed of it is little, and the kernel's headers of Debian 12 have it.
#ifndef TAPIR_RING_H
#define TAPIR_RING_H

#include "faults.h"

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

// Most entries that may be queued at once.
#define RING_ENTRIES 256

struct ring {
  // -1: there is none.
  int fd;
  void *rings;
  size_t rings_bytes;
  struct io_uring_sqe *entries;
  size_t entries_bytes;
  struct io_uring_cqe *completions;
  uint32_t *submit_tail, *complete_head, *complete_tail;
  uint32_t submit_mask, complete_mask;
  // Entries that are queued and not submitted yet.
  uint32_t queued;
  uint32_t tail;
};

// Makes a ring that can only read and write; false, with errno, where the kernel has none or forbids it. Only the calling
// thread may use it.
bool ring_open(struct ring *ring);
void ring_close(struct ring *ring);

// Queues a read into, or a write from, one buffer, or a write from several; `tag` comes back with its result. There must
// be room: at most RING_ENTRIES are queued at once.
void ring_read(struct ring *ring, int fd, void *buffer, size_t bytes, uint64_t tag);
void ring_write(struct ring *ring, int fd, const struct iovec *pieces, int count, uint64_t tag);

// Submits what is queued and waits for none of it; returns an errno when the kernel did not take all. What it did not take
// is queued no more.
int ring_submit(struct ring *ring);

// Whether it refuses what it does not need, by a try. For a ring on which nothing is queued.
bool ring_is_restricted(struct ring *ring);

// Takes the next result: bytes, or an errno below zero; false when there is no more.
bool ring_next(struct ring *ring, uint64_t *tag, int32_t *result);

#endif
