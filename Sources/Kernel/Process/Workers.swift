import Glibc
import Synchronization

/// Threads for work that blocks: clones, mounts, files. Tasks wait for it without holding a thread of their own pool.
package final class Workers: Sendable {
    private struct Queue {
        var waiting: [@Sendable () -> Void] = []
        var head = 0
        var threads = 0
    }
    private let most: Int
    private let queue = Mutex(Queue())

    /// Threads are made as they are needed, at most `most`, and end when there is no work.
    package init(most: Int) { self.most = most }

    package func run<Value: Sendable, Failure: Error>(
        _ work: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            submit {
                do throws(Failure) {
                    continuation.resume(returning: .success(try work()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    package func submit(_ work: @escaping @Sendable () -> Void) {
        let startsThread = queue.withLock { queue in
            queue.waiting.append(work)
            guard queue.threads < most else { return false }
            queue.threads += 1
            return true
        }
        guard startsThread else { return }
        var thread = pthread_t()
        let box = Unmanaged.passRetained(self)
        let failed = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Workers>.fromOpaque(argument).takeRetainedValue().drain()
                return nil
            }, box.toOpaque())
        if failed == 0 {
            pthread_detach(thread)
        } else {
            // No thread to be had: the caller does the work rather than nobody.
            box.release()
            drain()
        }
    }

    private func drain() {
        while let work = next() { work() }
    }

    private func next() -> (@Sendable () -> Void)? {
        queue.withLock { queue in
            guard queue.head < queue.waiting.count else {
                queue.waiting.removeAll(keepingCapacity: true)
                queue.head = 0
                queue.threads -= 1
                return nil
            }
            let work = queue.waiting[queue.head]
            queue.head += 1
            if queue.head > 64, queue.head * 2 > queue.waiting.count {
                queue.waiting.removeFirst(queue.head)
                queue.head = 0
            }
            return work
        }
    }
}
