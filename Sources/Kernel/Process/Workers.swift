import Glibc

/// Threads for work that blocks: clones, mounts, files. Tasks wait for it without holding a thread of their own pool.
///
/// `@unchecked Sendable`: all that changes is touched only under `lock`.
package final class Workers: @unchecked Sendable {
    private static let idleSeconds = 30
    private let most: Int
    private let lock: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private var waiting: [@Sendable () -> Void] = []
    private var head = 0
    private var threads = 0
    private var idle = 0

    /// Threads are made as they are needed, at most `most`. They stay a while when there is no work, since each new
    /// thread would spread the heap over another arena.
    package init(most: Int) {
        self.most = most
        lock = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wake, nil)
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_mutex_destroy(lock)
        wake.deallocate()
        lock.deallocate()
    }

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
        pthread_mutex_lock(lock)
        waiting.append(work)
        let startsThread = waiting.count - head > idle && threads < most
        if startsThread { threads += 1 }
        pthread_cond_signal(wake)
        pthread_mutex_unlock(lock)
        guard startsThread else { return }
        if let thread = newThread({ self.drain(staying: true) }).thread {
            pthread_detach(thread)
        } else {
            // No thread to be had: the caller does the work rather than nobody.
            drain(staying: false)
        }
    }

    private func drain(staying: Bool) {
        while let work = next(staying: staying) { work() }
    }

    private func next(staying: Bool) -> (@Sendable () -> Void)? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        var deadline = timespec()
        clock_gettime(CLOCK_REALTIME, &deadline)
        deadline.tv_sec += Self.idleSeconds
        while head == waiting.count {
            idle += 1
            let timedOut = !staying || pthread_cond_timedwait(wake, lock, &deadline) == ETIMEDOUT
            idle -= 1
            if timedOut, head == waiting.count {
                threads -= 1
                return nil
            }
        }
        let work = waiting[head]
        head += 1
        if head == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 64, head * 2 > waiting.count {
            waiting.removeFirst(head)
            head = 0
        }
        return work
    }
}
