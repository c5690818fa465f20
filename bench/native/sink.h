#ifndef TAPIR_BENCH_SINK_H
#define TAPIR_BENCH_SINK_H

#include "account.h"

struct sink {
  const char *device;
  int64_t port, count, idle_ms, milliseconds, skip_ms, ring_megabytes;
  bool gro;
  uint64_t begin;
  struct account account;
};

bool sink_is_over(const struct sink *sink, uint64_t now, uint64_t last_arrival);

// Each receives until it is over and returns how many frames the kernel could not hand over.
uint64_t receive_from_ring(struct sink *sink);
uint64_t receive_from_socket(struct sink *sink);

#endif
