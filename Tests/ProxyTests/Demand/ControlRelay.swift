import CKernel
import Glibc
import Synchronization

@testable import Proxy

/// Stands between a proxy and its control plane, and can hold back what the proxy says.
final class ControlRelay: Sendable {
    let path: String
    private let target: String
    private let door: CInt
    private let isHeld = Atomic<Bool>(false)
    private let rounds = Atomic<Int>(0)
    private let isOver = Atomic<Bool>(false)

    init(to target: String, at path: String) {
        self.path = path
        self.target = target
        door = Self.listen(path)
        spawn { [self] in
            while true {
                let proxy = accept(door, nil, nil)
                if proxy < 0 || isOver.load(ordering: .relaxed) { return }
                let control = weft_connect_unix(self.target)
                if control < 0 {
                    close(proxy)
                    continue
                }
                spawn { [self] in
                    carry(proxy, control)
                    close(proxy)
                    close(control)
                }
            }
        }
    }

    /// What the proxy says stays here until `release`.
    func hold() {
        isHeld.store(true, ordering: .relaxed)
        // A round that began before may still pass something on.
        let begun = rounds.load(ordering: .relaxed)
        _ = eventually { rounds.load(ordering: .relaxed) > begun + 1 }
    }
    func release() { isHeld.store(false, ordering: .relaxed) }

    func end() {
        isOver.store(true, ordering: .relaxed)
        shutdown(door, Int32(SHUT_RDWR))
        close(door)
    }

    private func carry(_ proxy: CInt, _ control: CInt) {
        var space = [UInt8](repeating: 0, count: 65536)
        while !isOver.load(ordering: .relaxed) {
            rounds.add(1, ordering: .relaxed)
            let listens = !isHeld.load(ordering: .relaxed)
            var waiting = [
                pollfd(fd: listens ? proxy : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: control, events: Int16(POLLIN), revents: 0),
            ]
            if poll(&waiting, 2, 5) <= 0 { continue }
            for (place, other) in [control, proxy].enumerated() where waiting[place].revents != 0 {
                let count = read(waiting[place].fd, &space, space.count)
                if count <= 0 || !sendAll(other, Array(space[..<count])) { return }
            }
        }
    }

    private static func listen(_ path: String) -> CInt {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8) + [0]) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = withUnsafePointer(to: &address) { place in
            place.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
        }
        precondition(bound == 0 && Glibc.listen(descriptor, 8) == 0)
        return descriptor
    }
}
