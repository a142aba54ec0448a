// Shared, as source, with mesh-init (see SupervisorMessage.swift).

/// Who a process runs as.
package struct ProcessIdentity: Sendable {
    package var user: UInt32 = 0
    package var group: UInt32 = 0
    package var groups: [UInt32] = []
    package var capabilities: UInt64 = 0
    package var hasNoNewPrivileges = false
    package init() {}

    func write(to writer: inout MessageWriter) {
        writer.put(user)
        writer.put(group)
        writer.put(UInt32(truncatingIfNeeded: groups.count))
        for group in groups { writer.put(group) }
        writer.put(capabilities)
        writer.put(hasNoNewPrivileges)
    }

    init(from reader: inout MessageReader) throws(MessageFault) {
        user = try reader.uint32()
        group = try reader.uint32()
        for _ in 0..<(try reader.count(atLeast: 4)) { groups.append(try reader.uint32()) }
        capabilities = try reader.uint64()
        hasNoNewPrivileges = try reader.flag()
    }
}

package struct PlannedMount: Sendable {
    package enum Source: UInt8, Sendable {
        /// A detached mount that comes with the message.
        case descriptor = 0
        /// A new file system of type `type`.
        case filesystem = 1
        /// The pod's shared memory, which the supervisor holds.
        case sharedMemory = 2
    }
    package var source: Source
    package var target: [UInt8]
    package var type: [UInt8] = []
    package var options: [UInt8] = []
    package var attributes: UInt64 = 0
    package var isFile = false
    package init(_ source: Source, target: [UInt8]) {
        self.source = source
        self.target = target
    }
}

/// `start`: all of a container but its descriptors, which come in this order: root, log directory, OOM counter, cgroups,
/// mounts with source `descriptor`, inherited listeners.
package struct StartRequest: Sendable {
    package var id: [UInt8] = []
    package var hasOwnProcesses = true
    package var cgroups = 0
    package var listeners = 0
    package var mounts: [PlannedMount] = []
    package var masked: [[UInt8]] = []
    package var readOnly: [[UInt8]] = []
    package var hasReadOnlyRoot = false
    package var oomScore: Int32 = 0
    package var directory: [UInt8] = []
    package var identity = ProcessIdentity()
    package var logName: [UInt8] = []
    package var arguments: [[UInt8]] = []
    package var environment: [[UInt8]] = []
    package var streams = StreamsRequest()
    /// The container whose processes this one sees, by id; empty for none.
    package var seenContainer: [UInt8] = []
    package init() {}

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        writer.put(id)
        writer.put(hasOwnProcesses)
        writer.put(UInt32(truncatingIfNeeded: cgroups))
        writer.put(UInt32(truncatingIfNeeded: listeners))
        writer.put(UInt32(truncatingIfNeeded: mounts.count))
        for mount in mounts {
            writer.put(mount.source.rawValue)
            writer.put(mount.target)
            writer.put(mount.type)
            writer.put(mount.options)
            writer.put(mount.attributes)
            writer.put(mount.isFile)
        }
        writer.put(masked)
        writer.put(readOnly)
        writer.put(hasReadOnlyRoot)
        writer.put(oomScore)
        writer.put(directory)
        identity.write(to: &writer)
        writer.put(logName)
        writer.put(arguments)
        writer.put(environment)
        // Only when asked for: a supervisor from before this could be asked for starts everything else as ever.
        if !streams.isPlain || !seenContainer.isEmpty {
            streams.write(to: &writer)
            writer.put(seenContainer)
        }
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        id = try reader.text()
        hasOwnProcesses = try reader.flag()
        cgroups = Int(try reader.uint32())
        listeners = Int(try reader.uint32())
        for _ in 0..<(try reader.count(atLeast: 22)) {
            guard let source = PlannedMount.Source(rawValue: try reader.uint8()) else { throw .unknownKind }
            var mount = PlannedMount(source, target: try reader.text())
            mount.type = try reader.text()
            mount.options = try reader.text()
            mount.attributes = try reader.uint64()
            mount.isFile = try reader.flag()
            mounts.append(mount)
        }
        masked = try reader.texts()
        readOnly = try reader.texts()
        hasReadOnlyRoot = try reader.flag()
        oomScore = try reader.int32()
        directory = try reader.text()
        identity = try ProcessIdentity(from: &reader)
        logName = try reader.text()
        arguments = try reader.texts()
        environment = try reader.texts()
        if !reader.isAtEnd {
            streams = try StreamsRequest(from: &reader)
            seenContainer = try reader.text()
        }
        try reader.end()
    }

    /// How many descriptors must come with it.
    package var descriptors: Int {
        var count = 3 + cgroups + listeners
        for mount in mounts where mount.source == .descriptor { count += 1 }
        return count
    }
}

