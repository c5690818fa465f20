// The engine as a JavaScript object: its memory comes from typed arrays, its calls take and give small integers.
#include "engine.h"
#include "tapir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CONTROL UINT32_MAX

void engine_port_failed(struct engine *engine, int32_t port, int error) {
  struct port *failed = &engine->ports[port];
  if (!failed->in_use) return;
  epoll_ctl(engine->epoll, EPOLL_CTL_DEL, failed->fd, NULL);
  failed->in_use = false;
  engine->port_errors[port] = error;
  engine->state[PORT_ERRORS]++;
}

static struct engine *unwrap(napi_env env, napi_callback_info info, size_t *argc, napi_value *args) {
  napi_value self;
  void *data = NULL;
  napi_get_cb_info(env, info, argc, args, &self, NULL);
  if (napi_unwrap(env, self, &data) != napi_ok || data == NULL) {
    throw_message(env, "EINVAL", "not an engine");
    return NULL;
  }
  return data;
}

static bool get_port(napi_env env, struct engine *engine, napi_value value, int *port) {
  if (!get_int(env, value, port)) return false;
  if (*port >= 0 && *port < engine->port_count) return true;
  throw_message(env, "EINVAL", "no such port");
  return false;
}

// addPort(port, fd, kind)
static napi_value add_port(napi_env env, napi_callback_info info) {
  napi_value args[3];
  size_t argc = 3;
  int port, fd, kind;
  struct engine *engine = unwrap(env, info, &argc, args);
  if (engine == NULL || !get_port(env, engine, args[0], &port)) return NULL;
  if (!get_int(env, args[1], &fd) || !get_int(env, args[2], &kind)) return NULL;
  if (kind != KIND_TAP && kind != KIND_PACKET) return throw_message(env, "EINVAL", "no such kind of port");
  if (engine->ports[port].in_use) return throw_errno(env, EBUSY, "addPort", "port");
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)port};
  if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event) != 0) return throw_errno(env, errno, "epoll_ctl", "port");
  engine->ports[port].fd = fd;
  engine->ports[port].kind = (uint8_t)kind;
  engine->ports[port].in_use = true;
  engine->port_errors[port] = 0;
  return NULL;
}

// removePort(port)
static napi_value remove_port(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  int port;
  struct engine *engine = unwrap(env, info, &argc, args);
  if (engine == NULL || !get_port(env, engine, args[0], &port)) return NULL;
  struct port *removed = &engine->ports[port];
  if (removed->in_use) epoll_ctl(engine->epoll, EPOLL_CTL_DEL, removed->fd, NULL);
  removed->in_use = false;
  removed->ready = false;
  int32_t still = 0;
  for (int32_t i = 0; i < engine->ready_count; i++) {
    if (engine->ready[i] != port) engine->ready[still++] = engine->ready[i];
  }
  engine->ready_count = still;
  return NULL;
}

// watchControl(fd)
static napi_value watch_control(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  int fd;
  struct engine *engine = unwrap(env, info, &argc, args);
  if (engine == NULL || !get_int(env, args[0], &fd)) return NULL;
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = CONTROL};
  if (epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event) != 0) return throw_errno(env, errno, "epoll_ctl", "control");
  return NULL;
}

static napi_value receive(napi_env env, napi_callback_info info) {
  napi_value args[2], result;
  size_t argc = 2;
  int32_t max = 0, timeout_ms = 0;
  struct engine *engine = unwrap(env, info, &argc, args);
  if (engine == NULL) return NULL;
  napi_get_value_int32(env, args[0], &max);
  napi_get_value_int32(env, args[1], &timeout_ms);
  if (max > engine->received_limit) max = engine->received_limit;
  napi_create_int32(env, engine_receive(engine, max, timeout_ms), &result);
  return result;
}

static napi_value transmit(napi_env env, napi_callback_info info) {
  napi_value args[1], result;
  size_t argc = 1;
  int32_t count_all = 0;
  struct engine *engine = unwrap(env, info, &argc, args);
  if (engine == NULL) return NULL;
  napi_get_value_int32(env, args[0], &count_all);
  napi_create_int32(env, engine_transmit(engine, count_all), &result);
  return result;
}

// setSpin(microseconds)
static napi_value set_spin(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  int microseconds;
  struct engine *engine = unwrap(env, info, &argc, args);
  if (engine == NULL || !get_int(env, args[0], &microseconds)) return NULL;
  engine->spin_ns = microseconds < 0 ? 0 : (int64_t)microseconds * 1000;
  return NULL;
}

// close(): the engine serves no port any more; its descriptors stay the caller's.
static napi_value close_engine(napi_env env, napi_callback_info info) {
  size_t argc = 0;
  struct engine *engine = unwrap(env, info, &argc, NULL);
  if (engine == NULL || engine->epoll < 0) return NULL;
  close(engine->epoll);
  engine->epoll = -1;
  memset(engine->ports, 0, (size_t)engine->port_count * sizeof *engine->ports);
  engine->ready_count = 0;
  return NULL;
}

static void free_engine(napi_env env, void *data, void *hint) {
  struct engine *engine = data;
  if (engine->epoll >= 0) close(engine->epoll);
  free(engine->ports);
  free(engine->ready);
  free(engine);
}

