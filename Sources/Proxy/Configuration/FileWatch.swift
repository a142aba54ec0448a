import Glibc
import Loop

/// Tells a follower when one of its files may have changed: inotify on their directories, so that files replaced by renaming or by
/// a directory's symbolic link are noticed too.
enum FileWatch {
    private static let events = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE)
    /// Writers often touch several files in a row, or one more than once.
    private static let quiet: Int32 = 50
    private static let mostQuiet = 20
    /// A directory that is not there now is tried again.
    private static let again: Int32 = 5000

    static func start(_ follower: FileFollower) {
        let descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        if descriptor < 0 {
            log(
                "\(follower.path) is read again on SIGHUP only: inotify: \(String(cString: strerror(errno)))",
                level: "warning")
            return
        }
        _ = Thread.start("config") {
            while true {
                let areAllWatched = watch(follower.files, descriptor)
                var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                let count = poll(&waiting, 1, areAllWatched ? -1 : again)
                if count > 0, !concerns(descriptor, follower.files) { continue }
                if count > 0 { settle(descriptor) }
                follower.reload()
            }
        }
    }

    /// Watching what is watched already changes nothing. False when a directory is not there.
    private static func watch(_ files: [String], _ descriptor: CInt) -> Bool {
        var isComplete = true
        for directory in Set(files.map(directory)) where inotify_add_watch(descriptor, directory, events) < 0 {
            isComplete = false
        }
        return isComplete
    }

    private static func directory(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Whether an event that waits is about one of the files, or about a link through which whole directories are swapped.
    private static func concerns(_ descriptor: CInt, _ files: [String]) -> Bool {
        return drain(descriptor) { name in
            name.hasPrefix("..") || files.contains { $0 == name || $0.hasSuffix("/" + name) }
        }
    }

    private static func settle(_ descriptor: CInt) {
        for _ in 0..<mostQuiet {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            if poll(&waiting, 1, quiet) <= 0 { return }
            _ = drain(descriptor) { _ in false }
        }
    }

    /// Takes all events that wait; true when one of them is about a name that is asked for, or about a directory itself.
    private static func drain(_ descriptor: CInt, _ isWanted: (String) -> Bool) -> Bool {
        var found = false
        var space = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = read(descriptor, &space, space.count)
            if count <= 0 { return found }
            var place = 0
            let head = MemoryLayout<inotify_event>.size
            while place + head <= count {
                let event = space.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: inotify_event.self) }
                let name = space[(place + head)..<min(count, place + head + Int(event.len))].prefix { $0 != 0 }
                if name.isEmpty || isWanted(String(decoding: name, as: UTF8.self)) { found = true }
                place += head + Int(event.len)
            }
        }
    }
}
