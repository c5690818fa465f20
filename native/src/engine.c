// The engine as a JavaScript object: its calls take and give small integers.
#include "engine.h"
#include "tapir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONGEST_WAIT_MS 2147483648.0

void engine_port_failed(struct engine *engine, int32_t port, int error) {
  struct port *failed = &engine->ports[port];
  if (!failed->in_use) return;
  epoll_ctl(engine->epoll, EPOLL_CTL_DEL, failed->fd, NULL);
  failed->in_use = false;
  engine->port_errors[port] = error;
  engine->state[PORT_ERRORS]++;
}

// The engine and the arguments of a call; NULL, with a pending exception, when it is called on something else. Missing
// arguments are undefined.
static struct engine *unwrap(napi_env env, napi_callback_info info, size_t argc, napi_value *args) {
  napi_value self;
  void *data = NULL;
  napi_get_cb_info(env, info, &argc, args, &self, NULL);
  if (napi_unwrap(env, self, &data) != napi_ok || data == NULL) {
    throw_message(env, "EINVAL", "not an engine");
    return NULL;
  }
  return data;
}

// The same for the calls that need an engine that is open.
static struct engine *unwrap_open(napi_env env, napi_callback_info info, size_t argc, napi_value *args) {
  struct engine *engine = unwrap(env, info, argc, args);
  if (engine == NULL || engine->epoll >= 0) return engine;
  throw_message(env, "EBADF", "the engine is closed");
  return NULL;
}

static bool get_port(napi_env env, struct engine *engine, napi_value value, int *port) {
  if (!get_int(env, value, port)) return false;
  if (*port >= 0 && *port < engine->port_count) return true;
  throw_message(env, "EINVAL", "no such port");
  return false;
}

// A packet socket says itself whether it puts vnet headers in front of its frames.
static int header_bytes_of(int fd, int kind) {
  int enabled = 0;
  socklen_t length = sizeof enabled;
  if (kind == KIND_TAP) return VNET_HEADER_BYTES;
  if (getsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &enabled, &length) != 0) return -1;
  return enabled != 0 ? VNET_HEADER_BYTES : 0;
}

// addPort(port, fd, kind)
static napi_value add_port(napi_env env, napi_callback_info info) {
  napi_value args[3];
  int port_index, fd, kind;
  struct engine *engine = unwrap_open(env, info, 3, args);
  if (engine == NULL || !get_port(env, engine, args[0], &port_index)) return NULL;
  if (!get_int(env, args[1], &fd) || !get_int(env, args[2], &kind)) return NULL;
  if (kind != KIND_TAP && kind != KIND_PACKET) return throw_message(env, "EINVAL", "addPort: no such kind of port");
  struct port *port = &engine->ports[port_index];
  if (port->in_use) return throw_errno(env, EBUSY, "addPort", NULL, "addPort");
  int header_bytes = header_bytes_of(fd, kind);
  if (header_bytes < 0) return throw_errno(env, errno, "addPort", NULL, "getsockopt PACKET_VNET_HDR");
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)port_index};
  if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return throw_errno(env, errno, "addPort", NULL, "epoll_ctl");
  }
  port->fd = fd;
  port->kind = (uint8_t)kind;
  port->header_bytes = (uint8_t)header_bytes;
  port->typical_bytes = 0;
  port->reads = 0;
  port->in_use = true;
  engine->port_errors[port_index] = 0;
  return NULL;
}

// removePort(port): its place in the queue of ready ports stays until its turn comes.
static napi_value remove_port(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int port_index;
  struct engine *engine = unwrap(env, info, 1, args);
  if (engine == NULL || !get_port(env, engine, args[0], &port_index)) return NULL;
  struct port *port = &engine->ports[port_index];
  if (port->in_use) epoll_ctl(engine->epoll, EPOLL_CTL_DEL, port->fd, NULL);
  port->in_use = false;
  return NULL;
}

// watchControl(fd)
static napi_value watch_control(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int fd;
  struct engine *engine = unwrap_open(env, info, 1, args);
  if (engine == NULL || !get_int(env, args[0], &fd)) return NULL;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = CONTROL};
  if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
    return throw_errno(env, errno, "watchControl", NULL, "epoll_ctl");
  }
  return NULL;
}

// What is no number, or too large to be told from it, is for ever.
static int64_t nanoseconds_of(double milliseconds) {
  if (milliseconds >= 0 && milliseconds < LONGEST_WAIT_MS) return (int64_t)(milliseconds * 1e6);
  return -1;
}

// receive(max, timeoutMs)
static napi_value receive(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  int32_t max = 0;
  double timeout_ms = 0;
  struct engine *engine = unwrap_open(env, info, 2, args);
  if (engine == NULL) return NULL;
  napi_get_value_int32(env, args[0], &max);
  napi_get_value_double(env, args[1], &timeout_ms);
  if (max > engine->received_limit) max = engine->received_limit;
  napi_create_int32(env, engine_receive(engine, max, nanoseconds_of(timeout_ms)), &result);
  return result;
}

// transmit(count)
static napi_value transmit(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  int32_t count_all = 0;
  struct engine *engine = unwrap_open(env, info, 1, args);
  if (engine == NULL) return NULL;
  napi_get_value_int32(env, args[0], &count_all);
  napi_create_int32(env, engine_transmit(engine, count_all), &result);
  return result;
}

