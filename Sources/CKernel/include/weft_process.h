// Starting processes in namespaces, and the calls the supervisor (which has no Glibc module) makes.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Where a start failed. The numbers travel in messages: append only.
enum weft_step {
  WEFT_STEP_NONE = 0,
  WEFT_STEP_CLONE = 1,
  WEFT_STEP_CGROUP = 2,
  WEFT_STEP_NAMESPACE = 3,
  WEFT_STEP_ROOT = 4,
  WEFT_STEP_MOUNT = 5,
  WEFT_STEP_DEVICE = 6,
  WEFT_STEP_MASK = 7,
  WEFT_STEP_HOSTNAME = 8,
  WEFT_STEP_OOM_SCORE = 9,
  WEFT_STEP_TERMINAL = 10,
  WEFT_STEP_DESCRIPTORS = 11,
  WEFT_STEP_DIRECTORY = 12,
  WEFT_STEP_IDENTITY = 13,
  WEFT_STEP_CAPABILITIES = 14,
  WEFT_STEP_EXEC = 15,
};

/// The kernel's CLONE_NEW* flags under names Swift can see whatever it imports.
static const uint64_t weft_new_mounts = 0x00020000, weft_new_hostname = 0x04000000, weft_new_ipc = 0x08000000,
                      weft_new_processes = 0x20000000, weft_new_network = 0x40000000;
/// MOUNT_ATTR_*.
static const uint64_t weft_mount_read_only = 1, weft_mount_no_suid = 2, weft_mount_no_devices = 4, weft_mount_no_exec = 8;

struct weft_mount {
  int fd;               // a detached mount; -1: make one of `type`
  const char *type;     // proc, tmpfs, …
  const char *options;  // key=value,flag; at most 255 bytes
  const char *target;   // in the new root, made if absent
  uint64_t attributes;  // MOUNT_ATTR_*
  int is_file;
};

/// All a child needs, prepared before the clone: the child allocates nothing.
struct weft_start {
  uint64_t namespaces;  // CLONE_NEW*
  int network;          // a namespace to enter, or -1
  int joined;           // pidfd of a process whose mount namespace to enter, or -1
  const int *cgroups;   // open cgroup.procs files
  size_t cgroup_count;
  int root;  // a detached mount that becomes the root, or -1
  const struct weft_mount *mounts;
  size_t mount_count;
  const char *const *masked;     // ends with NULL, as the lists below
  const char *const *read_only;
  int makes_devices;
  int has_read_only_root;
  const char *hostname;  // or NULL
  int sets_oom_score;
  int oom_score;
  const char *directory;  // or NULL
  uint32_t user, group;
  const uint32_t *groups;
  size_t group_count;
  int sets_identity;  // user, groups and capabilities below
  uint64_t capabilities;
  int no_new_privileges;
  int terminal_socket;     // where to send the master of a new terminal, or -1
  const int *descriptors;  // become 0, 1, 2, …
  size_t descriptor_count;
  const char *const *paths;  // tried in order
  char *const *arguments;
  char *const *environment;
};

struct weft_fault {
  int step;
  int error;
  char subject[256];
};

/// Starts a process; returns its pid, or -1 with `fault` filled. Blocks until the child has executed its program or failed.
int weft_start(const struct weft_start *start, int *pidfd, struct weft_fault *fault);

/// Mounts that are attached nowhere yet: a descriptor, or -1 with errno.
int weft_overlay(const char *const *lower, const char *upper, const char *work, const char *scratch);
int weft_clone_tree(const char *path, int is_read_only);

/// Leaves everything mounted so far for an empty root with an empty `/r` and a shared-memory file system on `/shm`.
int weft_enter_empty_root(void);
/// A detached copy of the mount at a path of the caller's own, private and as it is.
int weft_clone_mount(const char *path);

/// `openat2` bound to a root directory: no link in the path leads out of it.
int weft_open_in(int root, const char *path, int flags, unsigned mode);
/// A reference (O_PATH) to what stands at a path of the root; a last link is not followed.
int weft_locate(int root, const char *path);
/// Sets an extended attribute through any descriptor, O_PATH too.
int weft_set_attribute(int fd, const char *name, const void *value, size_t size);
/// The same as `weft_open_in` for a path whose missing directories (and, with `is_file`, last name) are made; an O_PATH descriptor.
int weft_open_target(int root, const char *path, int is_file);

/// Sends bytes with descriptors. Returns the count sent, or -1. Never raises SIGPIPE.
long weft_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count, int flags);
/// Receives bytes and the descriptors that come with them (close-on-exec); too many descriptors give EMSGSIZE.
long weft_receive(int socket, void *space, size_t size, int *descriptors, size_t *descriptor_count, int flags);

int weft_errno(void);
int weft_setns(int fd, int flags);
int weft_pidfd_open(int pid);
int weft_pidfd_signal(int pidfd, int signal);
/// The next child that ended: its pid with code and signal, 0 when there is none now, -1 when there are no children.
int weft_reap(int *code, int *signal);
/// Waits for one child by pidfd, not blocking: 1 when it was reaped, 0 when it still runs, -1 on error.
int weft_reap_pidfd(int pidfd);
/// A descriptor that reads when SIGCHLD or SIGTERM comes; blocks both and ignores SIGPIPE.
int weft_signals(void);
int64_t weft_wall_nanoseconds(void);
int64_t weft_steady_milliseconds(void);
int weft_accept(int socket);
int weft_open_at(int directory, const char *name, int flags, unsigned mode);
int weft_rename_at(int directory, const char *from, const char *to);
int weft_unlink_at(int directory, const char *name);
/// A pipe, close-on-exec; the read end does not block.
int weft_log_pipe(int ends[2]);
int weft_blocking_pipe(int ends[2]);
/// Makes reads and writes of what the descriptor stands for return at once; all its copies with it.
int weft_do_not_wait(int fd);
/// 1 when a read would not block (data or end), 0 when it would.
int weft_is_readable(int fd);
int weft_duplicate(int fd);
/// Stream sockets on a path of any length: it is reached through its open directory. -1 with errno.
int weft_listen_at(int directory, const char *name, int backlog);
int weft_connect_at(int directory, const char *name);
/// A receive that gives up after a while fails with EAGAIN.
int weft_set_receive_timeout(int socket, int seconds);
int weft_socket_pair(int ends[2]);
/// Waits until a pidfd's process has ended: 1, or 0 after `milliseconds`.
int weft_wait_ended(int pidfd, int milliseconds);
int weft_set_window(int terminal, int width, int height);
/// A listening TCP socket on a literal address, SO_REUSEADDR; -1 with errno.
int weft_listen_tcp(const char *address, int port);
int weft_shut_down(int socket);
