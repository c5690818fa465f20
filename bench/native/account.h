// What a receiver found, by sequence number.
#ifndef TAPIR_BENCH_ACCOUNT_H
#define TAPIR_BENCH_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account {
  uint64_t received;   // datagrams, each number once
  uint64_t bytes;      // of their UDP payloads
  uint64_t duplicates; // numbers that came again
  uint64_t reordered;  // numbers below one that came earlier
  uint64_t damaged;    // pattern changed
  uint64_t bad_ip_checksum, bad_udp_checksum;
  uint64_t partial;    // UDP checksum left to a device, pseudo-header sum right
  uint64_t merged;     // frames that carried several datagrams
  uint64_t frames;
  uint64_t foreign;    // frames that are none of ours
  uint64_t wrong_source;
  uint64_t highest;    // sequence number
  uint64_t first_ns, last_ns;
  uint64_t stale;      // datagrams sent before `begin_ns`: what was still under way from an earlier trial
  uint64_t begin_ns;   // CLOCK_MONOTONIC, which generator and receiver share
  uint32_t expected_source; // network order; 0: any
};

void account_prepare(void);
// One datagram's payload, which arrived at `time_ns` (any clock, as long as it is the same for all).
void account_payload(struct account *account, const uint8_t *payload, size_t length, uint64_t time_ns);
// A whole Ethernet frame; `gso_size` 0: it carries one datagram. `is_partial`: NEEDS_CSUM was set.
void account_frame(struct account *account, const uint8_t *frame, size_t length, size_t gso_size, bool is_partial,
                   uint64_t time_ns);
// One JSON line. `dropped`: what the kernel could not hand to the receiver. The rate leaves out the first
// `skip_ms` and the last 50 ms.
void account_print(const struct account *account, uint64_t dropped, uint64_t skip_ms);

#endif
