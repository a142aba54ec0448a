// What runs between clone and exec. The child shares the caller's memory until then, so it touches only its own stack,
// calls the kernel directly where glibc would signal the caller's threads (set*id), and allocates nothing.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "weft_process.h"

#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

struct launch {
  const struct weft_start *start;
  struct weft_fault *fault;
  int root;  // the new root, open, for lookups that cannot leave it
};

static int failed(struct launch *launch, int step, const char *subject) {
  launch->fault->error = errno;
  launch->fault->step = step;
  strncpy(launch->fault->subject, subject ? subject : "", sizeof launch->fault->subject - 1);
  return -1;
}

int weft_open_in(int root, const char *path, int flags, unsigned mode) {
  struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = RESOLVE_IN_ROOT};
  return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/// Opens a path in the root, making what is missing of it. Links in it cannot lead out: each lookup is bound to the root.
int weft_open_target(int root, const char *path, int is_file) {
  int found = weft_open_in(root, path, O_PATH, 0);
  if (found >= 0 || errno != ENOENT) return found;
  char part[4096];
  size_t length = strlen(path);
  if (length >= sizeof part) return errno = ENAMETOOLONG, -1;
  int parent = weft_open_in(root, "/", O_PATH | O_DIRECTORY, 0);
  for (size_t place = 0; parent >= 0 && place < length;) {
    while (place < length && path[place] == '/') place++;
    size_t end = place;
    while (end < length && path[end] != '/') end++;
    if (end == place) break;
    size_t after = end;
    while (after < length && path[after] == '/') after++;
    int is_last = after == length;
    memcpy(part, path, end);
    part[end] = 0;
    int next = weft_open_in(root, part, O_PATH, 0);
    if (next < 0 && errno == ENOENT) {
      if (is_last && is_file) {
        int made = openat(parent, part + place, O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC, 0644);
        if (made >= 0) fchmod(made, 0644), close(made);
      } else if (!mkdirat(parent, part + place, 0755)) {
        fchmodat(parent, part + place, 0755, 0);  // whatever the caller's umask
      }
      next = weft_open_in(root, part, O_PATH, 0);
    }
    int kept = errno;
    close(parent);
    errno = kept;
    parent = next;
    place = after;
  }
  return parent;
}

static int make_filesystem(const struct weft_mount *mount) {
  int context = fsopen(mount->type, FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  char options[256] = "";
  if (mount->options) strncpy(options, mount->options, sizeof options - 1);
  for (char *option = options; *option;) {
    char *end = strchrnul(option, ',');
    char *next = *end ? end + 1 : end;
    *end = 0;
    char *equals = strchr(option, '=');
    int result;
    if (equals) {
      *equals = 0;
      result = fsconfig(context, FSCONFIG_SET_STRING, option, equals + 1, 0);
    } else {
      result = fsconfig(context, FSCONFIG_SET_FLAG, option, NULL, 0);
    }
    if (result) goto wrong;
    option = next;
  }
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) goto wrong;
  int made = fsmount(context, FSMOUNT_CLOEXEC, (unsigned)mount->attributes);
  if (made < 0) goto wrong;
  close(context);
  return made;
wrong:;
  int kept = errno;
  close(context);
  errno = kept;
  return -1;
}

