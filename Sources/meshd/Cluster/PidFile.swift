import ClusterLayout
import Glibc
import Kernel

/// The lock that makes a cluster's daemon the only one. The kernel lets go of it when the process ends, however it ends.
struct PidFile: ~Copyable {
    private let file: OwnedDescriptor

    struct Taken: Error, CustomStringConvertible {
        let path: String
        let process: pid_t
        /// `nil`: it has not written yet what it is.
        var isTeardown: Bool? {
            let text = (try? SmallFile.read(path, limit: 4096)) ?? []
            return ClusterLayout.isTeardown(pidFileText: String(decoding: text, as: UTF8.self), holder: process)
        }
        var description: String { "another meshd (process \(process)) already runs this cluster: it holds \(path)" }
    }

    /// - Parameter mark: written behind the process id, to tell what holds the lock.
    init(_ path: String, mark: String = "") throws {
        while true {
            let opened = try OwnedDescriptor.open(path, flags: O_RDWR | O_CREAT, mode: 0o644)
            var lock = flock()
            lock.l_type = Int16(F_WRLCK)
            if fcntl(opened.number, F_SETLK, &lock) != 0 {
                var holder = flock()
                holder.l_type = Int16(F_WRLCK)
                _ = fcntl(opened.number, F_GETLK, &holder)
                throw Taken(path: path, process: holder.l_pid)
            }
            // A teardown may have removed the file between our opening and locking it: such a lock keeps nobody out.
            guard Self.isStill(opened.number, at: path) else { continue }
            let text = Array((mark.isEmpty ? "\(getpid())\n" : "\(getpid()) \(mark)\n").utf8)
            guard ftruncate(opened.number, 0) == 0, write(opened.number, text, text.count) == text.count else {
                throw SystemCallFailed("write", code: errno, on: path)
            }
            file = opened
            return
        }
    }

    private static func isStill(_ number: CInt, at path: String) -> Bool {
        var (opened, found) = (stat(), stat())
        return fstat(number, &opened) == 0 && stat(path, &found) == 0 && opened.st_ino == found.st_ino
            && opened.st_dev == found.st_dev
    }
}
