import Glibc

/// Runs work that blocks on a thread of its own, so that it never holds up the tasks.
///
/// When the system has no thread left it runs on the caller's: late is better than never.
package func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { done in
        let work: @Sendable () -> Void = { done.resume(returning: body()) }
        if let thread = newThread(work).thread { pthread_detach(thread) } else { work() }
    }
}

/// Starts a detached thread for work without end: it traps when the system has none left.
package func startThread(_ body: @escaping @Sendable () -> Void) {
    let started = newThread(body)
    guard let thread = started.thread else {
        preconditionFailure("the system has no thread left (pthread_create: \(started.code))")
    }
    pthread_detach(thread)
}

/// Starts a thread, to be joined or detached.
/// - Returns: no thread and the reason when the system refuses one; `body` is not run then.
func newThread(_ body: @escaping () -> Void) -> (thread: pthread_t?, code: CInt) {
    var thread = pthread_t()
    let work = Unmanaged.passRetained(ThreadWork(body))
    let code = pthread_create(
        &thread, nil,
        { raw in
            if let raw { Unmanaged<ThreadWork>.fromOpaque(raw).takeRetainedValue().body() }
            return nil
        }, work.toOpaque())
    if code == 0 { return (thread, 0) }
    work.release()
    return (nil, code)
}

private final class ThreadWork {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}