static int attach(int mount, int target) {
  return move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int enter_root(struct launch *launch) {
  const struct weft_start *start = launch->start;
  if (move_mount(start->root, "", AT_FDCWD, "/r", MOVE_MOUNT_F_EMPTY_PATH)) return failed(launch, WEFT_STEP_ROOT, "root");
  if (chdir("/r")) return failed(launch, WEFT_STEP_ROOT, "/r");
  if (syscall(SYS_pivot_root, ".", ".")) return failed(launch, WEFT_STEP_ROOT, "pivot_root");
  if (umount2(".", MNT_DETACH)) return failed(launch, WEFT_STEP_ROOT, "old root");
  if (chdir("/")) return failed(launch, WEFT_STEP_ROOT, "/");
  launch->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return launch->root < 0 ? failed(launch, WEFT_STEP_ROOT, "/") : 0;
}

static int make_devices(struct launch *launch);

static int mount_all(struct launch *launch) {
  const struct weft_start *start = launch->start;
  int has_devices = 0;
  for (size_t i = 0; i < start->mount_count; i++) {
    const struct weft_mount *mount = &start->mounts[i];
    // The file systems of the runtime come first; the caller's own mounts may lie inside /dev, so nodes come between.
    if (mount->fd >= 0 && !has_devices && start->makes_devices) {
      has_devices = 1;
      if (make_devices(launch)) return -1;
    }
    int tree = mount->fd >= 0 ? mount->fd : make_filesystem(mount);
    if (tree < 0) return failed(launch, WEFT_STEP_MOUNT, mount->target);
    int target = weft_open_target(launch->root, mount->target, mount->is_file);
    if (target < 0) return failed(launch, WEFT_STEP_MOUNT, mount->target);
    if (attach(tree, target)) return failed(launch, WEFT_STEP_MOUNT, mount->target);
    close(target);
    if (mount->fd < 0) close(tree);
  }
  if (!has_devices && start->makes_devices) return make_devices(launch);
  return 0;
}

static int make_devices(struct launch *launch) {
  static const struct {
    const char *name;
    unsigned major, minor;
  } nodes[] = {{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  static const char *const links[][2] = {
      {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
      {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
  };
  int directory = weft_open_in(launch->root, "/dev", O_PATH | O_DIRECTORY, 0);
  if (directory < 0) return failed(launch, WEFT_STEP_DEVICE, "/dev");
  for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
    if (mknodat(directory, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)))
      return failed(launch, WEFT_STEP_DEVICE, nodes[i].name);
    fchmodat(directory, nodes[i].name, 0666, 0);
  }
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlinkat(links[i][0], directory, links[i][1])) return failed(launch, WEFT_STEP_DEVICE, links[i][1]);
  close(directory);
  return 0;
}

static int mask_paths(struct launch *launch) {
  const struct weft_start *start = launch->start;
  struct mount_attr unwritable = {.attr_set = MOUNT_ATTR_RDONLY};
  for (const char *const *path = start->masked; path && *path; path++) {
    int target = weft_open_in(launch->root, *path, O_PATH, 0);
    if (target < 0) continue;  // what this kernel does not have needs no mask
    struct stat facts;
    if (fstat(target, &facts)) return failed(launch, WEFT_STEP_MASK, *path);
    int cover;
    if (S_ISDIR(facts.st_mode)) {
      struct weft_mount empty = {.type = "tmpfs", .options = "size=0,nr_inodes=2", .attributes = MOUNT_ATTR_RDONLY};
      cover = make_filesystem(&empty);
    } else {
      cover = open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    }
    if (cover < 0 || attach(cover, target)) return failed(launch, WEFT_STEP_MASK, *path);
    close(cover);
    close(target);
  }
  for (const char *const *path = start->read_only; path && *path; path++) {
    int target = weft_open_in(launch->root, *path, O_PATH, 0);
    if (target < 0) continue;
    int cover = open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (cover < 0 || mount_setattr(cover, "", AT_EMPTY_PATH | AT_RECURSIVE, &unwritable, sizeof unwritable) ||
        attach(cover, target))
      return failed(launch, WEFT_STEP_MASK, *path);
    close(cover);
    close(target);
  }
  if (start->has_read_only_root && mount_setattr(AT_FDCWD, "/", 0, &unwritable, sizeof unwritable))
    return failed(launch, WEFT_STEP_ROOT, "/");
  return 0;
}

static int write_oom_score(struct launch *launch) {
  char text[16];
  int length = snprintf(text, sizeof text, "%d", launch->start->oom_score);
  int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno == ENOENT ? 0 : failed(launch, WEFT_STEP_OOM_SCORE, "oom_score_adj");
  ssize_t wrote = write(file, text, (size_t)length);
  // Lowering it needs CAP_SYS_RESOURCE, which the machine's owner may have withheld: then the kernel's choice stands.
  int refused = wrote < 0 && errno != EACCES && errno != EPERM;
  if (refused) return failed(launch, WEFT_STEP_OOM_SCORE, "oom_score_adj");
  close(file);
  return 0;
}

/// A terminal of the container's own devpts; its master goes to the caller through a socket.
static int open_terminal(struct launch *launch, int descriptors[3]) {
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) return failed(launch, WEFT_STEP_TERMINAL, "/dev/ptmx");
  int locked = 0;
  if (ioctl(master, TIOCSPTLCK, &locked)) return failed(launch, WEFT_STEP_TERMINAL, "unlock");
  int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return failed(launch, WEFT_STEP_TERMINAL, "TIOCGPTPEER");
  if (ioctl(terminal, TIOCSCTTY, 0)) return failed(launch, WEFT_STEP_TERMINAL, "TIOCSCTTY");
  if (weft_send(launch->start->terminal_socket, "t", 1, &master, 1, 0) != 1)
    return failed(launch, WEFT_STEP_TERMINAL, "master");
  descriptors[0] = descriptors[1] = descriptors[2] = terminal;
  return 0;
}

static int place_descriptors(struct launch *launch) {
  const struct weft_start *start = launch->start;
  int terminal[3];
  const int *wanted = start->descriptors;
  int count = (int)start->descriptor_count;
  if (start->terminal_socket >= 0) {
    if (open_terminal(launch, terminal)) return -1;
    wanted = terminal;
    count = 3;
  }
  int high[64];
  if (count > 64) return errno = E2BIG, failed(launch, WEFT_STEP_DESCRIPTORS, "descriptors");
  for (int i = 0; i < count; i++) {
    high[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, 64 + count);
    if (high[i] < 0) return failed(launch, WEFT_STEP_DESCRIPTORS, "descriptors");
  }
  for (int i = 0; i < count; i++)
    if (dup2(high[i], i) < 0) return failed(launch, WEFT_STEP_DESCRIPTORS, "descriptors");
  if (close_range((unsigned)count, ~0U, CLOSE_RANGE_CLOEXEC)) return failed(launch, WEFT_STEP_DESCRIPTORS, "close_range");
  return 0;
}

static int become(struct launch *launch) {
  const struct weft_start *start = launch->start;
  for (unsigned capability = 0; capability < 64; capability++) {
    if (start->capabilities >> capability & 1) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) && errno != EINVAL)
      return failed(launch, WEFT_STEP_CAPABILITIES, "bounding set");
  }
  if (syscall(SYS_setgroups, start->group_count, start->groups)) return failed(launch, WEFT_STEP_IDENTITY, "groups");
  if (syscall(SYS_setresgid, start->group, start->group, start->group)) return failed(launch, WEFT_STEP_IDENTITY, "group");
  if (syscall(SYS_setresuid, start->user, start->user, start->user)) return failed(launch, WEFT_STEP_IDENTITY, "user");
  // Leaving root empties the other sets; as root they are cut to what was asked and what we hold ourselves.
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data)) return failed(launch, WEFT_STEP_CAPABILITIES, "capget");
  for (int half = 0; half < 2; half++) {
    uint32_t wanted = (uint32_t)(start->capabilities >> (32 * half));
    data[half].permitted &= wanted;
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data)) return failed(launch, WEFT_STEP_CAPABILITIES, "capset");
  return 0;
}

