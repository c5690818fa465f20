// Round-trip times of single datagrams: a paced client on an ordinary UDP socket, and the server that answers it.
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MAX_PAYLOAD 1472
#define ANSWER_WITHIN_MS 200

static const char *netns, *to = "203.0.113.2";
static int64_t port = 9001, rate = 1000, count = 2000, skip = 100, payload_bytes = 18, cpu = -1, nice_level = 0;
static bool is_echo;

static int open_socket(int wait_ms) {
  enter_netns(netns);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("socket AF_INET");
  struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  return fd;
}

static int echo(void) {
  int fd = open_socket(1000);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("bind to port %d", (int)port);
  uint64_t answered = 0;
  say_ready();
  while (!stop_requested) {
    uint8_t payload[MAX_PAYLOAD];
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    ssize_t length = recvfrom(fd, payload, sizeof payload, 0, (struct sockaddr *)&peer, &size);
    if (length < 0) continue;
    if (sendto(fd, payload, (size_t)length, 0, (struct sockaddr *)&peer, size) == length) answered++;
  }
  printf("{\"answered\":%lu,\"cpuSeconds\":%.3f}\n", answered, cpu_seconds());
  return 0;
}

// Waits for the answer with this number; late ones of others do not count. Returns false when none comes.
static bool await_answer(int fd, uint32_t number) {
  uint64_t deadline = now_ns() + ANSWER_WITHIN_MS * UINT64_C(1000000);
  while (!stop_requested && now_ns() < deadline) {
    uint8_t payload[MAX_PAYLOAD];
    ssize_t length = recv(fd, payload, sizeof payload, 0);
    if (length == (ssize_t)payload_bytes && memcmp(payload, &number, sizeof number) == 0) return true;
  }
  return false;
}

static int compare(const void *a, const void *b) {
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

static double quantile_us(const uint64_t *sorted, uint64_t size, double quantile) {
  if (size == 0) return 0;
  uint64_t index = (uint64_t)(quantile * (double)size);
  return (double)sorted[index < size ? index : size - 1] / 1e3;
}

static int ping(void) {
  int fd = open_socket(ANSWER_WITHIN_MS);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, to, &address.sin_addr) != 1) die("%s is no IPv4 address", to);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("connect");
  uint64_t *times = calloc((size_t)(count + skip), sizeof *times), answered = 0, lost = 0, next = now_ns();
  if (times == NULL) die("no memory");
  for (int64_t i = 0; i < count + skip && !stop_requested; i++) {
    uint8_t payload[MAX_PAYLOAD] = {0};
    uint32_t number = (uint32_t)i;
    memcpy(payload, &number, sizeof number);
    next += NANOSECONDS / (uint64_t)rate;
    if (next < now_ns()) next = now_ns();
    sleep_until(next);
    uint64_t sent = now_ns();
    bool is_answered = send(fd, payload, (size_t)payload_bytes, 0) == (ssize_t)payload_bytes && await_answer(fd, number);
    if (i < skip) continue;
    if (is_answered) {
      times[answered++] = now_ns() - sent;
    } else {
      lost++;
    }
  }
  qsort(times, answered, sizeof *times, compare);
  printf("{\"answered\":%lu,\"lost\":%lu,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f}\n", answered,
         lost, quantile_us(times, answered, 0.5), quantile_us(times, answered, 0.9), quantile_us(times, answered, 0.99),
         quantile_us(times, answered, 0.999), quantile_us(times, answered, 1));
  return 0;
}

int main(int argc, char **argv) {
  const struct option_spec options[] = {
      {"netns", OPTION_TEXT, &netns, "path of the network namespace"},
      {"echo", OPTION_SWITCH, &is_echo, "answer, until SIGTERM"},
      {"to", OPTION_TEXT, &to, "whom to ask (203.0.113.2)"},
      {"port", OPTION_NUMBER, &port, "UDP port (9001)"},
      {"pps", OPTION_NUMBER, &rate, "questions in a second (1000)"},
      {"count", OPTION_NUMBER, &count, "number of questions (2000)"},
      {"skip", OPTION_NUMBER, &skip, "questions before those, which do not count (100)"},
      {"payload", OPTION_NUMBER, &payload_bytes, "bytes of a question (18)"},
      {"cpu", OPTION_NUMBER, &cpu, "run on this processor"},
      {"nice", OPTION_NUMBER, &nice_level, "scheduling priority"},
  };
  parse_options(argc, argv, options, sizeof options / sizeof *options);
  if (payload_bytes < 4 || payload_bytes > MAX_PAYLOAD) die("--payload is 4 to %d", MAX_PAYLOAD);
  if (rate < 1 || count < 1 || skip < 0) die("--pps and --count are at least 1");
  stop_on_signals();
  pin_to_cpu(cpu);
  set_nice(nice_level);
  return is_echo ? echo() : ping();
}