// setSpin(microseconds)
static napi_value set_spin(napi_env env, napi_callback_info info) {
  napi_value args[1];
  int microseconds;
  struct engine *engine = unwrap_open(env, info, 1, args);
  if (engine == NULL || !get_int(env, args[0], &microseconds)) return NULL;
  engine->spin_ns = microseconds < 0 ? 0 : (int64_t)microseconds * 1000;
  return NULL;
}

// useRing(wanted): boolean
static napi_value use_ring(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  bool wanted = false;
  struct engine *engine = unwrap_open(env, info, 1, args);
  if (engine == NULL) return NULL;
  napi_get_value_bool(env, args[0], &wanted);
  napi_get_boolean(env, engine_use_ring(engine, wanted), &result);
  return result;
}

// close(): the engine lets go of its memory and of every port; the descriptors stay the caller's. Once more does no
// harm.
static napi_value close_engine(napi_env env, napi_callback_info info) {
  struct engine *engine = unwrap(env, info, 0, NULL);
  if (engine == NULL || engine->epoll < 0) return NULL;
  close(engine->epoll);
  engine->epoll = -1;
  ring_close(&engine->ring);
  napi_delete_reference(env, engine->kept);
  engine->kept = NULL;
  return NULL;
}

static void free_engine(napi_env env, void *data, void *hint) {
  (void)hint;
  struct engine *engine = data;
  if (engine->epoll >= 0) close(engine->epoll);
  ring_close(&engine->ring);
  if (engine->kept != NULL) napi_delete_reference(env, engine->kept);
  free(engine->ports);
  free(engine->ready.ports);
  free(engine->asked_ports);
  free(engine);
}

static bool allocate_ports(struct engine *engine) {
  engine->ports = calloc((size_t)engine->port_count, sizeof *engine->ports);
  engine->ready.ports = calloc((size_t)engine->port_count, sizeof *engine->ready.ports);
  engine->asked_ports = calloc((size_t)engine->port_count, sizeof *engine->asked_ports);
  engine->ready.capacity = engine->port_count;
  if (engine->ports == NULL || engine->ready.ports == NULL || engine->asked_ports == NULL) return false;
  engine->epoll = epoll_create1(EPOLL_CLOEXEC);
  return engine->epoll >= 0;
}

// createEngine(memory): Engine
napi_value engine_create(napi_env env, napi_callback_info info) {
  napi_value args[1], object;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  struct engine *engine = calloc(1, sizeof *engine);
  if (engine == NULL) return throw_errno(env, ENOMEM, "createEngine", NULL, "calloc");
  engine->epoll = -1;
  engine->ring.fd = -1;
  if (!engine_read_memory(env, args[0], engine)) {
    free_engine(env, engine, NULL);
    return NULL;
  }
  if (!allocate_ports(engine)) {
    int error = errno;
    free_engine(env, engine, NULL);
    return throw_errno(env, error, "createEngine", NULL, "epoll_create1");
  }
  engine_prepare_batches(engine);
  const napi_property_descriptor methods[] = {
      {"addPort", NULL, add_port, NULL, NULL, NULL, napi_default, NULL},
      {"removePort", NULL, remove_port, NULL, NULL, NULL, napi_default, NULL},
      {"watchControl", NULL, watch_control, NULL, NULL, NULL, napi_default, NULL},
      {"receive", NULL, receive, NULL, NULL, NULL, napi_default, NULL},
      {"transmit", NULL, transmit, NULL, NULL, NULL, napi_default, NULL},
      {"useRing", NULL, use_ring, NULL, NULL, NULL, napi_default, NULL},
      {"setSpin", NULL, set_spin, NULL, NULL, NULL, napi_default, NULL},
      {"close", NULL, close_engine, NULL, NULL, NULL, napi_default, NULL},
  };
  napi_create_object(env, &object);
  napi_define_properties(env, object, sizeof methods / sizeof *methods, methods);
  if (napi_wrap(env, object, engine, free_engine, NULL, NULL) != napi_ok) {
    free_engine(env, engine, NULL);
    return throw_message(env, "ENOMEM", "createEngine: no object");
  }
  return object;
}

// hasRing(): boolean
napi_value ring_probe(napi_env env, napi_callback_info info) {
  (void)info;
  struct ring ring;
  napi_value result;
  bool there = ring_open(&ring);
  if (there) ring_close(&ring);
  napi_get_boolean(env, there, &result);
  return result;
}

// ringIsRestricted(): boolean
napi_value ring_probe_restriction(napi_env env, napi_callback_info info) {
  (void)info;
  struct ring ring;
  napi_value result;
  bool there = ring_open(&ring);
  bool restricted = there && ring_is_restricted(&ring);
  if (there) ring_close(&ring);
  napi_get_boolean(env, restricted, &result);
  return result;
}

// monotonicMilliseconds(): number
napi_value clock_monotonic(napi_env env, napi_callback_info info) {
  (void)info;
  struct timespec time;
  napi_value result;
  clock_gettime(CLOCK_MONOTONIC, &time);
  napi_create_double(env, (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6, &result);
  return result;
}
