import Glibc
import Kernel
import Loop

/// `meshproxy upgrade`: asks the proxy that runs with a state directory to put another program in its place.
package enum Upgrade {
    private static let mostBytes = 256 << 20
    private static let patience: UInt64 = 60_000_000_000

    /// - Parameter takesProgram: the program comes on standard input, and is put into the state directory.
    /// - Returns: the status to exit with.
    package static func run(_ options: ProgramOptions, takesProgram: Bool) -> CInt {
        do {
            let directory = try directory(options)
            let text = String(decoding: try SmallFile.read(directory + "/pid"), as: UTF8.self)
            guard let pid = pid_t(text.prefix { $0 != "\n" }), pid > 0 else {
                throw ConfigurationFault("\(directory)/pid: does not hold a number")
            }
            if takesProgram { try place(UpgradeFiles.next(in: directory)) }
            let outcome = directory + "/upgrade"
            unlink(outcome)
            if kill(pid, SIGUSR2) != 0 {
                let code = errno
                unlink(UpgradeFiles.next(in: directory))
                throw SystemCallFailed("kill", code: code, on: "process \(pid)")
            }
            let limit = Clock.monotonic + patience
            while Clock.monotonic < limit {
                if let said = try? SmallFile.read(outcome) {
                    _ = said.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
                    return String(decoding: said, as: UTF8.self).hasPrefix("ready") ? 0 : 1
                }
                usleep(20_000)
            }
            throw ConfigurationFault("process \(pid) did not say within a minute how it went")
        } catch {
            log("upgrade: \(error)", level: "error")
            return 1
        }
    }

    /// The state directory of the proxy that runs here, unless it was said.
    private static func directory(_ options: ProgramOptions) throws -> String {
        if !options.stateDirectory.isEmpty { return options.stateDirectory }
        let usual = UpgradeFiles.usualDirectories
        if let found = usual.first(where: { access($0 + "/pid", R_OK) == 0 }) { return found }
        throw ConfigurationFault(
            "no proxy that keeps its state runs here (there is no \(usual.map { $0 + "/pid" }.joined(separator: " and no "))); "
                + "say --state, as the proxy was started with")
    }

    /// A whole program or none: a proxy that starts meanwhile finds the old one.
    private static func place(_ path: String) throws {
        let fresh = "\(path).\(getpid())"
        do {
            try take(to: fresh)
            if access(fresh, X_OK) != 0 { throw SystemCallFailed("access", code: errno, on: "\(fresh), as a program") }
            if rename(fresh, path) != 0 { throw SystemCallFailed("rename", code: errno, on: path) }
        } catch {
            unlink(fresh)
            throw error
        }
    }

    private static func take(to fresh: String) throws {
        let file = try OwnedDescriptor.open(fresh, flags: O_WRONLY | O_CREAT | O_TRUNC, mode: 0o700)
        var chunk = [UInt8](repeating: 0, count: 262_144)
        var total = 0
        while true {
            let count = read(0, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { throw SystemCallFailed("read", code: errno, on: "standard input") }
            if count == 0 { break }
            if total == 0 && (count < 4 || Array(chunk[..<4]) != [0x7F, 0x45, 0x4C, 0x46]) {
                throw ConfigurationFault("standard input is no program")
            }
            total += count
            if total > mostBytes { throw ConfigurationFault("standard input is longer than \(mostBytes) bytes") }
            var done = 0
            while done < count {
                let written = chunk.withUnsafeBytes {
                    write(file.number, $0.baseAddress?.advanced(by: done), count - done)
                }
                if written < 0 && errno == EINTR { continue }
                if written < 0 { throw SystemCallFailed("write", code: errno, on: fresh) }
                done += written
            }
        }
        if total == 0 { throw ConfigurationFault("standard input is empty") }
    }
}
