import ContainerRuntime
import Glibc
import Kernel
import TestSupport
import Testing

/// A runtime with directories, cgroups and a network namespace of its own, and an image of busybox; all is removed at the end.
struct TestMachine {
    let name: String
    let directory: String
    let configuration: RuntimeConfiguration
    let runtime: LocalRuntime
    static let image = "weft.dev/test:v1"

    init() throws {
        try #require(geteuid() == 0, "the runtime's tests need root: namespaces, mounts and cgroups are what they test")
        name = "weft-test-\(UInt32.random(in: .min ... .max))"
        directory = "/tmp/\(name)"
        configuration = RuntimeConfiguration(
            stateDirectory: directory + "/state", runDirectory: directory + "/run", cgroupRoot: "weft/" + name,
            supervisorPath: try BuiltProgram.path("mesh-init"))
        try SmallFile.makeDirectories(directory)
        runtime = try LocalRuntime(configuration)
        var image = PackedImage(
            name: Self.image, files: [.init(source: "/bin/busybox", target: "/bin/busybox")],
            entrypoint: ["/bin/sh", "-c"],
            command: ["echo from the image"], environment: ["FROM_IMAGE=yes"])
        for applet in [
            "sh", "sleep", "echo", "cat", "id", "ls", "touch", "env", "hostname", "tty", "stat", "head", "tail", "dd",
            "mount", "ps", "mknod", "grep", "sed", "tr", "stty", "true",
        ] {
            image.links["/bin/" + applet] = "busybox"
        }
        _ = try ImagePacker(store: runtime.images).pack(image)
    }

    func sandbox(_ uid: String) -> SandboxSpec {
        var spec = SandboxSpec(
            podUID: uid, namespace: "test", name: "pod-\(uid)", hostname: "host-\(uid)",
            networkNamespace: "/proc/self/ns/net",
            cgroup: "node-1/pod\(uid)")
        spec.hosts = "127.0.0.1 localhost\n"
        spec.resolvConf = "nameserver 127.0.0.1\n"
        return spec
    }

    func logPath(_ uid: String, _ container: String = "app", attempt: Int = 0) -> String {
        "\(directory)/state/logs/\(uid)/\(container)/\(attempt).log"
    }

    /// A container that runs a shell script.
    func script(_ uid: String, _ text: String, name: String = "app", attempt: Int = 0) -> ContainerSpec {
        var spec = ContainerSpec(
            name: name, attempt: attempt, image: Self.image, logPath: logPath(uid, name, attempt: attempt))
        spec.arguments = [text]
        return spec
    }

    /// Starts a sandbox and a container in it.
    func start(_ uid: String, _ spec: ContainerSpec) async throws -> ContainerStatus {
        _ = try await runtime.runSandbox(sandbox(uid))
        return try await runtime.startContainer(podUID: uid, spec)
    }

    /// Waits until a container has ended.
    func ended(_ uid: String, _ id: String = "app-0", in other: LocalRuntime? = nil) async throws -> ContainerStatus {
        let runtime = other ?? runtime
        for _ in 0..<12_000 {
            let status = try await runtime.sandbox(podUID: uid)?.containers.first { $0.id == id }
            if let status, status.state != .running { return status }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw Waited(what: "container \(id) of pod \(uid) did not end")
    }

    struct Waited: Error { let what: String }

    func until(_ what: String, _ condition: () async throws -> Bool) async throws {
        for _ in 0..<12_000 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        throw Waited(what: what)
    }

    /// The texts of a log's lines, of one stream.
    func lines(_ path: String, stream: String = "stdout") -> [String] {
        guard let bytes = try? SmallFile.read(path) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let parts = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
            guard parts.count == 4, parts[1] == stream else { return nil }
            return String(parts[3])
        }
    }

    /// Runs a script in a new pod to its end.
    func output(_ script: String, change: (inout ContainerSpec) -> Void = { _ in }) async throws -> [String] {
        let uid = "out-\(UInt32.random(in: .min ... .max))"
        var spec = self.script(uid, script)
        change(&spec)
        _ = try await start(uid, spec)
        _ = try await ended(uid)
        let lines = lines(logPath(uid)) + lines(logPath(uid), stream: "stderr").map { "stderr: " + $0 }
        try await runtime.removeSandbox(podUID: uid)
        return lines
    }

    /// Removes all pods and directories.
    func end() async {
        for sandbox in (try? await runtime.sandboxes()) ?? [] {
            try? await runtime.removeSandbox(podUID: sandbox.podUID)
        }
        removeTree(directory)
    }

    static func run(_ body: (TestMachine) async throws -> Void) async throws {
        let machine = try TestMachine()
        do { try await body(machine) } catch {
            await machine.end()
            throw error
        }
        await machine.end()
    }
}

func removeTree(_ path: String) {
    if unlink(path) == 0 { return }
    if let directory = opendir(path) {
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { removeTree(path + "/" + name) }
        }
        closedir(directory)
    }
    rmdir(path)
}
