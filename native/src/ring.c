#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Linux 5.18, 6.0 and 6.1: of an error only its own entry knows; one thread submits; completions wait for that thread.
#define SUBMIT_ALL (1u << 7)
#define SINGLE_ISSUER (1u << 12)
#define DEFER_TASKRUN (1u << 13)

// All that a ring may ever do: its entries meet no seccomp filter (Linux 5.10).
static const uint8_t operations[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_WRITEV};
#define OPERATIONS (sizeof operations / sizeof *operations)

static int setup(struct io_uring_params *parameters) {
  memset(parameters, 0, sizeof *parameters);
  parameters->flags = SUBMIT_ALL | SINGLE_ISSUER | DEFER_TASKRUN | IORING_SETUP_R_DISABLED;
  return (int)syscall(__NR_io_uring_setup, RING_ENTRIES, parameters);
}

static bool map_rings(struct ring *ring, const struct io_uring_params *parameters) {
  size_t submit = parameters->sq_off.array + parameters->sq_entries * sizeof(uint32_t);
  size_t complete = parameters->cq_off.cqes + parameters->cq_entries * sizeof(struct io_uring_cqe);
  ring->rings_bytes = submit > complete ? submit : complete;
  ring->entries_bytes = parameters->sq_entries * sizeof(struct io_uring_sqe);
  const int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
  ring->rings = mmap(NULL, ring->rings_bytes, protection, flags, ring->fd, IORING_OFF_SQ_RING);
  void *entries = mmap(NULL, ring->entries_bytes, protection, flags, ring->fd, IORING_OFF_SQES);
  ring->entries = entries == MAP_FAILED ? NULL : entries;
  if (ring->rings == MAP_FAILED) ring->rings = NULL;
  return ring->rings != NULL && ring->entries != NULL;
}

// A ring is made disabled, and works once its restrictions are there for good.
static bool restrict_and_enable(int fd) {
  struct io_uring_restriction allowed[OPERATIONS];
  memset(allowed, 0, sizeof allowed);
  for (size_t i = 0; i < OPERATIONS; i++) {
    allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
    allowed[i].sqe_op = operations[i];
  }
  return syscall(__NR_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, allowed, OPERATIONS) == 0 &&
         syscall(__NR_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) == 0;
}

bool ring_open(struct ring *ring) {
  struct io_uring_params parameters;
  memset(ring, 0, sizeof *ring);
  ring->fd = setup(&parameters);
  if (ring->fd < 0) return false;
  if (!restrict_and_enable(ring->fd)) {
    int error = errno;
    close(ring->fd);
    ring->fd = -1;
    errno = error;
    return false;
  }
  // Since Linux 5.4 both rings are one mapping.
  if ((parameters.features & IORING_FEAT_SINGLE_MMAP) == 0 || !map_rings(ring, &parameters)) {
    ring_close(ring);
    errno = ENOSYS;
    return false;
  }
  char *base = ring->rings;
  ring->submit_tail = (uint32_t *)(base + parameters.sq_off.tail);
  ring->submit_mask = *(uint32_t *)(base + parameters.sq_off.ring_mask);
  ring->complete_head = (uint32_t *)(base + parameters.cq_off.head);
  ring->complete_tail = (uint32_t *)(base + parameters.cq_off.tail);
  ring->complete_mask = *(uint32_t *)(base + parameters.cq_off.ring_mask);
  ring->completions = (struct io_uring_cqe *)(base + parameters.cq_off.cqes);
  uint32_t *order = (uint32_t *)(base + parameters.sq_off.array);
  for (uint32_t i = 0; i < parameters.sq_entries; i++) order[i] = i;
  return true;
}

void ring_close(struct ring *ring) {
  if (ring->entries != NULL) munmap(ring->entries, ring->entries_bytes);
  if (ring->rings != NULL) munmap(ring->rings, ring->rings_bytes);
  if (ring->fd >= 0) close(ring->fd);
  memset(ring, 0, sizeof *ring);
  ring->fd = -1;
}

static struct io_uring_sqe *next_entry(struct ring *ring, uint8_t operation, int fd, uint64_t tag) {
  struct io_uring_sqe *entry = &ring->entries[ring->tail & ring->submit_mask];
  memset(entry, 0, sizeof *entry);
  entry->opcode = operation;
  entry->fd = fd;
  entry->off = UINT64_MAX;
  entry->rw_flags = RWF_NOWAIT;
  entry->user_data = tag;
  ring->tail++;
  ring->queued++;
  return entry;
}

void ring_read(struct ring *ring, int fd, void *buffer, size_t bytes, uint64_t tag) {
  struct io_uring_sqe *entry = next_entry(ring, IORING_OP_READ, fd, tag);
  entry->addr = (uint64_t)(uintptr_t)buffer;
  entry->len = (uint32_t)bytes;
}

void ring_write(struct ring *ring, int fd, const struct iovec *pieces, int count, uint64_t tag) {
  struct io_uring_sqe *entry = next_entry(ring, count == 1 ? IORING_OP_WRITE : IORING_OP_WRITEV, fd, tag);
  entry->addr = (uint64_t)(uintptr_t)(count == 1 ? pieces[0].iov_base : (void *)pieces);
  entry->len = count == 1 ? (uint32_t)pieces[0].iov_len : (uint32_t)count;
}

int ring_submit(struct ring *ring) {
  int error = 0;
  __atomic_store_n(ring->submit_tail, ring->tail, __ATOMIC_RELEASE);
  while (ring->queued > 0 && error == 0) {
    long taken = syscall(__NR_io_uring_enter, ring->fd, FAULTED_COUNT(io_uring_enter, ring->queued), 0, 0, NULL, 0);
    if (taken > 0) ring->queued -= (uint32_t)taken;
    else if (taken == 0) error = EIO;
    else if (errno != EINTR) error = errno;
  }
  // The kernel reads entries only while it is asked: those that it did not take may be taken back.
  ring->tail -= ring->queued;
  ring->queued = 0;
  if (error != 0) __atomic_store_n(ring->submit_tail, ring->tail, __ATOMIC_RELEASE);
  return error;
}

bool ring_is_restricted(struct ring *ring) {
  uint64_t tag;
  int32_t result;
  next_entry(ring, IORING_OP_NOP, -1, 0);
  return ring_submit(ring) == 0 && ring_next(ring, &tag, &result) && result == -EACCES;
}

bool ring_next(struct ring *ring, uint64_t *tag, int32_t *result) {
  uint32_t head = *ring->complete_head;
  if (head == __atomic_load_n(ring->complete_tail, __ATOMIC_ACQUIRE)) return false;
  const struct io_uring_cqe *completion = &ring->completions[head & ring->complete_mask];
  *tag = completion->user_data;
  *result = FAULTED_RESULT(completion->res);
  __atomic_store_n(ring->complete_head, head + 1, __ATOMIC_RELEASE);
  return true;
}
