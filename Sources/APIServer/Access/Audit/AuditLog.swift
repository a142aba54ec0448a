import Glibc
import Kernel
import KubeClient
import KubeTypes
import Logging
import Synchronization
import Wire

/// Where the audit events go: a file, one JSON object a line, begun anew when it is full.
///
/// What cannot be written is counted and lost; requests go on.
final class AuditLog: Sendable {
    struct Limits: Sendable {
        /// Bytes of one file.
        var size = 100 << 20
        /// Files kept beside the current one; the oldest goes first.
        var backups = 10
    }

    private struct State {
        var descriptor: CInt = -1
        var size = 0
        var lost = 0
        var lastComplaint: ContinuousClock.Instant?
    }

    let policy: AuditPolicy
    private let path: String
    private let limits: Limits
    private let logger: Logger
    private let state = Mutex(State())

    /// - Throws: when the policy cannot be read; a file that cannot be opened is tried again at each event.
    static func open(policyFile: String, path: String, limits: Limits, logger: Logger) throws -> AuditLog {
        do {
            let text = String(decoding: try SmallFile.read(policyFile), as: UTF8.self)
            let documents = try yamlDocuments(text)
            guard documents.count == 1 else {
                throw AuditPolicy.Fault(description: "it must be one YAML document, found \(documents.count)")
            }
            return AuditLog(policy: try AuditPolicy(documents[0].json), path: path, limits: limits, logger: logger)
        } catch {
            throw AuditPolicy.Fault(description: "audit policy \(policyFile): \(error)")
        }
    }

    init(policy: AuditPolicy, path: String, limits: Limits = Limits(), logger: Logger = Logger(label: "audit")) {
        self.policy = policy
        self.path = path
        self.limits = limits
        self.logger = logger
    }

    deinit { state.withLock { if $0.descriptor >= 0 { close($0.descriptor) } } }

    /// How many events could not be written.
    var lost: Int { state.withLock(\.lost) }

    func write(_ event: JSON) {
        let line = event.bytes + [0x0A]
        state.withLock { state in
            if state.descriptor < 0 { open(&state) }
            if state.size > 0, state.size + line.count > limits.size { rotate(&state) }
            guard state.descriptor >= 0 else { return lose(&state, errno) }
            let count = line.withUnsafeBytes { Glibc.write(state.descriptor, $0.baseAddress, $0.count) }
            if count == line.count {
                state.size += count
                return
            }
            let code = errno
            // A part of a line would spoil the next one.
            if count > 0 { ftruncate(state.descriptor, off_t(state.size)) }
            lose(&state, code)
        }
    }

    private func open(_ state: inout State) {
        state.descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        state.size = 0
        var details = stat()
        if state.descriptor >= 0, fstat(state.descriptor, &details) == 0 { state.size = Int(details.st_size) }
    }

    /// `audit.log` becomes `audit.log.1`, that `audit.log.2`, and so on.
    private func rotate(_ state: inout State) {
        close(state.descriptor)
        state.descriptor = -1
        unlink("\(path).\(limits.backups)")
        for number in stride(from: limits.backups - 1, to: 0, by: -1) {
            rename("\(path).\(number)", "\(path).\(number + 1)")
        }
        if limits.backups > 0 { rename(path, "\(path).1") } else { unlink(path) }
        open(&state)
    }

    private func lose(_ state: inout State, _ code: CInt) {
        state.lost += 1
        if let last = state.lastComplaint, ContinuousClock.now - last < .seconds(60) { return }
        state.lastComplaint = .now
        logger.error(
            "audit log \(path) cannot be written: \(String(cString: strerror(code))); \(state.lost) events lost so far")
    }
}
