// Mounts made as descriptors, attached later in another mount namespace.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "weft_process.h"

static int close_keeping_errno(int fd) {
  int kept = errno;
  if (fd >= 0) close(fd);
  errno = kept;
  return -1;
}

static int cut_loose(int tree, uint64_t attributes) {
  struct mount_attr change = {.attr_set = attributes, .propagation = MS_PRIVATE};
  if (mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &change, sizeof change)) return close_keeping_errno(tree);
  return tree;
}

int weft_clone_tree(const char *path, int is_read_only) {
  int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) return -1;
  return cut_loose(tree, is_read_only ? MOUNT_ATTR_RDONLY : 0);
}

int weft_clone_mount(const char *path) {
  return open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

/// Before Linux 6.5 a lower layer is one option with all paths, too long for fsconfig: mount it, take a copy, unmount.
static int overlay_by_mount(const char *const *lower, const char *upper, const char *work, const char *scratch) {
  size_t size = strlen(upper) + strlen(work) + 64;
  for (const char *const *path = lower; *path; path++) size += strlen(*path) + 1;
  char *options = malloc(size);
  if (!options) return -1;
  char *end = options + sprintf(options, "upperdir=%s,workdir=%s,lowerdir=", upper, work);
  for (const char *const *path = lower; *path; path++) end += sprintf(end, "%s%s", path == lower ? "" : ":", *path);
  int failed = mount("overlay", scratch, "overlay", 0, options);
  int kept = errno;
  free(options);
  errno = kept;
  if (failed) return -1;
  int tree = open_tree(AT_FDCWD, scratch, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  kept = errno;
  umount2(scratch, MNT_DETACH);
  errno = kept;
  return tree < 0 ? -1 : cut_loose(tree, 0);
}

int weft_overlay(const char *const *lower, const char *upper, const char *work, const char *scratch) {
  int context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  for (const char *const *path = lower; *path; path++) {
    if (!fsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", *path, 0)) continue;
    if (errno != EINVAL) return close_keeping_errno(context);
    close(context);
    return overlay_by_mount(lower, upper, work, scratch);
  }
  if (fsconfig(context, FSCONFIG_SET_STRING, "upperdir", upper, 0) ||
      fsconfig(context, FSCONFIG_SET_STRING, "workdir", work, 0) ||
      fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
    return close_keeping_errno(context);
  int tree = fsmount(context, FSMOUNT_CLOEXEC, 0);
  close_keeping_errno(context);
  return tree;
}

int weft_enter_empty_root(void) {
  // A process on its way into a container shares our memory until it executes. Nobody there may open it through /proc,
  // nor the program file it comes from.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return -1;
  if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL)) return -1;
  // Any directory serves as a place to put the new root; /proc exists wherever a supervisor can be started.
  if (mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k")) return -1;
  if (chdir("/proc") || mkdir("r", 0755) || mkdir("shm", 0755)) return -1;
  if (mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k")) return -1;
  if (syscall(SYS_pivot_root, ".", ".")) return -1;
  if (umount2(".", MNT_DETACH)) return -1;
  return chdir("/");
}

int weft_locate(int root, const char *path) { return weft_open_in(root, path, O_PATH | O_NOFOLLOW, 0); }

int weft_set_attribute(int fd, const char *name, const void *value, size_t size) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return setxattr(path, name, value, size, 0);
}
