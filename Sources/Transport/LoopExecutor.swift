import NIOCore
import Synchronization

/// Runs a request's task on its connection's event loop, so that reading, handling and answering need no other thread.
///
/// Also keeps what the loop's connections share because only one of them works at a time.
final class LoopExecutor: TaskExecutor {
    let loop: any EventLoop
    /// Where header blocks are decoded to.
    let scratch: Scratch
    let buffers = BufferReserve()

    struct Scratch: @unchecked Sendable {  // Used on the loop only, and never across a suspension.
        let bytes: UnsafeMutablePointer<UInt8>
        static let capacity = 65536
    }

    private init(_ loop: any EventLoop) {
        self.loop = loop
        scratch = Scratch(bytes: .allocate(capacity: Scratch.capacity))
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }

    /// Loops live as long as the program, and so do their executors: a task only refers to one.
    private static let all = Mutex<[ObjectIdentifier: LoopExecutor]>([:])

    static func of(_ loop: any EventLoop) -> LoopExecutor {
        all.withLock { all in
            if let found = all[ObjectIdentifier(loop)] { return found }
            let made = LoopExecutor(loop)
            all[ObjectIdentifier(loop)] = made
            return made
        }
    }
}
