#include "account.h"

#include "common.h"
#include "datagram.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

// One bit for each sequence number; pages come as they are touched.
#define BITMAP_BYTES ((size_t)1 << 29)
// Arrivals are counted by intervals, so that a rate can leave out the edges.
#define INTERVAL_NS UINT64_C(10000000)
#define INTERVALS 65536
#define TAIL_MS 50

static uint64_t *seen;
static uint32_t arrivals[INTERVALS];

void account_prepare(void) {
  seen = mmap(NULL, BITMAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (seen == MAP_FAILED) die_errno("mmap");
}

void account_payload(struct account *account, const uint8_t *payload, size_t length, uint64_t time_ns) {
  uint32_t sequence;
  uint64_t sent_ns;
  bool intact;
  if (!payload_read(payload, length, &sequence, &sent_ns, &intact)) {
    account->foreign++;
    return;
  }
  if (sent_ns < account->begin_ns && intact) {
    account->stale++;
    return;
  }
  if (!intact) account->damaged++;
  uint64_t bit = UINT64_C(1) << (sequence & 63);
  if (seen[sequence >> 6] & bit) {
    account->duplicates++;
    return;
  }
  seen[sequence >> 6] |= bit;
  if (account->received++ == 0) account->first_ns = time_ns;
  if (sequence < account->highest) account->reordered++;
  if (sequence > account->highest) account->highest = sequence;
  account->bytes += length;
  account->last_ns = time_ns;
  uint64_t interval = (time_ns - account->first_ns) / INTERVAL_NS;
  arrivals[interval < INTERVALS ? interval : INTERVALS - 1]++;
}

// Both sums from scratch. A partial UDP checksum must hold the folded sum of the pseudo-header.
static void check_sums(struct account *account, const uint8_t *ipv4, size_t header_length, size_t udp_length,
                       bool is_partial) {
  const uint8_t *udp = ipv4 + header_length;
  uint16_t field;
  memcpy(&field, udp + 6, 2);
  if (checksum_fold(checksum_add(0, ipv4, header_length)) != 0xffff) account->bad_ip_checksum++;
  uint64_t pseudo = checksum_pseudo(ipv4, udp_length);
  if (is_partial) {
    account->partial++;
    if (field != checksum_fold(pseudo)) account->bad_udp_checksum++;
  } else if (field == 0 || checksum_fold(checksum_add(pseudo, udp, udp_length)) != 0xffff) {
    account->bad_udp_checksum++;
  }
}

void account_frame(struct account *account, const uint8_t *frame, size_t length, size_t gso_size, bool is_partial,
                   uint64_t time_ns) {
  const uint8_t *ipv4 = frame + ETHERNET_BYTES;
  account->frames++;
  if (length < HEADERS_BYTES || frame[12] != 0x08 || frame[13] != 0 || ipv4[0] >> 4 != 4 || ipv4[9] != 17) {
    account->foreign++;
    return;
  }
  size_t header_length = (size_t)(ipv4[0] & 15) * 4, total_length = (size_t)ipv4[2] << 8 | ipv4[3];
  if (header_length < IPV4_BYTES || total_length < header_length + UDP_BYTES || length < ETHERNET_BYTES + total_length) {
    account->foreign++;
    return;
  }
  const uint8_t *udp = ipv4 + header_length;
  size_t udp_length = (size_t)udp[4] << 8 | udp[5];
  if (udp_length < UDP_BYTES || udp_length > total_length - header_length) {
    account->foreign++;
    return;
  }
  check_sums(account, ipv4, header_length, udp_length, is_partial);
  if (account->expected_source != 0 && memcmp(ipv4 + 12, &account->expected_source, 4) != 0) account->wrong_source++;
  size_t rest = udp_length - UDP_BYTES, piece = gso_size == 0 ? rest : gso_size;
  if (rest > piece) account->merged++;
  for (const uint8_t *payload = udp + UDP_BYTES; rest > 0;) {
    size_t part = rest < piece ? rest : piece;
    account_payload(account, payload, part, time_ns);
    payload += part;
    rest -= part;
  }
}

// Datagrams in a second over the middle of the time, and its length; 0 when there is no middle.
static double middle_rate(const struct account *account, uint64_t skip_ms, double *seconds) {
  uint64_t span = account->last_ns - account->first_ns, first = skip_ms * 1000000 / INTERVAL_NS, count = 0;
  uint64_t end = span < TAIL_MS * UINT64_C(1000000) ? 0 : (span - TAIL_MS * UINT64_C(1000000)) / INTERVAL_NS;
  *seconds = 0;
  if (account->received == 0 || end <= first) return 0;
  for (uint64_t i = first; i < end && i < INTERVALS - 1; i++) count += arrivals[i];
  *seconds = (double)((end - first) * INTERVAL_NS) / 1e9;
  return (double)count / *seconds;
}

void account_print(const struct account *account, uint64_t dropped, uint64_t skip_ms) {
  double middle_seconds, rate = middle_rate(account, skip_ms, &middle_seconds);
  printf("{\"received\":%lu,\"bytes\":%lu,\"duplicates\":%lu,\"reordered\":%lu,\"damaged\":%lu,"
         "\"badIpChecksum\":%lu,\"badUdpChecksum\":%lu,\"partialChecksum\":%lu,\"merged\":%lu,\"frames\":%lu,"
         "\"foreign\":%lu,\"stale\":%lu,\"wrongSource\":%lu,\"highest\":%lu,\"dropped\":%lu,\"seconds\":%.6f,\"rate\":%.1f,\"rateSeconds\":%.2f,"
         "\"cpuSeconds\":%.3f}\n",
         account->received, account->bytes, account->duplicates, account->reordered, account->damaged,
         account->bad_ip_checksum, account->bad_udp_checksum, account->partial, account->merged, account->frames,
         account->foreign, account->stale, account->wrong_source, account->highest, dropped, (double)(account->last_ns - account->first_ns) / 1e9, rate,
         middle_seconds, cpu_seconds());
}
