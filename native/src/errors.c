// Errors as Node's own: code is the errno's name, syscall the call that failed.
#include "tapir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NAMED(error) {error, #error}

// Not strerrorname_np: only the GNU library has it.
static const struct {
  int error;
  const char *name;
} names[] = {
    NAMED(EPERM),        NAMED(ENOENT),       NAMED(EINTR),        NAMED(EIO),          NAMED(ENXIO),
    NAMED(E2BIG),        NAMED(EBADF),        NAMED(EAGAIN),       NAMED(ENOMEM),       NAMED(EACCES),
    NAMED(EFAULT),       NAMED(EBUSY),        NAMED(EEXIST),       NAMED(ENODEV),       NAMED(ENOTDIR),
    NAMED(EISDIR),       NAMED(EINVAL),       NAMED(ENFILE),       NAMED(EMFILE),       NAMED(ENOTTY),
    NAMED(ENOSPC),       NAMED(ESPIPE),       NAMED(EROFS),        NAMED(EPIPE),        NAMED(ERANGE),
    NAMED(ENAMETOOLONG), NAMED(ENOSYS),       NAMED(ELOOP),        NAMED(EOVERFLOW),    NAMED(EBADFD),
    NAMED(ENOTSOCK),     NAMED(EDESTADDRREQ), NAMED(EMSGSIZE),     NAMED(EPROTOTYPE),   NAMED(ENOPROTOOPT),
    NAMED(EPROTONOSUPPORT), NAMED(EOPNOTSUPP), NAMED(EAFNOSUPPORT), NAMED(EADDRINUSE),  NAMED(EADDRNOTAVAIL),
    NAMED(ENETDOWN),     NAMED(ENETUNREACH),  NAMED(ECONNRESET),   NAMED(ENOBUFS),      NAMED(ENOTCONN),
    NAMED(ESHUTDOWN),    NAMED(ETOOMANYREFS), NAMED(ETIMEDOUT),    NAMED(ECONNREFUSED), NAMED(ECANCELED),
};

static const char *errno_name(int error) {
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (names[i].error == error) return names[i].name;
  }
  return "EUNKNOWN";
}

static napi_value make_error(napi_env env, const char *code, const char *message) {
  napi_value code_value, message_value, error;
  napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value);
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &message_value);
  napi_create_error(env, code_value, message_value, &error);
  return error;
}

napi_value throw_errno(napi_env env, int error, const char *operation, const char *subject, const char *syscall_name) {
  char message[512];
  snprintf(message, sizeof message, "%s%s%.300s: %s (%s, %s)", operation, subject == NULL ? "" : " ",
           subject == NULL ? "" : subject, strerror(error), errno_name(error), syscall_name);
  napi_value value = make_error(env, errno_name(error), message);
  set_int(env, value, "errno", error);
  set_string(env, value, "syscall", syscall_name);
  napi_throw(env, value);
  return NULL;
}

napi_value throw_message(napi_env env, const char *code, const char *message) {
  napi_throw(env, make_error(env, code, message));
  return NULL;
}

bool get_string(napi_env env, napi_value value, char *buffer, size_t size) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) {
    throw_message(env, "EINVAL", "a string was expected");
    return false;
  }
  if (length >= size) {
    throw_message(env, "ENAMETOOLONG", "a name or path is too long");
    return false;
  }
  napi_get_value_string_utf8(env, value, buffer, size, &length);
  if (strlen(buffer) != length) {
    throw_message(env, "EINVAL", "a name or path holds a NUL byte");
    return false;
  }
  return true;
}

bool get_int(napi_env env, napi_value value, int *result) {
  if (napi_get_value_int32(env, value, result) == napi_ok) return true;
  throw_message(env, "EINVAL", "a number was expected");
  return false;
}

bool get_property(napi_env env, napi_value object, const char *name, napi_value *result) {
  napi_valuetype type;
  if (napi_get_named_property(env, object, name, result) != napi_ok) return false;
  napi_typeof(env, *result, &type);
  return type != napi_undefined && type != napi_null;
}

bool get_bool_property(napi_env env, napi_value object, const char *name, bool fallback) {
  napi_value value;
  bool result;
  if (!get_property(env, object, name, &value)) return fallback;
  return napi_get_value_bool(env, value, &result) == napi_ok ? result : fallback;
}

void set_int(napi_env env, napi_value object, const char *name, int64_t number) {
  napi_value value;
  napi_create_int64(env, number, &value);
  napi_set_named_property(env, object, name, value);
}

void set_string(napi_env env, napi_value object, const char *name, const char *text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, object, name, value);
}
