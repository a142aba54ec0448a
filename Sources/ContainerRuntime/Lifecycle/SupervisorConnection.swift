import CKernel
import Glibc
import Kernel

/// A connection to a pod's supervisor. Calls block the thread for as long as the supervisor takes, at most half a minute.
final class SupervisorConnection: Sendable {
    struct Answer {
        var kind: SupervisorMessageKind
        var body: [UInt8]
        /// The receiver's to close.
        var descriptors: [CInt]
    }

    enum Broken: Error {
        /// The supervisor is not there, or went away.
        case ended
        case failed(SupervisionFailure)
    }

    let descriptor: CInt

    init(podDirectory: String) throws(Broken) {
        let directory = open(podDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw .ended }
        defer { close(directory) }
        let socket = weft_connect_at(directory, "init.sock")
        guard socket >= 0 else { throw .ended }
        descriptor = socket
        _ = weft_set_receive_timeout(descriptor, 30)
    }

    deinit { close(descriptor) }

    func send(_ kind: SupervisorMessageKind, _ body: [UInt8], descriptors: [CInt] = []) throws(Broken) {
        let whole = MessageHeader(kind: kind, descriptors: descriptors.count, length: body.count).bytes + body
        var done = 0
        while done < whole.count {
            let sent = whole.withUnsafeBytes { bytes in
                weft_send(
                    descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, descriptors,
                    done == 0 ? descriptors.count : 0, 0)
            }
            guard sent > 0 else { throw .ended }
            done += sent
        }
    }

    func receive() throws(Broken) -> Answer {
        var descriptors: [CInt] = []
        do throws(Broken) {
            let header = try exactly(MessageHeader.size, &descriptors)
            let facts: MessageHeader
            do throws(MessageFault) { facts = try MessageHeader(header) } catch { throw .ended }
            let body = try exactly(facts.length, &descriptors)
            guard descriptors.count == facts.descriptors else { throw .ended }
            return Answer(kind: facts.kind, body: body, descriptors: descriptors)
        } catch {
            for descriptor in descriptors { close(descriptor) }
            throw error
        }
    }

    private func exactly(_ count: Int, _ descriptors: inout [CInt]) throws(Broken) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            var arrived = [CInt](repeating: -1, count: MessageHeader.mostDescriptors)
            var arrivedCount = arrived.count
            let got = bytes.withUnsafeMutableBytes { space in
                weft_receive(descriptor, space.baseAddress.map { $0 + done }, count - done, &arrived, &arrivedCount, 0)
            }
            guard got > 0 else { throw .ended }
            descriptors += arrived[..<arrivedCount]
            done += got
        }
        return bytes
    }

    /// One request and its answer; `failed` answers are thrown.
    func call(_ kind: SupervisorMessageKind, _ body: [UInt8], descriptors: [CInt] = []) throws(Broken) -> Answer {
        try send(kind, body, descriptors: descriptors)
        let answer = try receive()
        guard answer.kind == .failed else { return answer }
        for descriptor in answer.descriptors { close(descriptor) }
        guard let failure = try? SupervisionFailure(answer.body) else { throw .ended }
        throw .failed(failure)
    }

    /// The supervisor's pid, its pidfd, and all it knows of containers.
    struct Listing {
        var pidfd: OwnedPidfd
        var containers: [(state: SupervisedState, pid: Int)]
    }

    func list(_ kind: SupervisorMessageKind = .list) throws(Broken) -> Listing {
        let answer = try call(kind, [])
        var pidfds = answer.descriptors.map { OwnedPidfd(taking: $0) }
        guard !pidfds.isEmpty, answer.kind == .states else { throw .ended }
        let own = pidfds.removeFirst()
        var containers: [(SupervisedState, Int)] = []
        do throws(MessageFault) {
            var reader = MessageReader(answer.body)
            for _ in 0..<(try reader.count(atLeast: 30)) {
                let state = try SupervisedState(from: &reader)
                containers.append((state, state.isRunning && !pidfds.isEmpty ? pidfds.removeFirst().pid : 0))
            }
        } catch { throw .ended }
        return Listing(pidfd: own, containers: containers)
    }
}

/// A reference to a process that never becomes one to another process.
final class OwnedPidfd: Sendable {
    let number: CInt
    init(taking number: CInt) { self.number = number }
    deinit { close(number) }

    /// In our own pid namespace; 0 when the process has been reaped, or lives elsewhere.
    var pid: Int {
        guard let bytes = try? SmallFile.read("/proc/self/fdinfo/\(number)") else { return 0 }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("Pid:") {
            return max(0, Int(line.dropFirst(4).drop { $0 == "\t" || $0 == " " }) ?? 0)
        }
        return 0
    }

    func kill() { _ = weft_pidfd_signal(number, SIGKILL) }

    /// Waits for the end and, when it is our child, reaps it. False when it still runs after `milliseconds`.
    func waitEnded(milliseconds: Int) -> Bool {
        guard weft_wait_ended(number, CInt(milliseconds)) == 1 else { return false }
        _ = weft_reap_pidfd(number)
        return true
    }
}
