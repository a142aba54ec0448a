import CKernel
import Glibc
import Synchronization

/// Network namespaces kept alive by a bind mount on a file, and work done inside them.
///
/// A thread that has entered a namespace never goes back to other work: each piece of work gets a thread of its own,
/// so no Swift task can ever find itself in the wrong network.
package enum NetworkNamespace {
    private static let makingPrivate = Mutex(())

    /// Makes a namespace at `path`, or adopts the one that is there. Loopback is down in a new one.
    ///
    /// The directory becomes a private mount, so that the namespace does not leak into the mount namespaces of containers.
    /// - Returns: whether it was made now.
    @discardableResult
    package static func create(at path: String) throws(SystemCallFailed) -> Bool {
        if exists(at: path) { return false }
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        try SmallFile.makeDirectories(directory)
        // One at a time: a second mount over the directory would hide the namespaces in the first.
        let result = makingPrivate.withLock { _ in weft_net_make_private(directory) }
        try check(result, "mount --make-private", directory)
        _ = try OwnedDescriptor.open(path, flags: O_RDONLY | O_CREAT, mode: 0o444)
        do throws(SystemCallFailed) {
            try onFreshThread(path) { () throws(SystemCallFailed) in
                try check(weft_net_unshare(), "unshare network namespace", path)
                try check(weft_net_keep(path), "mount namespace", path)
            }
        } catch {
            unlink(path)
            throw error
        }
        return true
    }

    package static func exists(at path: String) -> Bool { weft_net_is_namespace(path) == 1 }

    /// Lets go of the namespace; it ends with the last process and socket in it. Not there is fine.
    package static func remove(at path: String) throws(SystemCallFailed) {
        while true {  // Two makers may have stacked two mounts.
            let result = weft_net_unmount(path)
            if result == 0 { continue }
            if result == -EINVAL || result == -ENOENT { break }
            throw SystemCallFailed("umount", code: -result, on: path)
        }
        if unlink(path) != 0, errno != ENOENT { throw SystemCallFailed("unlink", code: errno, on: path) }
    }

    /// Lets go of the directory's own mount, after its namespaces are removed, and of the directory.
    package static func removeDirectory(_ directory: String) throws(SystemCallFailed) {
        while weft_net_unmount(directory) == 0 {}
        if rmdir(directory) != 0, errno != ENOENT { throw SystemCallFailed("rmdir", code: errno, on: directory) }
    }

    /// Runs `body` inside the namespace on a thread of its own and waits for it.
    ///
    /// Blocks the caller: for short work (a few system calls). /proc/sys/net seen by `body` is the namespace's.
    /// - Parameter privateDescriptors: `body` has descriptors of its own from 3 on, and none of the process's. For libraries
    ///   that use `select`, which cannot take numbers from 1024 on: with many pods the process's are higher.
    package static func run<Value>(
        in path: String, privateDescriptors: Bool = false, _ body: () throws(SystemCallFailed) -> Value
    ) throws(SystemCallFailed) -> Value {
        let namespace = try open(path)
        return try onFreshThread(path) { () throws(SystemCallFailed) in
            try check(weft_net_enter(namespace.number), "setns", path)
            if privateDescriptors { try check(weft_net_private_descriptors(), "close_range", path) }
            return try body()
        }
    }

    /// The same for work that takes longer, from a task: the task's thread stays free.
    package static func perform<Value: Sendable>(
        in path: String, privateDescriptors: Bool = false,
        _ body: @escaping @Sendable () throws(SystemCallFailed) -> Value
    ) async throws(SystemCallFailed) -> Value {
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Result<Value, SystemCallFailed>, Never>) in
            let started = newThread {
                let result: Result<Value, SystemCallFailed>
                do throws(SystemCallFailed) {
                    try enter(path)
                    if privateDescriptors { try check(weft_net_private_descriptors(), "close_range", path) }
                    result = .success(try body())
                } catch {
                    result = .failure(error)
                }
                done.resume(returning: result)
            }
            guard let thread = started.thread else {
                done.resume(returning: .failure(SystemCallFailed("pthread_create", code: started.code, on: path)))
                return
            }
            pthread_detach(thread)
        }
        return try result.get()
    }

    /// Starts a thread that stays in the namespace until `body` returns.
    package static func startThread(
        in path: String, _ body: @escaping @Sendable () -> Void
    ) throws(SystemCallFailed) -> NamespaceThread {
        let namespace = try open(path).release()
        let started = newThread {
            // The descriptor was checked to be a namespace, and we are root: this cannot fail but by a lost right.
            let entered = weft_net_enter(namespace)
            close(namespace)
            precondition(entered == 0, "a network namespace that was open could not be entered")
            body()
        }
        guard let thread = started.thread else {
            close(namespace)
            throw SystemCallFailed("pthread_create", code: started.code, on: path)
        }
        return NamespaceThread(thread: thread)
    }

    private static func enter(_ path: String) throws(SystemCallFailed) {
        let namespace = try open(path)
        try check(weft_net_enter(namespace.number), "setns", path)
    }

    private static func open(_ path: String) throws(SystemCallFailed) -> OwnedDescriptor {
        guard exists(at: path) else { throw SystemCallFailed("open network namespace", code: ENOENT, on: path) }
        return try OwnedDescriptor.open(path, flags: O_RDONLY)
    }

    static func check(_ result: CInt, _ call: String, _ subject: String) throws(SystemCallFailed) {
        if result < 0 { throw SystemCallFailed(call, code: -result, on: subject) }
    }
}

/// A thread that lives in a namespace.
package struct NamespaceThread: @unchecked Sendable {  // A pthread_t is only a name.
    fileprivate let thread: pthread_t
    /// Waits for its end; once.
    package func join() { pthread_join(thread, nil) }
}

/// Runs `body` on a thread that ends with it, so that whatever it did to itself is gone, and waits.
private func onFreshThread<Value>(
    _ subject: String, _ body: () throws(SystemCallFailed) -> Value
) throws(SystemCallFailed) -> Value {
    var result: Result<Value, SystemCallFailed>?
    var code: CInt = 0
    withoutActuallyEscaping(body) { body in
        let started = newThread {
            do throws(SystemCallFailed) { result = .success(try body()) } catch { result = .failure(error) }
        }
        code = started.code
        if let thread = started.thread { pthread_join(thread, nil) }
    }
    guard let result else { throw SystemCallFailed("pthread_create", code: code, on: subject) }
    return try result.get()
}
