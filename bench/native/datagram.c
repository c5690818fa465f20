#include "datagram.h"

#include <endian.h>
#include <string.h>

#define PATTERN_STARTS 256

static uint8_t pattern[PATTERN_STARTS + MAX_FRAME_BYTES];

// Bytes without a short period, so that a shifted or exchanged part shows.
__attribute__((constructor)) static void fill_pattern(void) {
  uint32_t state = 0x2545f491;
  for (size_t i = 0; i < sizeof pattern; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    pattern[i] = (uint8_t)(state >> 11);
  }
}

static void put16(uint8_t *at, uint16_t value) {
  value = htobe16(value);
  memcpy(at, &value, 2);
}

static void put32(uint8_t *at, uint32_t value) {
  value = htobe32(value);
  memcpy(at, &value, 4);
}

uint64_t checksum_add(uint64_t sum, const void *bytes, size_t length) {
  const uint8_t *at = bytes;
  uint64_t other = 0; // Two chains of additions run side by side.
  for (; length >= 8; length -= 8, at += 8) {
    uint32_t low, high;
    memcpy(&low, at, 4);
    memcpy(&high, at + 4, 4);
    sum += low;
    other += high;
  }
  uint64_t rest = 0;
  memcpy(&rest, at, length);
  return sum + other + (rest & 0xffffffff) + (rest >> 32);
}

uint16_t checksum_fold(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

uint64_t checksum_pseudo(const uint8_t *ipv4, size_t l4_length) {
  return checksum_add(htobe16((uint16_t)l4_length) + (uint64_t)htobe16(ipv4[9]), ipv4 + 12, 8);
}

void datagram_template(uint8_t *frame, const uint8_t *destination_mac, const uint8_t *source_mac) {
  memset(frame, 0, HEADERS_BYTES);
  memcpy(frame, destination_mac, 6);
  memcpy(frame + 6, source_mac, 6);
  put16(frame + 12, 0x0800);
  uint8_t *ipv4 = frame + ETHERNET_BYTES;
  ipv4[0] = 0x45;
  put16(ipv4 + 6, 0x4000);
  ipv4[8] = 64;
  ipv4[9] = 17;
}

void datagram_write(uint8_t *frame, size_t length, const struct flow *flow, uint32_t sequence, uint64_t time_ns) {
  uint8_t *ipv4 = frame + ETHERNET_BYTES, *udp = ipv4 + IPV4_BYTES;
  size_t udp_length = length - ETHERNET_BYTES - IPV4_BYTES;
  put16(ipv4 + 2, (uint16_t)(IPV4_BYTES + udp_length));
  put16(ipv4 + 10, 0);
  put32(ipv4 + 12, flow->source);
  put32(ipv4 + 16, flow->destination);
  put16(udp, flow->source_port);
  put16(udp + 2, flow->destination_port);
  put16(udp + 4, (uint16_t)udp_length);
  put16(udp + 6, 0);
  payload_write(udp + UDP_BYTES, udp_length - UDP_BYTES, sequence, time_ns);
  uint16_t sum = (uint16_t)~checksum_fold(checksum_add(0, ipv4, IPV4_BYTES));
  memcpy(ipv4 + 10, &sum, 2);
  sum = (uint16_t)~checksum_fold(checksum_add(checksum_pseudo(ipv4, udp_length), udp, udp_length));
  if (sum == 0) sum = 0xffff; // RFC 768: 0 would say that there is none.
  memcpy(udp + 6, &sum, 2);
}

void payload_write(uint8_t *payload, size_t length, uint32_t sequence, uint64_t time_ns) {
  uint64_t time = htobe64(time_ns);
  put32(payload, DATAGRAM_MAGIC);
  put32(payload + 4, sequence);
  memcpy(payload + 8, &time, 8);
  memcpy(payload + DATAGRAM_HEADER_BYTES, pattern + sequence % PATTERN_STARTS, length - DATAGRAM_HEADER_BYTES);
}

bool payload_read(const uint8_t *payload, size_t length, uint32_t *sequence, uint64_t *sent_ns, bool *intact) {
  uint32_t words[2];
  if (length < DATAGRAM_HEADER_BYTES || length > MAX_FRAME_BYTES) return false;
  memcpy(words, payload, sizeof words);
  if (be32toh(words[0]) != DATAGRAM_MAGIC) return false;
  *sequence = be32toh(words[1]);
  memcpy(sent_ns, payload + 8, sizeof *sent_ns);
  *sent_ns = be64toh(*sent_ns);
  *intact = memcmp(payload + DATAGRAM_HEADER_BYTES, pattern + *sequence % PATTERN_STARTS,
                   length - DATAGRAM_HEADER_BYTES) == 0;
  return true;
}