// The elements of a typed array property; NULL, with a pending exception, when it is not one of that type.
static void *get_array(napi_env env, napi_value memory, const char *name, napi_typedarray_type wanted,
                       size_t *length) {
  napi_value value;
  napi_typedarray_type type;
  void *data = NULL;
  if (!get_property(env, memory, name, &value) ||
      napi_get_typedarray_info(env, value, &type, length, &data, NULL, NULL) != napi_ok || type != wanted) {
    throw_message(env, "EINVAL", name);
    return NULL;
  }
  return data;
}

static bool read_memory(napi_env env, napi_value memory, struct engine *engine) {
  size_t length, other;
  napi_value value;
  void *arena;
  int number;
  if (!get_property(env, memory, "arena", &value) || napi_get_arraybuffer_info(env, value, &arena, &length) != napi_ok) {
    throw_message(env, "EINVAL", "arena");
    return false;
  }
  engine->arena = arena;
  if (!get_property(env, memory, "slotBytes", &value) || !get_int(env, value, &number)) return false;
  engine->slot_bytes = (size_t)number;
  if (!get_property(env, memory, "slotCount", &value) || !get_int(env, value, &engine->slot_count)) return false;
  if (number <= 0 || engine->slot_count <= 0 || length < (size_t)number * (size_t)engine->slot_count) {
    throw_message(env, "EINVAL", "the arena is smaller than its slots");
    return false;
  }
  size_t slots = (size_t)engine->slot_count;
  if (!(engine->slot_length = get_array(env, memory, "slotLength", napi_int32_array, &length)) || length < slots)
    return false;
  if (!(engine->free_slots = get_array(env, memory, "freeSlots", napi_int32_array, &length)) || length < slots)
    return false;
  if (!(engine->received_slot = get_array(env, memory, "receivedSlot", napi_int32_array, &length))) return false;
  if (!(engine->received_port = get_array(env, memory, "receivedPort", napi_int32_array, &other))) return false;
  engine->received_limit = (int32_t)(length < other ? length : other);
  if (!(engine->transmit_slot = get_array(env, memory, "transmitSlot", napi_int32_array, &length))) return false;
  if (!(engine->transmit_port = get_array(env, memory, "transmitPort", napi_int32_array, &other))) return false;
  if (other < length) length = other;
  if (get_property(env, memory, "transmitOffset", &value)) {
    if (!(engine->transmit_offset = get_array(env, memory, "transmitOffset", napi_int32_array, &other))) return false;
    if (other < length) length = other;
  }
  engine->transmit_limit = (int32_t)length;
  if (!(engine->state = get_array(env, memory, "state", napi_int32_array, &length)) || length < 16) return false;
  if (!(engine->port_errors = get_array(env, memory, "portErrors", napi_int32_array, &length))) return false;
  engine->port_count = (int32_t)length;
  if (!(engine->port_counters = get_array(env, memory, "portCounters", napi_float64_array, &length))) return false;
  return length >= (size_t)engine->port_count * PORT_COUNTERS;
}

// createEngine(memory): Engine. The engine keeps `memory`, and with it every array, alive.
napi_value engine_create(napi_env env, napi_callback_info info) {
  napi_value args[1], object;
  size_t argc = 1;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  struct engine *engine = calloc(1, sizeof *engine);
  if (engine == NULL) return throw_errno(env, ENOMEM, "malloc", "engine");
  engine->epoll = -1;
  if (!read_memory(env, args[0], engine)) {
    bool pending = false;
    free(engine);
    napi_is_exception_pending(env, &pending);
    return pending ? NULL : throw_message(env, "EINVAL", "an array of the engine's memory is too short");
  }
  engine->ports = calloc((size_t)engine->port_count, sizeof *engine->ports);
  engine->ready = calloc((size_t)engine->port_count, sizeof *engine->ready);
  engine->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (engine->ports == NULL || engine->ready == NULL || engine->epoll < 0) {
    free_engine(env, engine, NULL);
    return throw_errno(env, errno, "epoll_create1", "engine");
  }
  napi_create_object(env, &object);
  const napi_property_descriptor methods[] = {
      {"addPort", NULL, add_port, NULL, NULL, NULL, napi_default, NULL},
      {"removePort", NULL, remove_port, NULL, NULL, NULL, napi_default, NULL},
      {"watchControl", NULL, watch_control, NULL, NULL, NULL, napi_default, NULL},
      {"receive", NULL, receive, NULL, NULL, NULL, napi_default, NULL},
      {"transmit", NULL, transmit, NULL, NULL, NULL, napi_default, NULL},
      {"setSpin", NULL, set_spin, NULL, NULL, NULL, napi_default, NULL},
      {"close", NULL, close_engine, NULL, NULL, NULL, napi_default, NULL},
  };
  napi_define_properties(env, object, sizeof methods / sizeof *methods, methods);
  napi_wrap(env, object, engine, free_engine, NULL, NULL);
  napi_set_named_property(env, object, "memory", args[0]);
  return object;
}

// monotonicMilliseconds(): number
napi_value clock_monotonic(napi_env env, napi_callback_info info) {
  struct timespec time;
  napi_value result;
  clock_gettime(CLOCK_MONOTONIC, &time);
  napi_create_double(env, (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6, &result);
  return result;
}
