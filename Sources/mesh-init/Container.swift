import CKernel
import CLinux

/// A container, running or ended and not yet forgotten.
final class Container {
    let request: StartRequest
    let pid: pid_t
    /// -1 after its end.
    var pidfd: CInt
    let outOfMemoryCounter: CInt
    var log: ContainerLog?
    var state = SupervisedState()
    /// When SIGKILL follows, in steady milliseconds.
    var deadline: Int64?
    var stopping: [Client] = []
    /// What is written here it reads; -1 when its input is empty or has ended.
    var input: CInt = -1

    init(request: StartRequest, pid: pid_t, pidfd: CInt, outOfMemoryCounter: CInt, log: ContainerLog) {
        self.request = request
        self.pid = pid
        self.pidfd = pidfd
        self.outOfMemoryCounter = outOfMemoryCounter
        self.log = log
    }

    /// The client that wrote its input has no more, or has gone.
    func endInput() {
        guard request.streams.endsInputOnce, input >= 0 else { return }
        if request.streams.hasTerminal {
            // The end of a terminal's input is a character, as a person would type it.
            _ = write(input, [4], 1)
        } else {
            closeInput()
        }
    }

    func closeInput() {
        if input >= 0 { close(input) }
        input = -1
    }
}

/// A process executed in a container for a client.
final class Execution {
    let pid: pid_t
    let pidfd: CInt
    var client: Client?

    init(pid: pid_t, pidfd: CInt, client: Client) {
        self.pid = pid
        self.pidfd = pidfd
        self.client = client
    }
}
