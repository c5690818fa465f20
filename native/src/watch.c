// watchReadable: a descriptor on Node's event loop.
#include "tapir.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

// It lives until libuv has closed its handle: stopped by its function, or at the end of the environment.
struct watch {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  bool closing;
};

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status, (void)events;
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
  struct watch *watch = handle->data;
  if (watch->cleanup != NULL) napi_remove_async_cleanup_hook(watch->cleanup);
  free(watch);
}

static void stop_watch(struct watch *watch) {
  if (watch->closing) return;
  watch->closing = true;
  uv_poll_stop(&watch->poll);
  napi_delete_reference(watch->env, watch->callback);
  napi_async_destroy(watch->env, watch->context);
  uv_close((uv_handle_t *)&watch->poll, on_closed);
}

static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  stop_watch(data);
}

// The function that watchReadable returned: it forgets its watch, so that a second call does nothing.
static napi_value watch_stop(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  struct watch **place = data;
  if (*place != NULL) stop_watch(*place);
  *place = NULL;
  return NULL;
}

static void free_place(napi_env env, void *data, void *hint) {
  (void)env, (void)hint;
  free(data);
}

static napi_value start_watch(napi_env env, struct watch *watch, struct watch **place, napi_value callback) {
  napi_value name, stop;
  watch->env = env;
  watch->poll.data = watch;
  napi_create_reference(env, callback, 1, &watch->callback);
  napi_create_string_utf8(env, "tapir.watchReadable", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &watch->context);
  napi_add_async_cleanup_hook(env, on_environment_end, watch, &watch->cleanup);
  uv_poll_start(&watch->poll, UV_READABLE | UV_DISCONNECT, on_readable);
  *place = watch;
  napi_create_function(env, "stop", NAPI_AUTO_LENGTH, watch_stop, place, &stop);
  napi_add_finalizer(env, stop, place, free_place, NULL, NULL);
  return stop;
}

// watchReadable(fd, callback): function that ends it
napi_value channel_watch(napi_env env, napi_callback_info info) {
  napi_value args[2];
  napi_valuetype type;
  size_t argc = 2;
  int fd;
  uv_loop_t *loop;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  if (napi_typeof(env, args[1], &type) != napi_ok || type != napi_function) {
    return throw_message(env, "EINVAL", "watchReadable: a function was expected");
  }
  struct watch *watch = calloc(1, sizeof *watch);
  struct watch **place = malloc(sizeof *place);
  int error = ENOMEM;
  if (watch != NULL && place != NULL && napi_get_uv_event_loop(env, &loop) == napi_ok) {
    error = -uv_poll_init(loop, &watch->poll, fd);
    if (error == 0) return start_watch(env, watch, place, args[1]);
  }
  free(watch);
  free(place);
  return throw_errno(env, error, "watchReadable", NULL, "uv_poll_init");
}