static int run(struct launch *launch) {
  const struct weft_start *start = launch->start;
  for (size_t i = 0; i < start->cgroup_count; i++)
    if (write(start->cgroups[i], "0", 1) != 1) return failed(launch, WEFT_STEP_CGROUP, "cgroup.procs");
  if (start->network >= 0 && setns(start->network, CLONE_NEWNET)) return failed(launch, WEFT_STEP_NAMESPACE, "network");
  if (start->joined >= 0 && setns(start->joined, CLONE_NEWNS)) return failed(launch, WEFT_STEP_NAMESPACE, "mount");
  if (start->namespaces & CLONE_NEWNS && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL))
    return failed(launch, WEFT_STEP_NAMESPACE, "private mounts");
  setsid();
  // A session keyring of its own; a kernel without keyrings has none to share.
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
  if (start->hostname && sethostname(start->hostname, strlen(start->hostname)))
    return failed(launch, WEFT_STEP_HOSTNAME, start->hostname);
  if (start->root >= 0) {
    if (enter_root(launch) || mount_all(launch)) return -1;
    if (start->sets_oom_score && write_oom_score(launch)) return -1;
    if (mask_paths(launch)) return -1;  // after the score: /proc becomes partly read-only
  } else if (start->sets_oom_score && write_oom_score(launch)) {
    return -1;
  }
  if (place_descriptors(launch)) return -1;
  if (start->directory) {
    if (start->root >= 0) {
      int made = weft_open_target(launch->root, start->directory, 0);
      if (made >= 0) close(made);
    }
    if (chdir(start->directory)) return failed(launch, WEFT_STEP_DIRECTORY, start->directory);
  }
  umask(022);
  if (start->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return failed(launch, WEFT_STEP_CAPABILITIES, "no_new_privs");
  if (start->sets_identity && become(launch)) return -1;

  struct sigaction normal = {.sa_handler = SIG_DFL};
  for (int signal = 1; signal < 65; signal++) sigaction(signal, &normal, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);

  int remembered = ENOENT;
  for (const char *const *path = start->paths; *path; path++) {
    execve(*path, start->arguments, start->environment);
    // As a shell does: what is found but cannot run is a better reason than "not found" further on.
    if (errno != ENOENT && errno != ENOTDIR) remembered = errno;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
  }
  errno = remembered;
  return failed(launch, WEFT_STEP_EXEC, start->arguments[0]);
}

static int child(void *launch) {
  run(launch);
  _exit(127);
}

enum { stack_size = 128 << 10 };

pid_t weft_start(const struct weft_start *start, int *pidfd, struct weft_fault *fault) {
  memset(fault, 0, sizeof *fault);
  *pidfd = -1;
  struct launch launch = {.start = start, .fault = fault, .root = -1};
  char *stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return failed(&launch, WEFT_STEP_CLONE, "stack");
  sigset_t all, before;
  sigfillset(&all);
  // A handler of ours that ran in the child would run on memory it shares with us.
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int flags = (int)start->namespaces | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
  pid_t pid = clone(child, stack + stack_size, flags, &launch, pidfd);
  if (pid < 0) failed(&launch, WEFT_STEP_CLONE, "process");
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  munmap(stack, stack_size);
  if (pid > 0 && fault->step != WEFT_STEP_NONE) {
    int kept = fault->error;
    waitpid(pid, NULL, 0);
    if (*pidfd >= 0) close(*pidfd);
    *pidfd = -1;
    errno = kept;
    return -1;
  }
  return pid;
}
