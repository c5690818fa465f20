// Messages between the two processes: AF_UNIX sequenced packets that carry bytes and descriptors.
#include "tapir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define LARGEST_MESSAGE_BYTES (64 << 10)
#define MOST_DESCRIPTORS 64
#define SEND_BUFFER_BYTES (1 << 20)

// socketPair(): [fd, fd]
napi_value channel_pair(napi_env env, napi_callback_info info) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) {
    return throw_errno(env, errno, "socketpair", "channel");
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

// sendMessage(fd, bytes, descriptors): false when it would block
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

  char control[CMSG_SPACE(sizeof fds)];
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
  if (sent < 0 && errno != EAGAIN) return throw_errno(env, errno, "sendmsg", "channel");
  napi_get_boolean(env, sent >= 0, &result);
  return result;
}

static napi_value take_descriptors(napi_env env, struct msghdr *message) {
  napi_value array, value;
  uint32_t taken = 0;
  napi_create_array(env, &array);
  for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL; header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      napi_create_int32(env, fd, &value);
      napi_set_element(env, array, taken++, value);
    }
  }
  return array;
}

// receiveMessage(fd): { bytes, descriptors }, null when there is none, "closed" when the peer is gone
napi_value channel_receive(napi_env env, napi_callback_info info) {
  static char buffer[LARGEST_MESSAGE_BYTES];
  napi_value args[1], result;
  size_t argc = 1;
  int fd;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  char control[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
  struct iovec vector = {.iov_base = buffer, .iov_len = sizeof buffer};
  struct msghdr message = {
      .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) {
    napi_get_null(env, &result);
    return result;
  }
  if (received == 0 || (received < 0 && errno == ECONNRESET)) {
    napi_create_string_utf8(env, "closed", NAPI_AUTO_LENGTH, &result);
    return result;
  }
  if (received < 0) return throw_errno(env, errno, "recvmsg", "channel");
  napi_value descriptors = take_descriptors(env, &message);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return throw_message(env, "EMSGSIZE", "receiveMessage: the message was too long and has been cut");
  }
  napi_value bytes, array_buffer;
  void *data;
  napi_create_arraybuffer(env, (size_t)received, &data, &array_buffer);
  memcpy(data, buffer, (size_t)received);
  napi_create_typedarray(env, napi_uint8_array, (size_t)received, array_buffer, 0, &bytes);
  napi_create_object(env, &result);
  napi_set_named_property(env, result, "bytes", bytes);
  napi_set_named_property(env, result, "descriptors", descriptors);
  return result;
}

struct watch {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  bool closed;
};

static void on_readable(uv_poll_t *poll, int status, int events) {
  struct watch *watch = poll->data;
  napi_env env = watch->env;
  napi_handle_scope scope;
  napi_value callback, receiver, result;
  napi_open_handle_scope(env, &scope);
  napi_get_reference_value(env, watch->callback, &callback);
  napi_get_global(env, &receiver);
  if (napi_make_callback(env, watch->context, receiver, callback, 0, NULL, &result) == napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

static void on_closed(uv_handle_t *handle) {
  free(handle->data);
}

static void stop_watch(struct watch *watch) {
  if (watch->closed) return;
  watch->closed = true;
  uv_poll_stop(&watch->poll);
  napi_delete_reference(watch->env, watch->callback);
  napi_async_destroy(watch->env, watch->context);
  uv_close((uv_handle_t *)&watch->poll, on_closed);
}

// The function that channel_watch returned; it forgets its watch so that a second call does nothing.
static napi_value watch_stop(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  struct watch **slot = data;
  if (*slot != NULL) stop_watch(*slot);
  *slot = NULL;
  return NULL;
}

static void free_slot(napi_env env, void *data, void *hint) {
  free(data);
}

// watchReadable(fd, callback): function that ends it
napi_value channel_watch(napi_env env, napi_callback_info info) {
  napi_value args[2], name, stop;
  size_t argc = 2;
  int fd;
  uv_loop_t *loop;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  struct watch *watch = calloc(1, sizeof *watch);
  struct watch **slot = malloc(sizeof *slot);
  if (watch == NULL || slot == NULL || napi_get_uv_event_loop(env, &loop) != napi_ok) {
    free(watch);
    free(slot);
    return throw_errno(env, ENOMEM, "watchReadable", "channel");
  }
  int error = uv_poll_init(loop, &watch->poll, fd);
  if (error != 0) {
    free(watch);
    free(slot);
    return throw_errno(env, -error, "uv_poll_init", "channel");
  }
  watch->env = env;
  watch->poll.data = watch;
  napi_create_reference(env, args[1], 1, &watch->callback);
  napi_create_string_utf8(env, "tapir.watchReadable", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &watch->context);
  uv_poll_start(&watch->poll, UV_READABLE | UV_DISCONNECT, on_readable);
  *slot = watch;
  napi_create_function(env, "stop", NAPI_AUTO_LENGTH, watch_stop, slot, &stop);
  napi_add_finalizer(env, stop, slot, free_slot, NULL, NULL);
  return stop;
}
