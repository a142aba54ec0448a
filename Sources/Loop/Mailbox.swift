import CKernel
import Glibc
import Synchronization

/// How other threads reach a loop: messages under a lock, and an eventfd in the loop's poller. The only lock a loop takes.
package final class Mailbox<Message: Sendable>: Sendable {
    private let waiting = Mutex<[Message]>([])
    /// Readable while messages wait.
    package let descriptor: CInt

    package init() { descriptor = weft_eventfd() }

    deinit { close(descriptor) }

    package func post(_ message: Message) {
        waiting.withLock { $0.append(message) }
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    /// Everything posted so far, in order.
    package func take() -> [Message] {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
        return waiting.withLock { messages in
            let taken = messages
            messages.removeAll(keepingCapacity: true)
            return taken
        }
    }
}
