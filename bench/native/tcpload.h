// Load over TCP. The first byte on a connection says what it is for:
//   'U'  the client sends until it shuts down; the server answers with a report of what arrived
//   'D'  the server sends until the client closes
//   'R'  a request of MESSAGE_BYTES (that byte included), a response of MESSAGE_BYTES, the client closes
// Bytes of 'U' (behind the first) and 'D' follow one pattern from the beginning of the stream.
#ifndef TAPIR_BENCH_TCPLOAD_H
#define TAPIR_BENCH_TCPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_BYTES 64
#define CHUNK_BYTES (256 * 1024)
#define NO_DAMAGE UINT64_MAX

struct upload_report {
  uint64_t received;
  uint64_t damaged_at; // offset of the first chunk that differs, or NO_DAMAGE
};

struct tcpload {
  const char *to;
  const char *congestion; // name of the congestion control
  int64_t port, port_count, streams, milliseconds, skip_ms, concurrent, total;
  bool is_down, verify;
};

// CHUNK_BYTES of the pattern as it is at `offset` of a stream.
const uint8_t *pattern_at(uint64_t offset);

int serve(const struct tcpload *load);
int run_bulk(const struct tcpload *load);
int run_requests(const struct tcpload *load);

// A nonblocking socket with the congestion control that was asked for.
int open_stream(const struct tcpload *load);
// Nonblocking, under way to the port with this index.
int start_connection(const struct tcpload *load, unsigned index);
void watch(int poller, int fd, uint32_t events, uint32_t tag);
void change_watch(int poller, int fd, uint32_t events, uint32_t tag);

#endif
