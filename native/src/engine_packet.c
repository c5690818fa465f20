// Reading packet sockets: a batch of frames with each call.
#include "engine.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>

#define VLAN_TAG_BYTES 4
#define MAC_ADDRESSES_BYTES 12

void engine_prepare_batches(struct engine *engine) {
  for (int i = 0; i < BATCH; i++) {
    struct msghdr *message = &engine->received[i].msg_hdr;
    message->msg_iov = &engine->received_vectors[i];
    message->msg_iovlen = 1;
    message->msg_control = &engine->auxiliaries[i];
    message->msg_controllen = sizeof engine->auxiliaries[i];
  }
}

// A packet socket says ENETDOWN both when its device goes down and when it is removed; only then it is unbound.
static bool is_device_gone(int fd) {
  struct sockaddr_ll address;
  socklen_t length = sizeof address;
  return getsockname(fd, (struct sockaddr *)&address, &length) != 0 || address.sll_ifindex <= 0;
}

// A read has failed: nothing there, one frame lost, the device down for a while, or the end of the port.
static struct yield read_failed(struct engine *engine, int32_t port, int error) {
  struct yield yield = {.empty = error == EAGAIN};
  if (error == EAGAIN || error == EINTR) return yield;
  if (is_frame_error(error)) {
    count(engine, port, RX_ERRORS, 1);
    return yield;
  }
  if (error == ENETDOWN && !is_device_gone(engine->ports[port].fd)) return yield;
  yield.empty = true;
  engine_port_failed(engine, port, error == ENETDOWN ? ENODEV : error);
  return yield;
}

static const struct tpacket_auxdata *auxiliary_of(struct msghdr *message) {
  struct cmsghdr *header = CMSG_FIRSTHDR(message);
  if (header == NULL || header->cmsg_level != SOL_PACKET || header->cmsg_type != PACKET_AUXDATA) return NULL;
  return (const struct tpacket_auxdata *)CMSG_DATA(header);
}

// The kernel takes VLAN tags off and hands them over beside the frame; a TAP leaves them where they are. Puts the tag
// back, so that both look alike. Returns the new length; the slot has room for it.
static int32_t restore_tag(uint8_t *slot, int32_t bytes, const struct tpacket_auxdata *auxiliary) {
  uint8_t *tag = slot + VNET_HEADER_BYTES + MAC_ADDRESSES_BYTES;
  bool known = (auxiliary->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
  uint16_t protocol = known ? auxiliary->tp_vlan_tpid : ETH_P_8021Q, control = auxiliary->tp_vlan_tci;
  memmove(tag + VLAN_TAG_BYTES, tag, (size_t)bytes - MAC_ADDRESSES_BYTES);
  tag[0] = (uint8_t)(protocol >> 8);
  tag[1] = (uint8_t)protocol;
  tag[2] = (uint8_t)(control >> 8);
  tag[3] = (uint8_t)control;
  struct virtio_net_hdr header;
  memcpy(&header, slot, VNET_HEADER_BYTES);
  if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) header.csum_start += VLAN_TAG_BYTES;
  if (header.hdr_len != 0) header.hdr_len += VLAN_TAG_BYTES;
  memcpy(slot, &header, VNET_HEADER_BYTES);
  return bytes + VLAN_TAG_BYTES;
}

// The frame's length once it stands in its slot as every frame does; -1 when it does not fit or is none.
static int32_t finish_frame(struct engine *engine, struct port *port, int32_t slot, struct mmsghdr *received) {
  int64_t bytes = (int64_t)received->msg_len - port->header_bytes;
  int64_t room = (int64_t)engine->slot_bytes - VNET_HEADER_BYTES;
  if (bytes < ETHERNET_HEADER_BYTES || bytes > room) return -1;
  if (port->header_bytes == 0) memset(slot_at(engine, slot), 0, VNET_HEADER_BYTES);
  const struct tpacket_auxdata *auxiliary = auxiliary_of(&received->msg_hdr);
  if (auxiliary == NULL || (auxiliary->tp_status & TP_STATUS_VLAN_VALID) == 0) return (int32_t)bytes;
  if (bytes + VLAN_TAG_BYTES > room) return -1;
  return restore_tag(slot_at(engine, slot), (int32_t)bytes, auxiliary);
}

// How many frames to ask for: no more than the share, the slots and the batch allow.
static int32_t batch_size(struct engine *engine, const struct port *port, struct share share, int32_t free_count) {
  int64_t wanted = port->typical_bytes > 0 ? share.bytes / port->typical_bytes + 1 : share.frames;
  if (wanted > share.frames) wanted = share.frames;
  if (wanted > BATCH) wanted = BATCH;
  return wanted < free_count ? (int32_t)wanted : free_count;
}

struct yield read_packet_port(struct engine *engine, int32_t port_index, struct share share) {
  struct port *port = &engine->ports[port_index];
  struct yield yield = {0};
  int32_t free_count = free_slot_count(engine);
  int32_t wanted = batch_size(engine, port, share, free_count);
  if (wanted == 0) {
    engine->state[OUT_OF_SLOTS]++;
    return yield;
  }
  size_t skipped = VNET_HEADER_BYTES - port->header_bytes;
  for (int32_t i = 0; i < wanted; i++) {
    int32_t slot = engine->free_slots[free_count - 1 - i];
    if (!is_slot(engine, slot)) {
      // A wrong entry in the list: the batch ends above it, or it goes when it is on top.
      if (i == 0) engine->state[FREE_COUNT] = free_count - 1;
      wanted = i;
      break;
    }
    engine->received_vectors[i].iov_base = slot_at(engine, slot) + skipped;
    engine->received_vectors[i].iov_len = engine->slot_bytes - skipped;
  }
  if (wanted == 0) return yield;
  int received = recvmmsg(port->fd, engine->received, FAULTED_COUNT(recvmmsg, (unsigned)wanted),
                          MSG_DONTWAIT | MSG_TRUNC, NULL);
  if (received < 0) return read_failed(engine, port_index, errno);

  int32_t refused[BATCH], refused_count = 0;
  for (int32_t i = 0; i < received; i++) {
    int32_t slot = engine->free_slots[free_count - 1 - i];
    int32_t bytes = finish_frame(engine, port, slot, &engine->received[i]);
    engine->received[i].msg_hdr.msg_controllen = sizeof engine->auxiliaries[i];
    if (bytes < 0) {
      count(engine, port_index, RX_ERRORS, 1);
      refused[refused_count++] = slot;
      continue;
    }
    accept_frame(engine, share.at + yield.frames, port_index, slot, bytes);
    yield.bytes += bytes;
    yield.frames++;
  }
  // The slots of frames that were none go back on top of those that were not used.
  int32_t left = free_count - received;
  for (int32_t i = 0; i < refused_count; i++) engine->free_slots[left + i] = refused[i];
  engine->state[FREE_COUNT] = left + refused_count;
  if (yield.frames > 0) port->typical_bytes = (int32_t)(yield.bytes / yield.frames);
  // An error behind the last frame is kept for the next call, and no event tells of it: so this is not yet `empty`.
  yield.short_of_share = received < wanted;
  return yield;
}
