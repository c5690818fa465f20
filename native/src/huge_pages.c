// Shared memory that the kernel may put on huge pages. A memfd gets them only where the whole host says so
// (/sys/kernel/mm/transparent_hugepage/shmem_enabled, "never" as it comes); a file system of our own says so itself. This one
// is mounted nowhere, and goes with the last descriptor and mapping of its one file, which has no name.
#include "tapir.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_option(int context, const char *key, const char *value) {
  return (int)syscall(__NR_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
}

// A tmpfs for `length` bytes; -1 where this process may not have one, or the kernel has no huge pages.
static int make_file_system(size_t length) {
  char size[32];
  int mount = -1;
  int context = (int)syscall(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  snprintf(size, sizeof size, "%zu", length);
  bool made = set_option(context, "huge", "advise") == 0 && set_option(context, "size", size) == 0 &&
              syscall(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0;
  if (made) {
    const unsigned attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID;
    mount = (int)syscall(__NR_fsmount, context, FSMOUNT_CLOEXEC, attributes);
  }
  close(context);
  return mount;
}

int create_huge_file(size_t length) {
  size_t whole = (length + HUGE_PAGE_BYTES - 1) & ~(size_t)(HUGE_PAGE_BYTES - 1);
  if (whole < length) return -1;
  int mount = make_file_system(whole);
  if (mount < 0) return -1;
  int fd = openat(mount, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  close(mount);
  return fd;
}
