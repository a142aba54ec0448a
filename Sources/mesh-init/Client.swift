import CKernel
import CLinux

/// `MSG_DONTWAIT`.
private let doNotWait: CInt = 0x40

/// A connection to the control socket. It never makes the supervisor wait: a client that does not read is dropped.
final class Client {
    let descriptor: CInt
    private var bytes: [UInt8] = []
    private var descriptors: [CInt] = []
    var watches = false

    init(descriptor: CInt) { self.descriptor = descriptor }

    struct Message {
        var kind: SupervisorMessageKind
        var body: [UInt8]
        var descriptors: [CInt]
    }

    enum Reading {
        case message(Message)
        case nothing
        case ended
    }

    /// Reads once; false when the connection is over.
    func fill(using space: UnsafeMutableRawBufferPointer) -> Bool {
        var arrived = [CInt](repeating: -1, count: MessageHeader.mostDescriptors)
        var count = arrived.count
        let received = weft_receive(descriptor, space.baseAddress, space.count, &arrived, &count, doNotWait)
        let code = weft_errno()
        if received < 0 { return code == weft_try_again }
        descriptors += arrived[..<count]
        bytes += space[..<received]
        return received > 0 && descriptors.count <= 2 * MessageHeader.mostDescriptors
    }

    /// The next whole message of what was read.
    func next() -> Reading {
        guard bytes.count >= MessageHeader.size else { return .nothing }
        do throws(MessageFault) {
            let header = try MessageHeader(Array(bytes[..<MessageHeader.size]))
            let end = MessageHeader.size + header.length
            guard bytes.count >= end else { return .nothing }
            guard descriptors.count >= header.descriptors else { return .ended }
            let message = Message(
                kind: header.kind, body: Array(bytes[MessageHeader.size..<end]),
                descriptors: Array(descriptors[..<header.descriptors]))
            bytes.removeFirst(end)
            descriptors.removeFirst(header.descriptors)
            if bytes.isEmpty { bytes = [] }
            return .message(message)
        } catch {
            return .ended
        }
    }

    /// False when the client took no more: it is to be dropped.
    func send(_ kind: SupervisorMessageKind, _ body: [UInt8], descriptors: [CInt] = []) -> Bool {
        let whole = MessageHeader(kind: kind, descriptors: descriptors.count, length: body.count).bytes + body
        return weft_send(descriptor, whole, whole.count, descriptors, descriptors.count, doNotWait) == whole.count
    }

    func end() {
        for descriptor in descriptors { close(descriptor) }
        close(descriptor)
    }
}
