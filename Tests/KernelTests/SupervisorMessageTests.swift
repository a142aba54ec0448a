import Kernel
import Testing

@Suite("Messages between the runtime and mesh-init")
struct SupervisorMessageTests {
    private var request: StartRequest {
        var request = StartRequest()
        request.id = Array("app-0".utf8)
        request.cgroups = 3
        request.listeners = 1
        var mount = PlannedMount(.descriptor, target: Array("/vol".utf8))
        mount.isFile = true
        mount.attributes = 5
        request.mounts = [mount, PlannedMount(.sharedMemory, target: Array("/dev/shm".utf8))]
        request.masked = [Array("/proc/kcore".utf8)]
        request.oomScore = -5
        request.identity.groups = [1, 2, 3]
        request.identity.capabilities = 1 << 40
        request.arguments = [Array("sh".utf8), []]
        request.environment = [Array("A=b".utf8)]
        return request
    }

    @Test("a start request comes out as it went in")
    func roundTrip() throws {
        let read = try StartRequest(request.bytes)
        #expect(read.bytes == request.bytes)
        #expect(
            read.oomScore == -5 && read.identity.groups == [1, 2, 3] && read.mounts[0].isFile
                && read.arguments.count == 2)
        #expect(read.descriptors == 3 + 3 + 1 + 1)
    }

    @Test("a message cut anywhere is refused, and so is one with more behind it")
    func truncated() {
        let bytes = request.bytes
        for length in 0..<bytes.count {
            #expect(throws: MessageFault.self) { try StartRequest(Array(bytes[..<length])) }
        }
        #expect(throws: MessageFault.self) { try StartRequest(bytes + [0]) }
    }

    @Test("no bytes make the reader trap or allocate beyond them")
    func garbage() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<5000 {
            var bytes = request.bytes
            for _ in 0..<4 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            _ = try? StartRequest(bytes)
            _ = try? ExecuteRequest(bytes)
            _ = try? SupervisedState(bytes)
            _ = try? SignalRequest(bytes)
        }
    }

    @Test("a header says magic, version and sizes, and refuses others")
    func header() throws {
        let header = MessageHeader(kind: .execute, descriptors: 3, length: 1000)
        #expect(header.bytes.count == MessageHeader.size)
        let read = try MessageHeader(header.bytes)
        #expect(read.kind == .execute && read.descriptors == 3 && read.length == 1000)
        for place in [0, 2, 5] {
            var bytes = header.bytes
            bytes[place] = 0xFF
            #expect(throws: MessageFault.self) { try MessageHeader(bytes) }
        }
        #expect(throws: MessageFault.self) {
            try MessageHeader(MessageHeader(kind: .start, descriptors: 0, length: 5 << 20).bytes)
        }
    }
}
