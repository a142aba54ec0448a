#include "weft_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

_Static_assert((int)WEFT_POLL_READ == (int)EPOLLIN && (int)WEFT_POLL_WRITE == (int)EPOLLOUT, "epoll's bits");
_Static_assert((int)WEFT_POLL_HANGUP == (int)(EPOLLRDHUP | EPOLLHUP | EPOLLERR), "epoll's bits");
_Static_assert(sizeof(struct epoll_event) <= WEFT_EVENT_SIZE, "epoll's event");

uint64_t weft_monotonic_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

int64_t weft_wall_milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// epoll ----------------------------------------------------------------------------------------------------------------

int weft_poll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int weft_poll_add_events(int poll, int fd, uint32_t events, uint64_t key) {
    struct epoll_event e = {.events = events};
    e.data.u64 = key;
    return epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}
// Both directions, edge-triggered, registered once: no epoll_ctl a request.
int weft_poll_add(int poll, int fd, uint64_t key) {
    return weft_poll_add_events(poll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, key);
}
// Readable, level-triggered; one of several loops on the same descriptor wakes.
int weft_poll_add_listener(int poll, int fd, uint64_t key) {
    return weft_poll_add_events(poll, fd, EPOLLIN | EPOLLEXCLUSIVE, key);
}
int weft_poll_add_readable(int poll, int fd, uint64_t key) { return weft_poll_add_events(poll, fd, EPOLLIN, key); }
int weft_poll_remove(int poll, int fd) { return epoll_ctl(poll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0; }
int weft_poll_wait(int poll, void *into, int count, int milliseconds) {
    int r = epoll_wait(poll, into, count, milliseconds);
    return r < 0 ? -errno : r;
}
int weft_poll_wait_nanoseconds(int poll, void *into, int count, uint64_t nanoseconds) {
    struct timespec limit = {.tv_sec = (time_t)(nanoseconds / 1000000000u), .tv_nsec = (long)(nanoseconds % 1000000000u)};
    int r = epoll_pwait2(poll, into, count, &limit, NULL);
    return r < 0 ? -errno : r;
}
void weft_precise_timers(void) { prctl(PR_SET_TIMERSLACK, 1); }
uint64_t weft_event_key(const void *events, long i) { return ((const struct epoll_event *)events)[i].data.u64; }
uint32_t weft_event_mask(const void *events, long i) { return ((const struct epoll_event *)events)[i].events; }

int weft_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

// TCP over IPv4. Addresses and ports are in host order. -----------------------------------------------------------------

static struct sockaddr_in weft_ipv4(uint32_t address, uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(address);
    return a;
}
void weft_no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}
// Starts a connection; the outcome comes as writability and weft_socket_error.
int weft_connect_ipv4(uint32_t address, uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    weft_no_delay(fd);
    struct sockaddr_in a = weft_ipv4(address, port);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}
int weft_listen_ipv4(uint32_t address, uint16_t port, int share, int backlog) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (share) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    struct sockaddr_in a = weft_ipv4(address, port);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, backlog) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}
int weft_try_ipv4(uint32_t address, uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    struct sockaddr_in a = weft_ipv4(address, port);
    int code = bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : 0;
    close(fd);
    return code;
}
int weft_udp_ipv4(uint32_t address, uint16_t port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = weft_ipv4(address, port);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}
long weft_receive_from(int fd, void *into, size_t count, uint32_t *address, uint16_t *port) {
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    long r = recvfrom(fd, into, count, 0, (struct sockaddr *)&a, &length);
    if (r < 0) return -(long)errno;
    *address = ntohl(a.sin_addr.s_addr);
    *port = ntohs(a.sin_port);
    return r;
}
long weft_send_to(int fd, const void *from, size_t count, uint32_t address, uint16_t port) {
    struct sockaddr_in a = weft_ipv4(address, port);
    long r = sendto(fd, from, count, MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof a);
    return r < 0 ? -(long)errno : r;
}
int weft_tcp_accept(int listener, uint32_t *address, uint16_t *port) {
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    int fd = accept4(listener, (struct sockaddr *)&a, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    weft_no_delay(fd);
    *address = a.sin_family == AF_INET ? ntohl(a.sin_addr.s_addr) : 0;
    *port = a.sin_family == AF_INET ? ntohs(a.sin_port) : 0;
    return fd;
}
// Where the client wanted to go before a redirect rule sent it here (SO_ORIGINAL_DST, 80); -ENOENT if nothing redirected it.
int weft_original_destination(int fd, uint32_t *address, uint16_t *port) {
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    if (getsockopt(fd, IPPROTO_IP, 80, &a, &length) < 0) return -errno;
    *address = ntohl(a.sin_addr.s_addr);
    *port = ntohs(a.sin_port);
    return 0;
}
int weft_local_address(int fd, uint32_t *address, uint16_t *port) {
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &length) < 0) return -errno;
    *address = ntohl(a.sin_addr.s_addr);
    *port = ntohs(a.sin_port);
    return 0;
}
int weft_socket_error(int fd) {
    int code = 0;
    socklen_t length = sizeof code;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length);
    return code;
}
long weft_tcp_receive(int fd, void *into, size_t count) {
    long r = recv(fd, into, count, 0);
    return r < 0 ? -(long)errno : r;
}
long weft_peek(int fd, void *into, size_t count) {
    long r = recv(fd, into, count, MSG_PEEK);
    return r < 0 ? -(long)errno : r;
}
long weft_tcp_send(int fd, const void *from, size_t count) {
    long r = send(fd, from, count, MSG_NOSIGNAL);
    return r < 0 ? -(long)errno : r;
}
int weft_splice_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
    // Without the right to it the pipe stays small, and works.
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    return 0;
}
long weft_splice(int from, int into, size_t count) {
    long moved;
    do moved = splice(from, NULL, into, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (moved < 0 && errno == EINTR);
    return moved < 0 ? -errno : moved;
}
void weft_shutdown_write(int fd) { shutdown(fd, SHUT_WR); }
// Closing then sends a reset instead of waiting for what is unsent.
// Asks a silent peer whether it is still there; 0 leaves the machine's own number.
void weft_keep_alive(int fd, int seconds, int interval, int probes) {
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (seconds > 0) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    if (interval > 0) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    if (probes > 0) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}
void weft_reset_on_close(int fd) {
    struct linger l = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}
// Blocking connection to a Unix socket; -errno.
int weft_connect_unix(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) return -ENAMETOOLONG;
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int code = errno;
        close(fd);
        return -code;
    }
    return fd;
}

void weft_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
