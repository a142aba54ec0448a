internal import Glibc

/// Runs work that blocks on a thread of its own, so that it never holds up the tasks.
package func onThread<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { done in
        startThread { done.resume(returning: body()) }
    }
}

/// Starts a detached thread.
package func startThread(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let work = Unmanaged.passRetained(ThreadWork(body))
    let code = pthread_create(&thread, nil, { argument in
        if let argument { Unmanaged<ThreadWork>.fromOpaque(argument).takeRetainedValue().body() }
        return nil
    }, work.toOpaque())
    precondition(code == 0, "the system has no thread left (pthread_create: \(code))")
    pthread_detach(thread)
}

private final class ThreadWork: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
