// Messages between the two processes: AF_UNIX sequenced packets that carry bytes and descriptors.
#include "tapir.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGEST_MESSAGE_BYTES (64 << 10)
#define MOST_DESCRIPTORS 64
#define SEND_BUFFER_BYTES (1 << 20)

// socketPair(): [fd, fd]
napi_value channel_pair(napi_env env, napi_callback_info info) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return throw_errno(env, errno, "socketPair", NULL, "socketpair");
  }
  napi_value result, value;
  napi_create_array_with_length(env, 2, &result);
  for (int i = 0; i < 2; i++) {
    int bytes = SEND_BUFFER_BYTES;
    if (setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0) {
      setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    napi_create_int32(env, fds[i], &value);
    napi_set_element(env, result, (uint32_t)i, value);
  }
  return result;
}

static bool get_descriptors(napi_env env, napi_value array, int *fds, uint32_t *count) {
  if (napi_get_array_length(env, array, count) != napi_ok || *count > MOST_DESCRIPTORS) {
    throw_message(env, "EINVAL", "sendMessage: an array of at most 64 descriptors was expected");
    return false;
  }
  for (uint32_t i = 0; i < *count; i++) {
    napi_value value;
    napi_get_element(env, array, i, &value);
    if (!get_int(env, value, &fds[i])) return false;
  }
  return true;
}

// Whether the same message may be taken a moment later: the peer has to read first, or the kernel lacks memory, or too
// many descriptors are on their way.
static bool is_passing(int error) {
  return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM || error == ETOOMANYREFS;
}

// sendMessage(fd, bytes, descriptors): false when it cannot be sent now
napi_value channel_send(napi_env env, napi_callback_info info) {
  napi_value args[3], result;
  size_t argc = 3, length;
  int fd, fds[MOST_DESCRIPTORS];
  uint32_t count;
  void *data;
  napi_typedarray_type type;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  if (napi_get_typedarray_info(env, args[1], &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || length == 0 || length > LARGEST_MESSAGE_BYTES) {
    return throw_message(env, "EMSGSIZE", "sendMessage: 1 to 65536 bytes in a Uint8Array were expected");
  }
  if (!get_descriptors(env, args[2], fds, &count)) return NULL;

  _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fds)];
  struct iovec vector = {.iov_base = data, .iov_len = length};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  if (count > 0) {
    memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  }
  ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && !is_passing(errno)) return throw_errno(env, errno, "sendMessage", NULL, "sendmsg");
  napi_get_boolean(env, sent >= 0, &result);
  return result;
}

static int take_descriptors(struct msghdr *message, int *fds) {
  int taken = 0;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t bytes = header->cmsg_len - CMSG_LEN(0);
    memcpy(fds + taken, CMSG_DATA(header), bytes);
    taken += (int)(bytes / sizeof(int));
  }
  return taken;
}

static napi_value make_message(napi_env env, const void *data, size_t length, const int *fds, int fd_count) {
  napi_value result, bytes, array_buffer, descriptors, value;
  void *copy;
  napi_create_arraybuffer(env, length, &copy, &array_buffer);
  memcpy(copy, data, length);
  napi_create_typedarray(env, napi_uint8_array, length, array_buffer, 0, &bytes);
  napi_create_array_with_length(env, (size_t)fd_count, &descriptors);
  for (int i = 0; i < fd_count; i++) {
    napi_create_int32(env, fds[i], &value);
    napi_set_element(env, descriptors, (uint32_t)i, value);
  }
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "bytes", bytes);
  napi_set_named_property(env, result, "descriptors", descriptors);
  return result;
}

// receiveMessage(fd): { bytes, descriptors, isCut }, null when there is none, "closed" when the peer is gone
napi_value channel_receive(napi_env env, napi_callback_info info) {
  char buffer[LARGEST_MESSAGE_BYTES];
  napi_value args[1], result;
  size_t argc = 1;
  int fd, fds[MOST_DESCRIPTORS];
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
  struct iovec vector = {.iov_base = buffer, .iov_len = sizeof buffer};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOMEM)) {
    napi_get_null(env, &result);
    return result;
  }
  if (received == 0 || (received < 0 && errno == ECONNRESET)) {
    napi_create_string_utf8(env, "closed", NAPI_AUTO_LENGTH, &result);
    return result;
  }
  if (received < 0) return throw_errno(env, errno, "receiveMessage", NULL, "recvmsg");
  int fd_count = take_descriptors(&message, fds);
  // Descriptors are cut off where this process may have no more of them.
  bool is_cut = (message.msg_flags & MSG_CTRUNC) != 0, is_too_long = (message.msg_flags & MSG_TRUNC) != 0;
  for (int i = 0; (is_cut || is_too_long) && i < fd_count; i++) close(fds[i]);
  if (is_too_long) {
    return throw_message(env, "EMSGSIZE", "receiveMessage: the message was too long and has been cut");
  }
  result = make_message(env, buffer, (size_t)received, fds, is_cut ? 0 : fd_count);
  napi_value cut;
  napi_get_boolean(env, is_cut, &cut);
  napi_set_named_property(env, result, "isCut", cut);
  return result;
}
