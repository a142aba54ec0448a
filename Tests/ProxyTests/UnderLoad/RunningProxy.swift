import Glibc
import Kernel
import TestSupport
import Testing
import Wire

/// A `meshproxy run` of its own, with its configuration in a directory of its own.
final class RunningProxy {
    let directory: String
    let port = freePort()
    let adminPort = freePort()
    private(set) var pid: pid_t = 0
    private let words: [String]

    /// - Parameters:
    ///   - more: lines of the configuration beside listeners, clusters and the admin port.
    ///   - files: the most open files the process may have.
    init(
        before origin: Origin, drainSeconds: Int = 0, concurrency: Int = 2, more: String = "", files: Int? = nil,
        bufferMegabytes: Int? = nil
    ) throws {
        directory = "/tmp/weft-running-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try SmallFile.makeDirectories(directory)
        let text = """
            listeners: [{address: 127.0.0.1, port: \(port), routes: [{to: origin}]}]
            clusters: [{name: origin, endpoints: ["127.0.0.1:\(origin.port)"]}]
            admin: {port: \(adminPort)}
            \(more)
            """
        try SmallFile.replace(directory + "/proxy.yaml", with: Array(text.utf8))
        let program = try BuiltProgram.path("meshproxy")
        var own = [
            program, "run", "--config", directory + "/proxy.yaml", "--concurrency", "\(concurrency)",
            "--drain-seconds", "\(drainSeconds)",
        ]
        if let bufferMegabytes { own += ["--buffer-memory", "\(bufferMegabytes)"] }
        words = files.map { ["/bin/sh", "-c", "ulimit -n \($0); exec \"$@\"", "sh"] + own } ?? own
        try start()
    }

    /// Again, once it has ended.
    func start() throws {
        let arguments = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        let code = posix_spawn(&pid, words[0], nil, nil, arguments, nil)
        try #require(code == 0, "\(words[0]): \(String(cString: strerror(code)))")
    }

    /// The number of the process that answers on the admin port.
    var answering: Int? {
        let visitor = Visitor(port: adminPort)
        defer { visitor.end() }
        guard let page = visitor.get("/config_dump"), let json = try? JSON(parsing: page.body) else { return nil }
        return json["pid"]?.int
    }

    func words(of pid: Int) -> [String] {
        let bytes = (try? SmallFile.read("/proc/\(pid)/cmdline")) ?? []
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The status of the process, once it has ended.
    func status() -> CInt? {
        var status: CInt = 0
        guard pid > 0, waitpid(pid, &status, WNOHANG) == pid else { return nil }
        pid = 0
        return status
    }

    func remove() {
        if pid > 0, kill(pid, SIGKILL) == 0 {
            var status: CInt = 0
            waitpid(pid, &status, 0)
        }
        try? FileTree.remove(directory)
    }
}
