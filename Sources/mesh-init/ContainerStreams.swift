import CKernel
import CLinux

/// Both ends of a container's standard streams: pipes, or a terminal of its own, whose master comes out of the start.
struct ContainerStreams: ~Copyable {
    /// Become 0, 1 and 2 of the container; none of them with a terminal.
    private(set) var theirs: [CInt] = []
    /// Where the start sends the terminal's master; -1 without one.
    private(set) var theirSocket: CInt = -1
    private var ourSocket: CInt = -1
    /// What is written here the container reads; -1 when its input is empty.
    private(set) var input: CInt = -1
    private(set) var output: CInt = -1
    private(set) var errors: CInt = -1

    init(_ request: StreamsRequest) throws(SupervisionFailure) {
        var ends: [CInt] = [-1, -1]
        if request.hasTerminal {
            guard weft_socket_pair(&ends) == 0 else { throw Self.fault() }
            (ourSocket, theirSocket) = (ends[0], ends[1])
            return
        }
        // Our own standard input is /dev/null.
        var first: CInt = 0
        if request.keepsInput {
            guard weft_blocking_pipe(&ends) == 0 else { throw Self.fault() }
            (first, input) = (ends[0], ends[1])
        }
        theirs.append(first)
        guard weft_log_pipe(&ends) == 0 else { throw Self.fault() }
        output = ends[0]
        theirs.append(ends[1])
        guard weft_log_pipe(&ends) == 0 else { throw Self.fault() }
        errors = ends[0]
        theirs.append(ends[1])
    }

    private static func fault() -> SupervisionFailure {
        SupervisionFailure(step: 11, code: weft_errno(), subject: [UInt8](ascii: "streams of the container"))
    }

    /// The container runs. What is ours has another owner from here on.
    mutating func hand(keepsInput: Bool) -> (input: CInt, output: CInt, errors: CInt) {
        if ourSocket >= 0 {
            var byte: UInt8 = 0
            var master: CInt = -1
            var count = 1
            // It was sent before the program was executed, which the start waited for.
            if weft_receive(ourSocket, &byte, 1, &master, &count, 0x40) == 1, count == 1 {
                _ = weft_do_not_wait(master)
                output = master
                if keepsInput { input = weft_duplicate(master) }
            }
        }
        let ours = (input, output, errors)
        (input, output, errors) = (-1, -1, -1)
        return ours
    }

    deinit {
        for descriptor in theirs where descriptor > 0 { close(descriptor) }
        for descriptor in [theirSocket, ourSocket, input, output, errors] where descriptor >= 0 { close(descriptor) }
    }
}
