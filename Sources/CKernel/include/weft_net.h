#pragma once
// Network namespaces and the kernel's numbers for netlink. Calls return 0 or more, or -errno.
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

/// Moves the calling thread, and only it, into the network namespace `descriptor` stands for.
int weft_net_enter(int descriptor);
/// Gives the calling thread a new, empty network namespace.
int weft_net_unshare(void);
/// Keeps the calling thread's network namespace alive as a mount on `path`, an existing file.
int weft_net_keep(const char *path);
/// Makes a directory a mount of its own that tells no other mount namespace what is mounted below. May be repeated.
int weft_net_make_private(const char *directory);
/// Detaches one mount from `path`; -EINVAL when nothing is mounted there.
int weft_net_unmount(const char *path);
/// 1 when `path` is a mounted namespace, 0 when it is an ordinary file.
int weft_net_is_namespace(const char *path);
/// accept4 with close-on-exec and non-blocking.
int weft_net_accept(int listener);
/// The destination a redirected IPv4 connection had, both in network byte order.
int weft_net_original_destination(int connection, uint32_t *address, uint16_t *port);
/// Sets who a socket opened next by this thread belongs to, as `meta skuid` sees it; returns who it was before.
int weft_net_become_file_user(uint32_t user);
/// A descriptor one thread waits on and another pokes.
int weft_net_wake(void);
void weft_net_poke(int wake);

/// Gives the calling thread a table of descriptors of its own, with 0 to 2 only. 0 or the negative errno.
int weft_net_private_descriptors(void);
