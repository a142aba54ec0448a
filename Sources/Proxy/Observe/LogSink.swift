import Glibc

/// A file lines are appended to. A reader that does not keep up loses lines, which are counted; nobody waits for it.
struct LogSink {
    private static let mostWaiting = 1 << 20
    /// A pipe that is writable takes so much at once without waiting (POSIX: PIPE_BUF).
    private static let piece = 4096
    private static let looksEvery: UInt64 = 5_000_000_000

    let path: String
    private(set) var lost: UInt64 = 0
    private var descriptor: CInt = -1
    private var identity: (device: dev_t, place: ino_t) = (0, 0)
    private var looked: UInt64 = 0
    private var waiting: [UInt8] = []
    private var said = false
    /// The last write was refused, as on a full disk: it has been said.
    private var fails = false

    init(path: String) { self.path = path }

    mutating func append(_ line: String) {
        if waiting.count + line.utf8.count > Self.mostWaiting {
            lost += 1
            return
        }
        waiting += line.utf8
    }

    /// Writes what the file takes now.
    mutating func flush(now: UInt64) {
        if waiting.isEmpty || !open(now) { return }
        var done = 0
        while done < waiting.count {
            var door = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            if poll(&door, 1, 0) <= 0 { break }
            let size = min(Self.piece, waiting.count - done)
            let start = done
            let count = waiting.withUnsafeBytes { write(descriptor, $0.baseAddress?.advanced(by: start), size) }
            if count < 0 && (errno == EAGAIN || errno == EINTR) { break }
            if count <= 0 {
                let code = errno
                if !fails { log("the access log \(path) cannot be written, errno \(code); lines wait", level: "error") }
                fails = true
                close()
                break
            }
            fails = false
            done += count
        }
        waiting.removeFirst(done)
    }

    /// Opens the file, and again when another stands at its path, as after a rotation.
    private mutating func open(_ now: UInt64) -> Bool {
        if path == "/dev/stdout" || path == "/dev/stderr" {
            descriptor = path == "/dev/stdout" ? 1 : 2
            return true
        }
        if descriptor >= 0 {
            if now < looked &+ Self.looksEvery { return true }
            looked = now
            var found = stat()
            if stat(path, &found) == 0, found.st_dev == identity.device, found.st_ino == identity.place { return true }
            close()
        }
        descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0o640)
        if descriptor < 0 {
            if !said { log("the access log \(path) cannot be opened, errno \(errno)", level: "error") }
            said = true
            return false
        }
        said = false
        looked = now
        var found = stat()
        if fstat(descriptor, &found) == 0 { identity = (found.st_dev, found.st_ino) }
        return true
    }

    mutating func close() {
        if descriptor > 2 { Glibc.close(descriptor) }
        descriptor = -1
    }
}
