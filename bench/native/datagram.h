// The bench's datagram: UDP over IPv4 whose payload says which one it is, so that a receiver can tell what was lost,
// doubled, reordered or changed.
//
//   0       4          8                16
//   | magic | sequence | time sent (ns) | pattern, which begins at a place that the sequence number chooses ... |
#ifndef TAPIR_BENCH_DATAGRAM_H
#define TAPIR_BENCH_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATAGRAM_MAGIC 0x7a915eedu
#define DATAGRAM_HEADER_BYTES 16
#define ETHERNET_BYTES 14
#define IPV4_BYTES 20
#define UDP_BYTES 8
#define HEADERS_BYTES (ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES)
#define MIN_FRAME_BYTES 60
#define MAX_FRAME_BYTES 1514

// One's complement sum (RFC 1071) in network byte order, not folded; begin with 0 or an earlier sum. Any part but the
// last must have an even length.
uint64_t checksum_add(uint64_t sum, const void *bytes, size_t length);
uint16_t checksum_fold(uint64_t sum);
uint64_t checksum_pseudo(const uint8_t *ipv4, size_t l4_length);

struct flow {
  uint32_t source, destination; // host order
  uint16_t source_port, destination_port;
};

// What is the same in all frames: MACs, version, TTL.
void datagram_template(uint8_t *frame, const uint8_t *destination_mac, const uint8_t *source_mac);
// Fills in the rest of a frame of `length` bytes (without FCS), with both checksums.
void datagram_write(uint8_t *frame, size_t length, const struct flow *flow, uint32_t sequence, uint64_t time_ns);

// Writes a payload of at least DATAGRAM_HEADER_BYTES.
void payload_write(uint8_t *payload, size_t length, uint32_t sequence, uint64_t time_ns);
// False when it is none of ours; `sent_ns` is the sender's clock, `intact` says whether the pattern is whole.
bool payload_read(const uint8_t *payload, size_t length, uint32_t *sequence, uint64_t *sent_ns, bool *intact);

#endif
