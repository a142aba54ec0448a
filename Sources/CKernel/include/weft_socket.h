// Sockets, epoll and clocks as the loops use them. Calls that can fail return -errno, so that no caller reads errno too late.
// No system header is included here: their types would belong to this module then.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    WEFT_POLL_READ = 0x1,
    WEFT_POLL_WRITE = 0x4,
    WEFT_POLL_HANGUP = 0x2018,  // the peer ended its side, both sides, or broke
    WEFT_EVENT_SIZE = 16,
};

uint64_t weft_monotonic_nanoseconds(void);
int64_t weft_wall_milliseconds(void);
int weft_poll_create(void);
// Both directions, edge-triggered, registered once: no epoll_ctl a request.
int weft_poll_add(int poll, int fd, uint64_t key);
// Readable, level-triggered; one of several loops on the same descriptor wakes.
int weft_poll_add_listener(int poll, int fd, uint64_t key);
int weft_poll_add_readable(int poll, int fd, uint64_t key);
int weft_poll_remove(int poll, int fd);
int weft_poll_wait(int poll, void *into, int count, int milliseconds);
// The same with a finer clock, and the calling thread's timers as exact as the kernel can.
int weft_poll_wait_nanoseconds(int poll, void *into, int count, uint64_t nanoseconds);
void weft_precise_timers(void);
uint64_t weft_event_key(const void *events, long i);
uint32_t weft_event_mask(const void *events, long i);
int weft_eventfd(void);
void weft_no_delay(int fd);
// Starts a connection; the outcome comes as writability and weft_socket_error.
int weft_connect_ipv4(uint32_t address, uint16_t port);
int weft_listen_ipv4(uint32_t address, uint16_t port, int share, int backlog);
// 0 when a listener that shares could have the place now, without opening one.
int weft_try_ipv4(uint32_t address, uint16_t port);
int weft_udp_ipv4(uint32_t address, uint16_t port);
long weft_receive_from(int fd, void *into, size_t count, uint32_t *address, uint16_t *port);
long weft_send_to(int fd, const void *from, size_t count, uint32_t address, uint16_t port);
int weft_tcp_accept(int listener, uint32_t *address, uint16_t *port);
// Where the client wanted to go before a redirect rule sent it here (SO_ORIGINAL_DST, 80); -ENOENT if nothing redirected it.
int weft_original_destination(int fd, uint32_t *address, uint16_t *port);
int weft_local_address(int fd, uint32_t *address, uint16_t *port);
int weft_socket_error(int fd);
long weft_tcp_receive(int fd, void *into, size_t count);
long weft_peek(int fd, void *into, size_t count);
long weft_tcp_send(int fd, const void *from, size_t count);
void weft_shutdown_write(int fd);
// A pipe for splice, close-on-exec and non-blocking, of up to 1 MB; 0 or -errno.
int weft_splice_pipe(int ends[2]);
// Moves up to `count` bytes between a socket and a pipe without blocking: how many, 0 at the end, or -errno.
long weft_splice(int from, int into, size_t count);
// Closing then sends a reset instead of waiting for what is unsent.
void weft_keep_alive(int fd, int seconds, int interval, int probes);
void weft_reset_on_close(int fd);
// Blocking connection to a Unix socket; -errno.
int weft_connect_unix(const char *path);
// Names the calling thread, up to 15 bytes.
void weft_name_thread(const char *name);
