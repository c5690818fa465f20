// Mapped memory as ArrayBuffers: shared by a descriptor, and private pages for the arena.
#include "tapir.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// A huge page is filled by the first word that is written there: not for tables so large that most may never be used.
#define LARGEST_HUGE_BYTES (1u << 30)

struct mapping {
  void *address;
  size_t length;
};

static void unmap(napi_env env, void *data, void *hint) {
  (void)env, (void)data;
  struct mapping *mapping = hint;
  munmap(mapping->address, mapping->length);
  free(mapping);
}

static napi_value wrap(napi_env env, const char *operation, void *address, size_t mapped, void *data, size_t length) {
  struct mapping *mapping = malloc(sizeof *mapping);
  if (mapping == NULL) {
    munmap(address, mapped);
    return throw_errno(env, ENOMEM, operation, NULL, "malloc");
  }
  mapping->address = address;
  mapping->length = mapped;
  napi_value buffer;
  if (napi_create_external_arraybuffer(env, data, length, unmap, mapping, &buffer) != napi_ok) {
    munmap(address, mapped);
    free(mapping);
    return throw_errno(env, ENOMEM, operation, NULL, "napi_create_external_arraybuffer");
  }
  return buffer;
}

static bool get_length(napi_env env, napi_value value, size_t *length) {
  int64_t number = 0;
  if (napi_get_value_int64(env, value, &number) != napi_ok || number <= 0) {
    throw_message(env, "EINVAL", "a positive number of bytes was expected");
    return false;
  }
  *length = (size_t)number;
  return true;
}

static bool suits_huge_pages(size_t length) {
  return length >= HUGE_PAGE_BYTES && length <= LARGEST_HUGE_BYTES;
}

static napi_value map_shared(napi_env env, const char *operation, int fd, size_t length) {
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return throw_errno(env, errno, operation, NULL, "mmap");
  // Fewer TLB misses in large tables; where the kernel has no huge pages for this memory nothing is lost.
  if (suits_huge_pages(length)) madvise(address, length, MADV_HUGEPAGE);
  return wrap(env, operation, address, length, address, length);
}

// createMemory(name, lengthBytes): { fd, memory }
napi_value memory_create(napi_env env, napi_callback_info info) {
  napi_value args[2];
  size_t argc = 2, length;
  char name[64];
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_string(env, args[0], name, sizeof name) || !get_length(env, args[1], &length)) return NULL;
  int fd = suits_huge_pages(length) ? create_huge_file(length) : -1;
  if (fd < 0) fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0) return throw_errno(env, errno, "createMemory", name, "memfd_create");
  // A confined dataplane may not call ftruncate (syscalls.c).
  if (pwrite(fd, "", 1, (off_t)length - 1) != 1) {
    int error = errno;
    close(fd);
    return throw_errno(env, error, "createMemory", name, "pwrite");
  }
  napi_value memory = map_shared(env, "createMemory", fd, length);
  if (memory == NULL) {
    close(fd);
    return NULL;
  }
  napi_value result;
  napi_create_object(env, &result);
  set_int(env, result, "fd", fd);
  napi_set_named_property(env, result, "memory", memory);
  return result;
}

// mapMemory(fd): ArrayBuffer
napi_value memory_map(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1;
  int fd;
  struct stat status;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_int(env, args[0], &fd)) return NULL;
  if (fstat(fd, &status) != 0) return throw_errno(env, errno, "mapMemory", NULL, "fstat");
  if (status.st_size <= 0) return throw_message(env, "EINVAL", "mapMemory: the memory is empty");
  return map_shared(env, "mapMemory", fd, (size_t)status.st_size);
}

// allocateMemory(lengthBytes): ArrayBuffer, on huge pages where there are any.
napi_value memory_allocate(napi_env env, napi_callback_info info) {
  napi_value args[1];
  size_t argc = 1, length;
  napi_get_cb_info(env, info, &argc, args, NULL, NULL);
  if (!get_length(env, args[0], &length)) return NULL;
  size_t mapped = length + HUGE_PAGE_BYTES;
  char *address = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return throw_errno(env, errno, "allocateMemory", NULL, "mmap");
  char *aligned = (char *)(((uintptr_t)address + HUGE_PAGE_BYTES - 1) & ~(uintptr_t)(HUGE_PAGE_BYTES - 1));
  madvise(aligned, length, MADV_HUGEPAGE);
  return wrap(env, "allocateMemory", address, mapped, aligned, length);
}
