import CKernel
import Glibc

/// A step between clone and exec that failed.
package struct StartFailed: Error, Sendable {
    package let step: StartStep
    package let code: CInt
    package let subject: String
    package init(step: StartStep, code: CInt, subject: String) {
        self.step = step
        self.code = code
        self.subject = subject
    }
}

/// The steps of a start in order, as `enum weft_step` numbers them.
package enum StartStep: Int32, Sendable {
    case none = 0, clone, cgroup, namespace, root, mount, device, mask, hostname, oomScore, terminal, descriptors,
        directory, identity
    case capabilities, exec
}

/// The start of a pod's supervisor: first process of new namespaces, in a network namespace that is there.
package struct SupervisorStart: Sendable {
    package var program: String
    package var arguments: [String]
    package var hostname: String
    package var network: CInt
    package var cgroups: [CInt] = []
    package var usesMachineProcesses = false
    package var usesMachineIPC = false
    /// Become 0, 1, 2, …
    package var descriptors: [CInt] = []

    package init(program: String, arguments: [String], hostname: String, network: CInt) {
        self.program = program
        self.arguments = arguments
        self.hostname = hostname
        self.network = network
    }

    /// Blocks the calling thread, for a millisecond or two, until the program runs. The pidfd is the caller's.
    package func run() throws(StartFailed) -> (pid: Int32, pidfd: CInt) {
        var arguments = arguments.map { strdup($0) }
        arguments.append(nil)
        defer { for text in arguments { free(text) } }
        let program = strdup(program)
        let hostname = strdup(hostname)
        defer {
            free(program)
            free(hostname)
        }
        let paths: [UnsafePointer<CChar>?] = [UnsafePointer(program), nil]
        let environment: [UnsafeMutablePointer<CChar>?] = [nil]

        var start = weft_start()
        start.namespaces = weft_new_mounts | weft_new_hostname
        if !usesMachineProcesses { start.namespaces |= weft_new_processes }
        if !usesMachineIPC { start.namespaces |= weft_new_ipc }
        start.network = network
        start.joined = -1
        start.root = -1
        start.terminal_socket = -1
        start.hostname = UnsafePointer(hostname)
        // The pod's containers go first when memory ends: without their supervisor nobody could tell why.
        start.sets_oom_score = 1
        start.oom_score = -900
        var fault = weft_fault()
        var pidfd: CInt = -1
        let pid = cgroups.withUnsafeBufferPointer { cgroups in
            descriptors.withUnsafeBufferPointer { descriptors in
                paths.withUnsafeBufferPointer { paths in
                    arguments.withUnsafeBufferPointer { arguments in
                        environment.withUnsafeBufferPointer { environment in
                            start.cgroups = cgroups.baseAddress
                            start.cgroup_count = cgroups.count
                            start.descriptors = descriptors.baseAddress
                            start.descriptor_count = descriptors.count
                            start.paths = paths.baseAddress
                            start.arguments = arguments.baseAddress
                            start.environment = environment.baseAddress
                            return weft_start(&start, &pidfd, &fault)
                        }
                    }
                }
            }
        }
        guard pid > 0 else {
            let subject = withUnsafeBytes(of: &fault.subject) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            throw StartFailed(step: StartStep(rawValue: fault.step) ?? .none, code: fault.error, subject: subject)
        }
        return (pid, pidfd)
    }
}
