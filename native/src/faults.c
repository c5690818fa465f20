// What the tests of faults arm, and how often it was met (faults.h). Not in a usual build.
#include "tapir.h"

#include <errno.h>
#include <string.h>

#define FAULT_NAME(call) #call,
static const char *const names[] = {FAULT_CALLS(FAULT_NAME)};

static struct {
  int error;
  int skip;
  int times;
} armed[FAULT_CALL_COUNT];
static int hits;

static bool is_due(enum fault_call call) {
  if (armed[call].times == 0) return false;
  if (armed[call].skip > 0) {
    armed[call].skip--;
    return false;
  }
  armed[call].times--;
  hits++;
  return true;
}

bool fault_hits(enum fault_call call) {
  if (armed[call].error == 0 || !is_due(call)) return false;
  errno = armed[call].error;
  return true;
}

uint32_t fault_count(enum fault_call call, uint32_t count) {
  return armed[call].error == 0 && count > 1 && is_due(call) ? 1 : count;
}

int32_t fault_result(int32_t result) {
  return fault_hits(FAULT_completion) ? -armed[FAULT_completion].error : result;
}

// faultCalls(): names
napi_value faults_list(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result, name;
  napi_create_array(env, &result);
  for (uint32_t i = 0; i < FAULT_CALL_COUNT; i++) {
    napi_create_string_utf8(env, names[i], NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, result, i, name);
  }
  return result;
}

// setFault(call, errno, skip, times): arms this call, and no other; 0 times arms none
napi_value faults_set(napi_env env, napi_callback_info info) {
  napi_value args[4];
  size_t argc = 4;
  char name[32];
  int error, skip, times;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_string(env, args[0], name, sizeof name) || !get_int(env, args[1], &error)) return NULL;
  if (!get_int(env, args[2], &skip) || !get_int(env, args[3], &times)) return NULL;
  memset(armed, 0, sizeof armed);
  hits = 0;
  for (int i = 0; i < FAULT_CALL_COUNT; i++) {
    if (strcmp(names[i], name) != 0) continue;
    armed[i].error = error;
    armed[i].skip = skip;
    armed[i].times = times;
    return NULL;
  }
  return throw_message(env, "EINVAL", "setFault: no such call");
}

// faultHits(): how often the armed call has failed
napi_value faults_hits(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value result;
  napi_create_int32(env, hits, &result);
  return result;
}
