// What the addon exports; src/io/native.ts declares and documents it.
#include "tapir.h"

static void export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function);
  napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  export_function(env, exports, "createMemory", memory_create);
  export_function(env, exports, "mapMemory", memory_map);
  export_function(env, exports, "allocateMemory", memory_allocate);
  export_function(env, exports, "openTap", tap_open);
  export_function(env, exports, "openPacketSocket", packet_open);
  export_function(env, exports, "inNamespace", namespace_run);
  export_function(env, exports, "enterNamespace", namespace_enter);
  export_function(env, exports, "closeDescriptor", descriptor_close);
  export_function(env, exports, "socketPair", channel_pair);
  export_function(env, exports, "sendMessage", channel_send);
  export_function(env, exports, "receiveMessage", channel_receive);
  export_function(env, exports, "watchReadable", channel_watch);
  export_function(env, exports, "listenAt", rendezvous_listen);
  export_function(env, exports, "connectTo", rendezvous_connect);
  export_function(env, exports, "acceptFrom", rendezvous_accept);
  export_function(env, exports, "replaceProgram", program_replace);
  export_function(env, exports, "buryChild", child_bury);
  export_function(env, exports, "openRouteNetlink", netlink_open);
  export_function(env, exports, "createEngine", engine_create);
  export_function(env, exports, "monotonicMilliseconds", clock_monotonic);
  export_function(env, exports, "hasRing", ring_probe);
#ifdef TAPIR_FAULTS
  export_function(env, exports, "faultCalls", faults_list);
  export_function(env, exports, "setFault", faults_set);
  export_function(env, exports, "faultHits", faults_hits);
#endif
  export_function(env, exports, "ringIsRestricted", ring_probe_restriction);
  export_function(env, exports, "keepCapabilities", capabilities_keep);
  export_function(env, exports, "confine", process_confine);
  export_function(env, exports, "notifyService", service_notify);
  return exports;
}
