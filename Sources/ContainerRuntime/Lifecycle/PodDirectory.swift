import Glibc
import Kernel
import Wire

/// A pod's files. What is in `run` and `state` is the whole truth about it: a restarted runtime reads it there.
struct PodDirectory: Sendable {
    let uid: String
    /// `<run>/pods/<uid>`: `sandbox.json`, `init.sock`, `init.log`, `state/<id>.json` (ours), `state/<id>.state` (the supervisor's).
    let run: String
    /// `<state>/pods/<uid>`: `layers/<id>/`, `etc/`.
    let state: String

    init(uid: String, configuration: RuntimeConfiguration) throws(RuntimeFailure) {
        guard Self.isName(uid) else { throw RuntimeFailure(.notFound, "the pod uid '\(uid)' cannot be a file name") }
        self.uid = uid
        run = "\(configuration.runDirectory)/pods/\(uid)"
        state = "\(configuration.stateDirectory)/pods/\(uid)"
    }

    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count < 200 && !text.hasPrefix(".")
            && !text.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
    }

    var sandboxFile: String { run + "/sandbox.json" }
    var etc: String { state + "/etc" }
    func recordFile(_ id: String) -> String { "\(run)/state/\(id).json" }
    func stateFile(_ id: String) -> String { "\(run)/state/\(id).state" }
    func layer(_ id: String) -> String { "\(state)/layers/\(id)" }

    func make() throws(RuntimeFailure) {
        try attempting("make the directories of pod \(uid)") { () throws(SystemCallFailed) in
            try SmallFile.makeDirectories(run + "/state", mode: 0o711)
            try SmallFile.makeDirectories(etc)
            // Containers may leave set-user-id programs here: no user of the machine may come near.
            try SmallFile.makeDirectories(state + "/layers", mode: 0o700)
        }
    }

    /// Removes what is ours; what others keep beside it stays theirs.
    func remove() throws(RuntimeFailure) {
        for path in [state + "/layers", etc] {
            try attempting("remove pod \(uid)") { () throws(SystemCallFailed) in try FileTree.remove(path) }
        }
        rmdir(state)
        for name in ["init.sock", "init.log", "state"] { try? FileTree.remove(run + "/" + name) }
        // Last: as long as it is there, a restarted runtime knows there is something to remove.
        try? FileTree.remove(sandboxFile)
        rmdir(run)
    }

    /// `/run` does not outlive the machine, so nothing is synced; the rename keeps a reader from half a file.
    static func write(_ json: JSON, to path: String) throws(SystemCallFailed) {
        var bytes: [UInt8] = []
        json.write(to: &bytes)
        try SmallFile.write(String(decoding: bytes, as: UTF8.self), to: path + ".new")
        if rename(path + ".new", path) != 0 { throw SystemCallFailed("rename", code: errno, on: path) }
    }

    static func read(_ path: String) -> JSON? {
        guard let bytes = try? SmallFile.read(path) else { return nil }
        return try? JSON(parsing: bytes)
    }

    func recordedContainers() -> [ContainerRecord] {
        FileTree.names(in: run + "/state").filter { $0.hasSuffix(".json") }
            .compactMap { Self.read(run + "/state/" + $0).flatMap(ContainerRecord.init(json:)) }
            .sorted { ($0.startedFirst, $0.id) < ($1.startedFirst, $1.id) }
    }

    func savedState(_ id: String) -> SupervisedState? {
        guard let bytes = try? SmallFile.read(stateFile(id)) else { return nil }
        return try? SupervisedState(bytes)
    }
}

/// What is remembered of a sandbox.
struct SandboxRecord: Sendable {
    var namespace: String
    var name: String
    var hostname: String
    var networkNamespace: String
    var cgroup: String
    var sharesProcessNamespace: Bool

    init(_ spec: SandboxSpec, cgroup: String) {
        namespace = spec.namespace
        name = spec.name
        hostname = spec.hostname
        networkNamespace = spec.networkNamespace
        self.cgroup = cgroup
        // The machine's processes are shared by all containers of the pod, too.
        sharesProcessNamespace = spec.sharesProcessNamespace || spec.usesMachineProcesses
    }

    init?(json: JSON) {
        guard let cgroup = json["cgroup"]?.string else { return nil }
        namespace = json["namespace"]?.string ?? ""
        name = json["name"]?.string ?? ""
        hostname = json["hostname"]?.string ?? ""
        networkNamespace = json["networkNamespace"]?.string ?? ""
        self.cgroup = cgroup
        sharesProcessNamespace = json["sharesProcessNamespace"]?.bool ?? false
    }

    var json: JSON {
        [
            "namespace": .string(namespace), "name": .string(name), "hostname": .string(hostname),
            "networkNamespace": .string(networkNamespace), "cgroup": .string(cgroup),
            "sharesProcessNamespace": .bool(sharesProcessNamespace),
        ]
    }
}

/// What is remembered of a container from before its start on.
struct ContainerRecord: Sendable {
    var id: String
    var name: String
    var attempt: Int
    var image: String
    var imageDigest: String
    var logPath: String
    var stopSignal: Int
    var hasTerminal: Bool
    var annotations: [String: String]
    /// The unpacked layers it stands on.
    var layers: [String]
    /// Nanoseconds since 1970, when the start was asked for: the order of containers.
    var startedFirst: Int64

    init(_ spec: ContainerSpec, image: ImageRecord, layers: [String], stopSignal: Int) {
        id = spec.id
        name = spec.name
        attempt = spec.attempt
        self.image = spec.image
        imageDigest = image.manifestDigest
        logPath = spec.logPath
        self.stopSignal = stopSignal
        hasTerminal = spec.hasTerminal
        annotations = spec.annotations
        self.layers = layers
        startedFirst = WallClock.nanoseconds
    }

    init?(json: JSON) {
        guard let id = json["id"]?.string, let name = json["name"]?.string else { return nil }
        self.id = id
        self.name = name
        attempt = json["attempt"]?.int ?? 0
        image = json["image"]?.string ?? ""
        imageDigest = json["imageDigest"]?.string ?? ""
        logPath = json["logPath"]?.string ?? ""
        stopSignal = json["stopSignal"]?.int ?? Int(SIGTERM)
        hasTerminal = json["hasTerminal"]?.bool ?? false
        annotations = json["annotations"]?.stringMap ?? [:]
        layers = (json["layers"]?.array ?? []).compactMap(\.string)
        startedFirst = Int64(json["startedFirst"]?.int ?? 0)
    }

    var json: JSON {
        [
            "id": .string(id), "name": .string(name), "attempt": .int(Int64(attempt)), "image": .string(image),
            "imageDigest": .string(imageDigest), "logPath": .string(logPath), "stopSignal": .int(Int64(stopSignal)),
            "hasTerminal": .bool(hasTerminal),
            "annotations": JSON(annotations), "layers": .array(layers.map(JSON.string)),
            "startedFirst": .int(startedFirst),
        ]
    }
}

enum WallClock {
    static var nanoseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
    }
}

extension ContainerSpec {
    /// `<name>-<attempt>`.
    package var id: String { "\(name)-\(attempt)" }
}
