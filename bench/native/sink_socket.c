// Reception on an ordinary UDP socket, as a program of a user has it.
#include "common.h"
#include "datagram.h"
#include "sink.h"

#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BATCH 64
#define CONTROL_BYTES 64
#define RECEIVE_BYTES 65536

struct inbox {
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  uint8_t control[BATCH][CONTROL_BYTES];
};

static int open_socket(const struct sink *sink) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, bytes = 64 << 20;
  if (fd < 0) die_errno("socket AF_INET");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one);
  struct timeval wait = {.tv_usec = 20000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (sink->gro && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one) != 0) die_errno("UDP_GRO");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)sink->port)};
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die_errno("bind to port %d", (int)sink->port);
  return fd;
}

static void prepare(struct inbox *inbox, size_t size) {
  uint8_t *memory = malloc(BATCH * size);
  if (memory == NULL) die("no memory");
  for (size_t i = 0; i < BATCH; i++) {
    inbox->vectors[i] = (struct iovec){.iov_base = memory + i * size, .iov_len = size};
    inbox->messages[i].msg_hdr.msg_iov = &inbox->vectors[i];
    inbox->messages[i].msg_hdr.msg_iovlen = 1;
  }
}

// Reads what came beside the datagram: size of the parts that were merged, and how many were lost before it.
static size_t read_control(struct msghdr *message, uint64_t *dropped) {
  size_t gso_size = 0;
  for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control)) {
    uint32_t value;
    memcpy(&value, CMSG_DATA(control), sizeof value);
    if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) gso_size = (uint16_t)value;
    if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_RXQ_OVFL) *dropped = value;
  }
  return gso_size;
}

static void read_message(struct sink *sink, struct mmsghdr *message, uint64_t now, uint64_t *dropped) {
  struct account *account = &sink->account;
  const uint8_t *payload = message->msg_hdr.msg_iov->iov_base;
  size_t rest = message->msg_len, piece = read_control(&message->msg_hdr, dropped);
  if (piece == 0) piece = rest;
  account->frames++;
  if (rest > piece) account->merged++;
  while (rest > 0) {
    size_t part = rest < piece ? rest : piece;
    account_payload(account, payload, part, now);
    payload += part;
    rest -= part;
  }
}

uint64_t receive_from_socket(struct sink *sink) {
  static struct inbox inbox;
  int fd = open_socket(sink);
  prepare(&inbox, sink->gro ? RECEIVE_BYTES : MAX_FRAME_BYTES);
  uint64_t last = now_ns(), dropped = 0;
  say_ready();
  while (!sink_is_over(sink, now_ns(), last)) {
    for (size_t i = 0; i < BATCH; i++) {
      inbox.messages[i].msg_hdr.msg_control = inbox.control[i];
      inbox.messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    int count = recvmmsg(fd, inbox.messages, BATCH, MSG_WAITFORONE, NULL);
    if (count < 0 && errno != EAGAIN && errno != EINTR) die_errno("recvmmsg");
    if (count <= 0) continue;
    last = now_ns();
    for (int i = 0; i < count; i++) read_message(sink, &inbox.messages[i], last, &dropped);
  }
  return dropped;
}
