// The engine's memory: pointers into the typed arrays of an EngineMemory, which the engine keeps alive.
#include "engine.h"
#include "tapir.h"

#include <limits.h>
#include <stdio.h>

struct reader {
  napi_env env;
  napi_value memory;
  // An array of all buffers that were read.
  napi_value kept;
  uint32_t kept_count;
};

static bool refuse(struct reader *reader, const char *name, const char *wanted) {
  char message[160];
  snprintf(message, sizeof message, "createEngine: %s must be %s", name, wanted);
  throw_message(reader->env, "EINVAL", message);
  return false;
}

static void keep(struct reader *reader, napi_value value) {
  napi_set_element(reader->env, reader->kept, reader->kept_count++, value);
}

// A typed array of at least `least` elements; `limit`, where given, becomes the smaller of itself and its length.
static bool read_array(struct reader *reader, const char *name, napi_typedarray_type wanted, size_t least,
                       void **elements, size_t *limit) {
  napi_value value, buffer;
  napi_typedarray_type type;
  size_t length = 0;
  char wish[80];
  snprintf(wish, sizeof wish, "%s of at least %zu elements",
           wanted == napi_int32_array ? "an Int32Array" : "a Float64Array", least);
  if (!get_property(reader->env, reader->memory, name, &value) ||
      napi_get_typedarray_info(reader->env, value, &type, &length, elements, &buffer, NULL) != napi_ok ||
      type != wanted || length < least) {
    return refuse(reader, name, wish);
  }
  if (limit != NULL && length < *limit) *limit = length;
  keep(reader, buffer);
  return true;
}

static bool read_words(struct reader *reader, const char *name, size_t least, int32_t **words, size_t *limit) {
  void *elements = NULL;
  if (!read_array(reader, name, napi_int32_array, least, &elements, limit)) return false;
  *words = elements;
  return true;
}

static bool read_size(struct reader *reader, const char *name, int32_t *size) {
  napi_value value;
  if (!get_property(reader->env, reader->memory, name, &value) ||
      napi_get_value_int32(reader->env, value, size) != napi_ok || *size <= 0) {
    return refuse(reader, name, "a positive number");
  }
  return true;
}

static bool read_arena(struct reader *reader, struct engine *engine) {
  napi_value value;
  void *data = NULL;
  size_t length = 0;
  int32_t slot_bytes;
  if (!read_size(reader, "slotBytes", &slot_bytes)) return false;
  if (!read_size(reader, "slotCount", &engine->slot_count)) return false;
  if (slot_bytes < SHORTEST_FRAME_BYTES) return refuse(reader, "slotBytes", "room for a vnet header and a frame");
  engine->slot_bytes = (size_t)slot_bytes;
  if (!get_property(reader->env, reader->memory, "arena", &value) ||
      napi_get_arraybuffer_info(reader->env, value, &data, &length) != napi_ok ||
      length / engine->slot_bytes < (size_t)engine->slot_count) {
    return refuse(reader, "arena", "an ArrayBuffer of slotCount * slotBytes bytes");
  }
  engine->arena = data;
  keep(reader, value);
  return true;
}

static bool read_lists(struct reader *reader, struct engine *engine) {
  size_t slots = (size_t)engine->slot_count, received = INT32_MAX, transmitted = INT32_MAX;
  napi_value value;
  if (!read_words(reader, "slotLength", slots, &engine->slot_length, NULL) ||
      !read_words(reader, "freeSlots", slots, &engine->free_slots, NULL) ||
      !read_words(reader, "receivedSlot", 0, &engine->received_slot, &received) ||
      !read_words(reader, "receivedPort", 0, &engine->received_port, &received) ||
      !read_words(reader, "transmitSlot", 0, &engine->transmit_slot, &transmitted) ||
      !read_words(reader, "transmitPort", 0, &engine->transmit_port, &transmitted)) {
    return false;
  }
  if (get_property(reader->env, reader->memory, "transmitOffset", &value) &&
      !read_words(reader, "transmitOffset", 0, &engine->transmit_offset, &transmitted)) {
    return false;
  }
  engine->received_limit = (int32_t)received;
  engine->transmit_limit = (int32_t)transmitted;
  return true;
}

static bool read_ports(struct reader *reader, struct engine *engine) {
  size_t ports = INT32_MAX / PORT_COUNTERS;
  void *counters = NULL;
  if (!read_words(reader, "state", STATE_WORDS, &engine->state, NULL) ||
      !read_words(reader, "portErrors", 1, &engine->port_errors, &ports) ||
      !read_array(reader, "portCounters", napi_float64_array, ports * PORT_COUNTERS, &counters, NULL)) {
    return false;
  }
  engine->port_count = (int32_t)ports;
  engine->port_counters = counters;
  return true;
}

bool engine_read_memory(napi_env env, napi_value memory, struct engine *engine) {
  struct reader reader = {.env = env, .memory = memory};
  napi_create_array(env, &reader.kept);
  if (!read_arena(&reader, engine) || !read_lists(&reader, engine) || !read_ports(&reader, engine)) return false;
  return napi_create_reference(env, reader.kept, 1, &engine->kept) == napi_ok;
}
