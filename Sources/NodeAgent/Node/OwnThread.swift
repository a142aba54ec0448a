import Glibc

/// Runs blocking work on a thread of its own, so that no thread of the tasks waits for a disk or a mount.
func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { (done: CheckedContinuation<Value, Never>) in
        var thread = pthread_t()
        let work = Unmanaged.passRetained(ThreadWork { done.resume(returning: body()) })
        let code = pthread_create(
            &thread, nil,
            { raw in
                if let raw { Unmanaged<ThreadWork>.fromOpaque(raw).takeRetainedValue().body() }
                return nil
            }, work.toOpaque())
        if code == 0 {
            pthread_detach(thread)
        } else {
            // No thread to be had: late is better than never.
            work.takeRetainedValue().body()
        }
    }
}

private final class ThreadWork {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}
