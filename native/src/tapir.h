// The addon's parts, and what they share. No protocol logic lives here: frames are bytes with a length.
#ifndef TAPIR_H
#define TAPIR_H

#include "faults.h"

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

// Throws an Error with `code` (the errno's name), `errno` and `syscall`. `operation` is the addon's function, `subject`
// the device, file or name that it was about, or NULL.
napi_value throw_errno(napi_env env, int error, const char *operation, const char *subject, const char *syscall_name);
napi_value throw_message(napi_env env, const char *code, const char *message);

// Arguments. Each returns false, with a pending exception, when the value is of the wrong kind.
bool get_string(napi_env env, napi_value value, char *buffer, size_t size);
bool get_int(napi_env env, napi_value value, int *result);
// A property of an object: false when it is absent (no exception) or wrong (exception pending).
bool get_property(napi_env env, napi_value object, const char *name, napi_value *result);
bool get_bool_property(napi_env env, napi_value object, const char *name, bool fallback);
void set_int(napi_env env, napi_value object, const char *name, int64_t value);
void set_string(napi_env env, napi_value object, const char *name, const char *value);

// Enters a network namespace for the length of a call. `leave_namespace` aborts the process when there is no way
// back: to go on in a foreign namespace would be worse.
int enter_namespace(const char *path, int *home);
void leave_namespace(int home);
// The same without closing `home`.
void return_to_namespace(int home);

// The namespace in which TAPs are made before they are moved to their place (nursery.c). To be left like any other.
int enter_nursery(int *home);
// Moves a device of the current namespace to the one behind the descriptor; returns an errno.
int move_device(const char *ifname, int target);
bool device_exists(const char *ifname);

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
// A file without a name for `length` bytes of shared memory on huge pages; -1 where there is no such thing.
int create_huge_file(size_t length);

napi_value memory_create(napi_env env, napi_callback_info info);
napi_value memory_map(napi_env env, napi_callback_info info);
napi_value memory_allocate(napi_env env, napi_callback_info info);
napi_value tap_open(napi_env env, napi_callback_info info);
napi_value packet_open(napi_env env, napi_callback_info info);
napi_value namespace_run(napi_env env, napi_callback_info info);
napi_value namespace_enter(napi_env env, napi_callback_info info);
napi_value descriptor_close(napi_env env, napi_callback_info info);
napi_value channel_pair(napi_env env, napi_callback_info info);
napi_value channel_send(napi_env env, napi_callback_info info);
napi_value channel_receive(napi_env env, napi_callback_info info);
napi_value channel_watch(napi_env env, napi_callback_info info);
napi_value rendezvous_listen(napi_env env, napi_callback_info info);
napi_value rendezvous_connect(napi_env env, napi_callback_info info);
napi_value rendezvous_accept(napi_env env, napi_callback_info info);
napi_value program_replace(napi_env env, napi_callback_info info);
napi_value child_bury(napi_env env, napi_callback_info info);
napi_value netlink_open(napi_env env, napi_callback_info info);
napi_value engine_create(napi_env env, napi_callback_info info);
napi_value clock_monotonic(napi_env env, napi_callback_info info);
napi_value ring_probe(napi_env env, napi_callback_info info);
#ifdef TAPIR_FAULTS
napi_value faults_list(napi_env env, napi_callback_info info);
napi_value faults_set(napi_env env, napi_callback_info info);
napi_value faults_hits(napi_env env, napi_callback_info info);
#endif
napi_value ring_probe_restriction(napi_env env, napi_callback_info info);
napi_value capabilities_keep(napi_env env, napi_callback_info info);
napi_value process_confine(napi_env env, napi_callback_info info);
napi_value service_notify(napi_env env, napi_callback_info info);

#endif
