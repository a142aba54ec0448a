#include "CKernel.h"
#include <errno.h>
#include <netinet/in.h>
#include <linux/netfilter_ipv4.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/vfs.h>

enum { namespace_file_system = 0x6e736673 };

int weft_net_enter(int descriptor) { return setns(descriptor, CLONE_NEWNET) == 0 ? 0 : -errno; }

int weft_net_unshare(void) { return unshare(CLONE_NEWNET) == 0 ? 0 : -errno; }

int weft_net_keep(const char *path) {
    return mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) == 0 ? 0 : -errno;
}

int weft_net_make_private(const char *directory) {
    // Refused with EINVAL while the directory is not yet a mount.
    if (mount(NULL, directory, NULL, MS_PRIVATE, NULL) == 0) return 0;
    if (errno != EINVAL) return -errno;
    if (mount(directory, directory, NULL, MS_BIND, NULL) != 0) return -errno;
    return mount(NULL, directory, NULL, MS_PRIVATE, NULL) == 0 ? 0 : -errno;
}

int weft_net_unmount(const char *path) { return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ? 0 : -errno; }

int weft_net_is_namespace(const char *path) {
    struct statfs about;
    if (statfs(path, &about) != 0) return -errno;
    return about.f_type == namespace_file_system;
}

int weft_net_accept(int listener) {
    int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return connection >= 0 ? connection : -errno;
}

int weft_net_original_destination(int connection, uint32_t *address, uint16_t *port) {
    struct sockaddr_in destination;
    socklen_t size = sizeof destination;
    if (getsockopt(connection, SOL_IP, SO_ORIGINAL_DST, &destination, &size) != 0) return -errno;
    *address = destination.sin_addr.s_addr;
    *port = destination.sin_port;
    return 0;
}

int weft_net_become_file_user(uint32_t user) { return setfsuid(user); }

int weft_net_wake(void) {
    int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return wake >= 0 ? wake : -errno;
}

void weft_net_poke(int wake) { eventfd_write(wake, 1); }

int weft_net_private_descriptors(void) {
    return syscall(SYS_close_range, 3u, ~0u, 2u /* CLOSE_RANGE_UNSHARE */) == 0 ? 0 : -errno;
}
