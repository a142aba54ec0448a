import CKernel
import Glibc
package import Kernel

/// One epoll instance and the events of its last wait. Keys are the owner's: slab index and generation.
package struct Poller: ~Copyable {
    private let descriptor: CInt
    private let events: UnsafeMutableRawPointer
    private static let batch = 512

    package init() throws(SystemCallFailed) {
        descriptor = weft_poll_create()
        guard descriptor >= 0 else { throw SystemCallFailed("epoll_create1", code: errno, on: "a loop") }
        events = .allocate(byteCount: Self.batch * Int(WEFT_EVENT_SIZE), alignment: 16)
    }

    deinit {
        close(descriptor)
        events.deallocate()
    }

    /// Both directions, edge-triggered, once and for all. Returns false when the kernel has no room for it.
    package func add(_ fd: CInt, key: UInt64) -> Bool { weft_poll_add(descriptor, fd, key) == 0 }

    /// A listener shared by several loops, level-triggered so that a bounded number of accepts loses none.
    package func addListener(_ fd: CInt, key: UInt64) -> Bool { weft_poll_add_listener(descriptor, fd, key) == 0 }

    /// Level-triggered readability, for eventfds.
    package func addReadable(_ fd: CInt, key: UInt64) -> Bool { weft_poll_add_readable(descriptor, fd, key) == 0 }

    package func remove(_ fd: CInt) { _ = weft_poll_remove(descriptor, fd) }

    /// Waits and tells how many events came; an interrupted wait is none.
    package func wait(milliseconds: CInt) -> Int {
        max(0, Int(weft_poll_wait(descriptor, events, CInt(Self.batch), milliseconds)))
    }

    package func key(_ index: Int) -> UInt64 { weft_event_key(events, index) }
    package func mask(_ index: Int) -> UInt32 { weft_event_mask(events, index) }
}