/// What a container's standard streams are: `stdin`, `stdinOnce` and `tty` of a manifest.
package struct StreamsRequest: Sendable {
    /// Standard input is a pipe that clients write to; without it, it is empty.
    package var keepsInput = false
    /// The first client that leaves takes the input with it.
    package var endsInputOnce = false
    package var hasTerminal = false
    package init() {}

    package var isPlain: Bool { !keepsInput && !hasTerminal }

    func write(to writer: inout MessageWriter) {
        writer.put(keepsInput)
        writer.put(endsInputOnce)
        writer.put(hasTerminal)
    }

    init(from reader: inout MessageReader) throws(MessageFault) {
        keepsInput = try reader.flag()
        endsInputOnce = try reader.flag()
        hasTerminal = try reader.flag()
    }
}

/// `attach`: descriptors are the pipes to write to, stdout's and stderr's, as far as they are wanted. Answered by `started`, with
/// the container's input if it is wanted and kept; then by `exited` when the container has ended and all it wrote was taken.
/// `endInput` on the same connection says that no more input comes.
package struct AttachRequest: Sendable {
    package var container: [UInt8] = []
    package var wantsInput = false
    package var wantsOutput = false
    package var wantsErrors = false
    package init() {}

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        writer.put(container)
        writer.put(wantsInput)
        writer.put(wantsOutput)
        writer.put(wantsErrors)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        container = try reader.text()
        wantsInput = try reader.flag()
        wantsOutput = try reader.flag()
        wantsErrors = try reader.flag()
        try reader.end()
    }

    package var descriptors: Int { (wantsOutput ? 1 : 0) + (wantsErrors ? 1 : 0) }
}

/// `execute`: descriptors are the cgroups, then either one socket to send a terminal's master to, or stdin, stdout, stderr.
/// What is not said is the container's own.
package struct ExecuteRequest: Sendable {
    package var container: [UInt8] = []
    package var hasTerminal = false
    package var cgroups = 0
    package var user: Int64 = -1
    package var arguments: [[UInt8]] = []
    package var environment: [[UInt8]] = []
    package init() {}

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        writer.put(container)
        writer.put(hasTerminal)
        writer.put(UInt32(truncatingIfNeeded: cgroups))
        writer.put(user)
        writer.put(arguments)
        writer.put(environment)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        container = try reader.text()
        hasTerminal = try reader.flag()
        cgroups = Int(try reader.uint32())
        user = try reader.int64()
        arguments = try reader.texts()
        environment = try reader.texts()
        try reader.end()
    }

    package var descriptors: Int { cgroups + (hasTerminal ? 1 : 3) }
}

/// `signal` and `stop` (signal, then SIGKILL after `grace` milliseconds; answered when the container has ended).
/// `forget` uses the id alone. An empty id in `signal` means the process this connection executed.
package struct SignalRequest: Sendable {
    package var id: [UInt8]
    package var signal: Int32
    package var grace: Int64
    package init(id: [UInt8], signal: Int32 = 0, grace: Int64 = 0) {
        self.id = id
        self.signal = signal
        self.grace = grace
    }

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        writer.put(id)
        writer.put(signal)
        writer.put(grace)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        id = try reader.text()
        signal = try reader.int32()
        grace = try reader.int64()
        try reader.end()
    }
}

/// How a container stands: a file of `state/`, an element of `states`, the body of `started`, `exited` and `changed`.
package struct SupervisedState: Sendable {
    package var id: [UInt8] = []
    package var isRunning = true
    package var code: Int32 = 0
    package var signal: Int32 = 0
    package var isOutOfMemory = false
    package var startedAt: Int64 = 0
    package var finishedAt: Int64 = 0
    package init() {}

    package func write(to writer: inout MessageWriter) {
        writer.put(id)
        writer.put(isRunning)
        writer.put(code)
        writer.put(signal)
        writer.put(isOutOfMemory)
        writer.put(startedAt)
        writer.put(finishedAt)
    }

    package init(from reader: inout MessageReader) throws(MessageFault) {
        id = try reader.text()
        isRunning = try reader.flag()
        code = try reader.int32()
        signal = try reader.int32()
        isOutOfMemory = try reader.flag()
        startedAt = try reader.int64()
        finishedAt = try reader.int64()
    }

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        write(to: &writer)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        try self.init(from: &reader)
        try reader.end()
    }
}

/// `failed`: the step (`enum weft_step`), errno and what it was applied to.
package struct SupervisionFailure: Sendable, Error {
    package static let noSuchContainer: Int32 = 100
    package static let alreadyThere: Int32 = 101
    package static let badRequest: Int32 = 102

    package var step: Int32
    package var code: Int32
    package var subject: [UInt8]
    package init(step: Int32, code: Int32, subject: [UInt8]) {
        self.step = step
        self.code = code
        self.subject = subject
    }

    package var bytes: [UInt8] {
        var writer = MessageWriter()
        writer.put(step)
        writer.put(code)
        writer.put(subject)
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(MessageFault) {
        var reader = MessageReader(bytes)
        step = try reader.int32()
        code = try reader.int32()
        subject = try reader.text()
        try reader.end()
    }
}
