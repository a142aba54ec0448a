// Calls of the supervisor and of those who talk with it.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <stdio.h>

#include "weft_process.h"

enum { most_descriptors = 250 };  // the kernel takes 253 in one message

ssize_t weft_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count, int flags) {
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int) * most_descriptors)];
  if (descriptor_count > most_descriptors) return errno = E2BIG, -1;
  if (descriptor_count) {
    message.msg_control = space;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
    memcpy(CMSG_DATA(control), descriptors, sizeof(int) * descriptor_count);
  }
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
  while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t weft_receive(int socket, void *bytes, size_t size, int *descriptors, size_t *descriptor_count, int flags) {
  struct iovec part = {.iov_base = bytes, .iov_len = size};
  _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int) * most_descriptors)];
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  size_t room = *descriptor_count, count = 0;
  *descriptor_count = 0;
  ssize_t got;
  do got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  while (got < 0 && errno == EINTR);
  if (got < 0) return got;
  int dropped = message.msg_flags & MSG_CTRUNC;
  for (struct cmsghdr *control = CMSG_FIRSTHDR(&message); control; control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    size_t arrived = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < arrived; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof fd);
      if (count < room) {
        descriptors[count++] = fd;
      } else {
        close(fd);
        dropped = 1;
      }
    }
  }
  if (dropped) {
    while (count) close(descriptors[--count]);
    return errno = EMSGSIZE, -1;
  }
  *descriptor_count = count;
  return got;
}

int weft_errno(void) { return errno; }
int weft_setns(int fd, int flags) { return setns(fd, flags); }
int weft_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
int weft_pidfd_signal(int pidfd, int signal) { return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

pid_t weft_reap(int *code, int *signal) {
  int status;
  pid_t pid;
  do pid = waitpid(-1, &status, WNOHANG | __WALL);
  while (pid < 0 && errno == EINTR);
  if (pid <= 0) return pid;
  *signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + *signal;
  return pid;
}

int weft_reap_pidfd(int pidfd) {
  siginfo_t facts = {0};
  int failed;
  do failed = waitid(P_PIDFD, (id_t)pidfd, &facts, WEXITED | WNOHANG);
  while (failed && errno == EINTR);
  if (failed) return -1;
  return facts.si_pid != 0;
}

int weft_signals(void) {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  signal(SIGPIPE, SIG_IGN);
  if (sigprocmask(SIG_BLOCK, &watched, NULL)) return -1;
  return signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int64_t clock_value(clockid_t clock, int64_t per_second) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * per_second + now.tv_nsec / (1000000000 / per_second);
}
int64_t weft_wall_nanoseconds(void) { return clock_value(CLOCK_REALTIME, 1000000000); }
int64_t weft_steady_milliseconds(void) { return clock_value(CLOCK_MONOTONIC, 1000); }

int weft_accept(int socket) { return accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }
int weft_open_at(int directory, const char *name, int flags, unsigned mode) {
  return openat(directory, name, flags | O_CLOEXEC, mode);
}
int weft_rename_at(int directory, const char *from, const char *to) { return renameat(directory, from, directory, to); }
int weft_unlink_at(int directory, const char *name) { return unlinkat(directory, name, 0); }

int weft_blocking_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int weft_log_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC)) return -1;
  return weft_do_not_wait(ends[0]);
}

int weft_do_not_wait(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int weft_is_readable(int fd) {
  struct pollfd one = {.fd = fd, .events = POLLIN};
  return poll(&one, 1, 0) > 0;
}
int weft_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }

static int local_address(struct sockaddr_un *address, int directory, const char *name) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  int length = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", directory, name);
  if (length < (int)sizeof address->sun_path) return 0;
  errno = ENAMETOOLONG;
  return -1;
}

static int keep_or_close(int failed, int socket) {
  if (!failed) return socket;
  int kept = errno;
  close(socket);
  errno = kept;
  return -1;
}

int weft_listen_at(int directory, const char *name, int backlog) {
  struct sockaddr_un address;
  if (local_address(&address, directory, name)) return -1;
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (server < 0) return -1;
  return keep_or_close(bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, backlog), server);
}

int weft_connect_at(int directory, const char *name) {
  struct sockaddr_un address;
  if (local_address(&address, directory, name)) return -1;
  int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client < 0) return -1;
  return keep_or_close(connect(client, (struct sockaddr *)&address, sizeof address), client);
}

int weft_set_receive_timeout(int socket, int seconds) {
  struct timeval time = {.tv_sec = seconds};
  return setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

int weft_socket_pair(int ends[2]) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends); }

int weft_wait_ended(int pidfd, int milliseconds) {
  struct pollfd one = {.fd = pidfd, .events = POLLIN};
  return poll(&one, 1, milliseconds) > 0;
}

int weft_set_window(int terminal, int width, int height) {
  struct winsize size = {.ws_col = (unsigned short)width, .ws_row = (unsigned short)height};
  return ioctl(terminal, TIOCSWINSZ, &size);
}

int weft_listen_tcp(const char *text, int port) {
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  int is_four = inet_pton(AF_INET, text, &four.sin_addr) == 1;
  if (!is_four && inet_pton(AF_INET6, text, &six.sin6_addr) != 1) return errno = EINVAL, -1;
  struct sockaddr *address = is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six;
  socklen_t size = is_four ? sizeof four : sizeof six;
  int server = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0) return -1;
  int on = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return keep_or_close(bind(server, address, size) || listen(server, 1024), server);
}

int weft_shut_down(int socket) { return shutdown(socket, SHUT_RDWR); }
