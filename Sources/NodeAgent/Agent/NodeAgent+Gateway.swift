import ContainerRuntime
import Glibc
import Kernel
package import KubeClient
package import KubeTypes
import Wire

extension NodeAgent: NodeGateway {
    package func logs(
        pod: KubeObject, container: String, _ options: LogOptions
    ) async throws(APIFailure) -> AsyncThrowingStream<[UInt8], any Error> {
        let description = try describe(pod, container)
        let directory = configuration.logDirectory(namespace: pod.namespace, name: pod.name, uid: pod.uid)
        let attempts = FileTree.names(in: "\(directory)/\(container)").compactMap { name in
            name.hasSuffix(".log") ? Int(name.dropLast(4)) : nil
        }
        let runs = try await sandbox(of: pod)?.containers.filter { $0.name == container } ?? []
        guard let latest = (attempts + runs.map(\.attempt)).max() else {
            let state = description.state(of: container)?["waiting"]
            throw .badRequest(
                "container \"\(container)\" in pod \"\(pod.name)\" is waiting to start: \(state?["reason"]?.string ?? "ContainerCreating")"
            )
        }
        var attempt = latest
        if options.previous {
            // While it waits for its next start, the latest run is the previous one.
            let waits = description.state(of: container)?["waiting"] != nil
            if !waits { attempt -= 1 }
            guard attempt >= 0, attempts.contains(attempt) else {
                throw .badRequest("previous terminated container \"\(container)\" in pod \"\(pod.name)\" not found")
            }
        }
        let uid = pod.uid
        let runtime = runtime
        let chosen = attempt
        let reader = LogReader("\(directory)/\(container)/\(chosen).log", options) {
            guard let sandbox = try? await runtime.sandbox(podUID: uid), sandbox.isRunning else { return true }
            return !sandbox.containers.contains { $0.name == container && $0.attempt == chosen && $0.state == .running }
        }
        return reader.stream
    }

    package func exec(pod: KubeObject, container: String, _ request: ExecRequest) async throws(APIFailure)
        -> any ExecSession
    {
        _ = try describe(pod, container)
        guard let run = try await running(pod, container) else {
            throw .badRequest("container \"\(container)\" in pod \"\(pod.name)\" is not running")
        }
        guard !request.command.isEmpty else { throw .badRequest("exec in pod \"\(pod.name)\": the command is empty") }
        var spec = ExecSpec(command: request.command)
        spec.hasTerminal = request.tty
        do throws(RuntimeFailure) {
            let running = try await runtime.exec(podUID: pod.uid, id: run.id, spec)
            return CommandSession(running, hasInput: request.stdin, hasTerminal: request.tty)
        } catch {
            throw .internalError("exec in container \"\(container)\" of pod \"\(pod.name)\": \(error)")
        }
    }

    package func attach(pod: KubeObject, container: String, _ streams: AttachStreams) async throws(APIFailure)
        -> any ExecSession
    {
        _ = try describe(pod, container)
        guard let run = try await running(pod, container) else {
            throw .badRequest("container \"\(container)\" in pod \"\(pod.name)\" is not running")
        }
        let spec = AttachSpec(
            wantsInput: streams.stdin, wantsOutput: streams.stdout, wantsErrors: streams.stderr)
        do throws(RuntimeFailure) {
            let running = try await runtime.attach(podUID: pod.uid, id: run.id, spec)
            return CommandSession(running, hasInput: streams.stdin, hasTerminal: false, isAttached: true)
        } catch {
            throw .internalError("attach to container \"\(container)\" of pod \"\(pod.name)\": \(error)")
        }
    }

    package func connect(pod: KubeObject, port: Int) async throws(APIFailure) -> any PodConnection {
        guard let number = UInt16(exactly: port), number > 0 else {
            throw .badRequest("pod \"\(pod.name)\": \(port) is not a port from 1 to 65535")
        }
        guard let sandbox = try await sandbox(of: pod), sandbox.isRunning else {
            throw .badRequest("pod \"\(pod.name)\" is not running on node \"\(configuration.name)\"")
        }
        let namespace = sandbox.networkNamespace.isEmpty ? nil : sandbox.networkNamespace
        do throws(SystemCallFailed) {
            return try await PodSocket(to: IPv4Address(127, 0, 0, 1), port: number, in: namespace)
        } catch {
            // Many apps listen on the pod's own address only.
            if error.code == ECONNREFUSED, let address = pod.status["podIP"]?.string.flatMap(IPv4Address.init),
                let connection = try? await PodSocket(to: address, port: number, in: namespace)
            {
                return connection
            }
            throw .internalError("error forwarding port \(port) to pod \"\(pod.name)\", \(error)")
        }
    }

    package func usage(ofNode name: String) async throws(APIFailure) -> NodeUsage {
        do throws(RuntimeFailure) { return try await meter.usage() } catch {
            throw .internalError("node \(configuration.name): what its pods use cannot be read: \(error)")
        }
    }

    private nonisolated func running(_ pod: KubeObject, _ container: String) async throws(APIFailure)
        -> ContainerStatus?
    {
        let runs = try await sandbox(of: pod)?.containers.filter { $0.name == container && $0.state == .running } ?? []
        return runs.max { $0.attempt < $1.attempt }
    }

    private nonisolated func describe(_ pod: KubeObject, _ container: String) throws(APIFailure) -> PodDescription {
        let description = PodDescription(pod)
        if description.container(named: container) == nil {
            throw .badRequest("container \(container) is not valid for pod \(pod.name)")
        }
        return description
    }

    private nonisolated func sandbox(of pod: KubeObject) async throws(APIFailure) -> SandboxStatus? {
        do throws(RuntimeFailure) { return try await runtime.sandbox(podUID: pod.uid) } catch {
            throw .internalError("node \(configuration.name), pod \"\(pod.name)\": \(error)")
        }
    }
}

extension PodDescription {
    fileprivate func state(of container: String) -> JSON? {
        statuses.first { $0["name"]?.string == container }?["state"]
    }
}
