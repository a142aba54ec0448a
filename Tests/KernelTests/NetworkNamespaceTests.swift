import Glibc
import Testing

@testable import Kernel

/// A directory of namespaces that goes away with the test.
private struct Scratch: ~Copyable {
    let directory: String
    init() throws {
        directory = "/tmp/weft-kernel-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        try SmallFile.makeDirectories(directory)
    }
    func path(_ name: String) -> String { "\(directory)/\(name)" }
    deinit {
        for name in ["a", "b"] { try? NetworkNamespace.remove(at: "\(directory)/\(name)") }
        try? NetworkNamespace.removeDirectory(directory)
    }
}

@Suite struct NetworkNamespaceTests {
    @Test("a namespace is made once, entered, and leaves nothing behind")
    func lifecycle() throws {
        let scratch = try Scratch()
        let path = scratch.path("a")
        #expect(try NetworkNamespace.create(at: path))
        #expect(try !NetworkNamespace.create(at: path))
        #expect(NetworkNamespace.exists(at: path))

        let names = try NetworkNamespace.run(in: path) { () throws(SystemCallFailed) in
            try SmallFile.write("1", to: "/proc/sys/net/ipv4/ip_forward")
            return try SmallFile.read("/proc/sys/net/ipv4/ip_forward")
        }
        #expect(names == Array("1\n".utf8))
        var socket = try NetlinkSocket(inNamespace: path)
        #expect(try socket.links().map(\.name).contains("lo"))
        #expect(try socket.link(named: "eth0") == nil)

        try NetworkNamespace.remove(at: path)
        try NetworkNamespace.remove(at: path)
        #expect(access(path, F_OK) != 0)
        let mounts = String(decoding: try SmallFile.read("/proc/self/mountinfo"), as: UTF8.self)
        #expect(!mounts.contains(path))
    }

    @Test("a path that is no namespace is an error naming it, not the machine's network")
    func noNamespace() throws {
        let scratch = try Scratch()
        let path = scratch.path("a")
        try SmallFile.write("", to: path)
        #expect(throws: SystemCallFailed.self) {
            _ = try NamespaceSocket.listen(IPv4Address(127, 0, 0, 1), port: 0, inNamespace: path)
        }
        #expect(throws: SystemCallFailed.self) { try NetworkNamespace.run(in: scratch.path("b")) { 1 } }
        #expect(try NetworkNamespace.create(at: path), "a file left by a crash before the mount is taken over")
    }

    @Test("links, addresses and routes are made through netlink and seen again")
    func links() throws {
        let scratch = try Scratch()
        let (a, b) = (scratch.path("a"), scratch.path("b"))
        try NetworkNamespace.create(at: a)
        try NetworkNamespace.create(at: b)
        var left = try NetlinkSocket(inNamespace: a)
        var right = try NetlinkSocket(inNamespace: b)
        let here = IPv4Range(IPv4Address(10, 9, 0, 1), prefixLength: 24)
        let there = IPv4Address(10, 9, 0, 2)
        let far = try OwnedDescriptor.open(b, flags: O_RDONLY)
        try left.createBridge("br0", hardwareAddress: MACAddress(for: here.address))
        try left.createVeth("v0", peer: "eth0", peerHardwareAddress: MACAddress(for: there), peerNamespace: far)
        #expect(throws: SystemCallFailed.self) {
            try left.createVeth("v0", peer: "eth1", peerHardwareAddress: MACAddress(for: there), peerNamespace: far)
        }
        let bridge = try left.requireLink(named: "br0")
        #expect(bridge.kind == "bridge")
        #expect(bridge.hardwareAddress == MACAddress(for: here.address))
        try left.setMaster(try left.requireLink(named: "v0"), bridge)
        try left.setUp(bridge)
        try left.setUp(try left.requireLink(named: "v0"))
        for _ in 0..<2 { try left.addAddress(here, to: bridge) }
        for _ in 0..<2 { try left.putRoute(Route(IPv4Range(here.base, prefixLength: 24), .link(bridge.index))) }
        #expect(try left.addresses() == [LinkAddress(link: bridge.index, address: here)])
        #expect(try left.requireLink(named: "v0").master == bridge.index)

        let eth0 = try right.requireLink(named: "eth0")
        try right.setUp(eth0)
        try right.addAddress(IPv4Range(there, prefixLength: 32), to: eth0)
        try right.putRoute(
            Route(IPv4Range(IPv4Address(0, 0, 0, 0), prefixLength: 0), .gateway(here.address, link: eth0.index)))

        let listener = try NamespaceSocket.listen(there, port: 0, inNamespace: b)
        let port = NamespaceSocket.localPort(of: listener)
        let client = try NamespaceSocket.connect(to: there, port: port, inNamespace: a)
        var waiting = pollfd(fd: listener.number, events: Int16(POLLIN), revents: 0)
        #expect(poll(&waiting, 1, 60_000) == 1)
        #expect(try NamespaceSocket.accept(listener) != nil)
        _ = consume client

        try left.putRoute(Route(IPv4Range(here.base, prefixLength: 24), .unreachable))
        try left.deleteRoute(to: IPv4Range(here.base, prefixLength: 24))
        try left.deleteLink(named: "v0")
        try left.deleteLink(named: "v0")
        #expect(try right.link(named: "eth0") == nil)
    }

    @Test("an IPv4 address is four plain numbers", arguments: ["10.0.0.1", "0.0.0.0", "255.255.255.255"])
    func addresses(text: String) { #expect(IPv4Address(text)?.description == text) }

    @Test(
        "what is no IPv4 address is refused",
        arguments: ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "1..2.3", "1.2.3.", "a.b.c.d"])
    func notAddresses(text: String) { #expect(IPv4Address(text) == nil) }
}
