import CKernel
import Glibc
import Kernel
import KubeClient
import KubeTypes
import Testing
import Wire

@testable import ServiceNetwork

@Suite struct DNSServerTests {
    /// Services of each kind, asked from a pod of the other node.
    private static func withServices(_ body: (LiveCluster, _ place: String) async throws -> Void) async throws {
        try await LiveCluster.with(nodes: 2) { live in
            live.put(
                Manifest.service(
                    "web", address: "10.96.3.4",
                    ports: [Manifest.port(80, name: "http"), Manifest.port(53, name: "dns", "UDP")]))
            live.put(Manifest.service("db", address: "None", ports: [Manifest.port(5432, name: "sql")]))
            live.put(
                slice: Manifest.slice(
                    "db", ports: [Manifest.port(5432, name: "sql")],
                    [Manifest.endpoint("10.244.1.50", hostname: "db-0"), Manifest.endpoint("10.244.2.50")]))
            live.put(
                Manifest.service(
                    "out", address: nil, ports: [], ["type": "ExternalName", "externalName": "www.example.com"]))
            live.put(Manifest.service("many", address: "None", ports: []))
            live.put(slice: Manifest.slice("many", ports: [], (1...120).map { Manifest.endpoint("10.244.9.\($0)") }))
            live.api.seed(.pods, Manifest.pod("p", address: "10.244.1.77"))
            let pod = try await live.cluster.pod("asker", on: 2)
            let ready = try await live.eventually({
                try await Dig.ask("web.demo.svc.cluster.local", "A", in: pod.namespace)
            }) { $0.status == "NOERROR" }
            #expect(ready.status == "NOERROR")
            try await body(live, pod.namespace)
        }
    }

    @Test("dig finds each kind of record")
    func records() async throws {
        try await Self.withServices { (_, place) async throws in
            func answers(_ name: String, _ type: String) async throws -> [String] {
                try await Dig.ask(name, type, in: place).answers
            }
            let web = "web.demo.svc.cluster.local."
            #expect(try await answers("web.demo.svc.cluster.local", "A") == ["\(web) A 10.96.3.4"])
            let srv = try await Dig.ask("_http._tcp.web.demo.svc.cluster.local", "SRV", in: place)
            #expect(srv.answers == ["_http._tcp.\(web) SRV 0 100 80 \(web)"])
            #expect(srv.additionals == ["\(web) A 10.96.3.4"])
            #expect(srv.flags.isSuperset(of: ["qr", "aa"]))
            #expect(try await answers("-x 10.96.3.4", "") == ["4.3.96.10.in-addr.arpa. PTR \(web)"])
            #expect(
                try await answers("db.demo.svc.cluster.local", "A") == [
                    "db.demo.svc.cluster.local. A 10.244.1.50", "db.demo.svc.cluster.local. A 10.244.2.50",
                ])
            #expect(
                try await answers("db-0.db.demo.svc.cluster.local", "A") == [
                    "db-0.db.demo.svc.cluster.local. A 10.244.1.50"
                ])
            #expect(try await answers("_sql._tcp.db.demo.svc.cluster.local", "SRV").count == 2)
            #expect(
                try await answers("-x 10.244.1.50", "") == [
                    "50.1.244.10.in-addr.arpa. PTR db-0.db.demo.svc.cluster.local."
                ])
            #expect(
                try await answers("out.demo.svc.cluster.local", "A") == [
                    "out.demo.svc.cluster.local. CNAME www.example.com."
                ])
            #expect(
                try await answers("10-244-1-77.demo.pod.cluster.local", "A") == [
                    "10-244-1-77.demo.pod.cluster.local. A 10.244.1.77"
                ])
            #expect(
                try await answers("-x 10.244.1.77", "") == [
                    "77.1.244.10.in-addr.arpa. PTR 10-244-1-77.demo.pod.cluster.local."
                ])
            #expect(
                try await answers("dns-version.cluster.local", "TXT") == ["dns-version.cluster.local. TXT \"1.1.0\""])
            #expect(try await answers("cluster.local", "NS") == ["cluster.local. NS ns.dns.cluster.local."])
            #expect(try await answers("cluster.local", "SOA").count == 1)
        }
    }

    @Test("dig sees what is absent, empty, and not ours to answer")
    func absent() async throws {
        try await Self.withServices { (_, place) async throws in
            #expect(try await Dig.ask("nobody.demo.svc.cluster.local", "A", in: place).status == "NXDOMAIN")
            let empty = try await Dig.ask("web.demo.svc.cluster.local", "AAAA", in: place)
            #expect(empty.status == "NOERROR")
            #expect(empty.answers.isEmpty)
            #expect(try await Dig.ask("www.example.com", "A", in: place).status == "REFUSED")
            #expect(try await Dig.ask("cluster.local", "AXFR", "+tcp", in: place).answers.isEmpty)
            #expect(
                try await Dig.ask("web.demo.svc.cluster.local", "A", "+edns=1 +noednsneg", in: place).status
                    == "BADVERS")
        }
    }

    @Test("an answer too long for UDP is cut and comes whole over TCP")
    func truncation() async throws {
        try await Self.withServices { (_, place) async throws in
            let name = "many.demo.svc.cluster.local"
            let cut = try await Dig.ask(name, "A", "+noedns +ignore", in: place)
            #expect(cut.flags.contains("tc"))
            #expect((20...31).contains(cut.answers.count), "\(cut.answers.count)")
            let larger = try await Dig.ask(name, "A", "+bufsize=4096 +ignore", in: place)
            #expect(larger.flags.contains("tc"))
            #expect(larger.answers.count > cut.answers.count)
            let whole = try await Dig.ask(name, "A", "+noedns", in: place)
            #expect(whole.answers.count == 120)
            #expect(
                try await Dig.ask("web.demo.svc.cluster.local", "A", "+tcp +keepopen", in: place).answers.count == 1)
        }
    }

    @Test("names follow their services")
    func changes() async throws {
        try await Self.withServices { (live, place) async throws in
            live.put(Manifest.service("late", address: "10.96.3.5", ports: []))
            let late = try await live.eventually({ try await Dig.ask("late.demo.svc.cluster.local", "A", in: place) }) {
                !$0.answers.isEmpty
            }
            #expect(late.answers == ["late.demo.svc.cluster.local. A 10.96.3.5"])
            try await live.api.delete(.services, ObjectKey(namespace: "demo", name: "late"))
            let gone = try await live.eventually({ try await Dig.ask("late.demo.svc.cluster.local", "A", in: place) }) {
                $0.status == "NXDOMAIN"
            }
            #expect(gone.status == "NXDOMAIN")
        }
    }

    @Test("rubbish, and connections that say nothing or half, do not keep the server from answering")
    func rubbish() async throws {
        try await Self.withServices { (_, place) async throws in
            let server = IPv4Address(10, 96, 0, 10)
            try await NetworkNamespace.perform(in: place) { () throws(SystemCallFailed) in
                var random = SystemRandomNumberGenerator()
                let socket = try NamespaceSocket.bindDatagram(IPv4Address(0, 0, 0, 0), port: 0, inNamespace: nil)
                let number = socket.number
                for _ in 0..<3000 {
                    let bytes = (0..<Int.random(in: 0...90, using: &random)).map { _ in
                        UInt8.random(in: 0...255, using: &random)
                    }
                    _ = withSocketAddress(server, 53) { sendto(number, bytes, bytes.count, 0, $0, $1) }
                }
            }
            // More than the server keeps: none of them says a whole word.
            var silent: [CInt] = []
            defer { for number in silent { close(number) } }
            for index in 0..<300 {
                let socket = try NamespaceSocket.connect(to: server, port: 53, inNamespace: place).release()
                silent.append(socket)
                var waiting = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
                #expect(poll(&waiting, 1, 60_000) == 1)
                if index % 2 == 0 { _ = send(socket, [0xff, 0xff, 1] as [UInt8], 3, CInt(MSG_NOSIGNAL)) }
            }
            #expect(try await Dig.ask("web.demo.svc.cluster.local", "A", in: place).answers.count == 1)
            #expect(try await Dig.ask("web.demo.svc.cluster.local", "A", "+tcp", in: place).answers.count == 1)
        }
    }

    @Test(
        "before the API answers, absent names fail instead of being denied; a new server takes over the old one's place"
    )
    func restart() async throws {
        try await TestCluster.with(nodes: 1) { cluster in
            let addresses = cluster.fabric.addresses
            let domain = try #require(DNSName("cluster.local"))
            let place = cluster.namespace(1)
            for round in 0..<2 {
                let zone = DNSZone(domain: domain, server: addresses.dns, ranges: [addresses.services])
                let server = try DNSServer.start(zone, at: [addresses.dns], inNamespace: place)
                #expect(
                    try await Dig.ask("x.demo.svc.cluster.local", "A", "+tcp", in: place).status == "SERVFAIL",
                    "round \(round)")
                server.change { $0.isComplete = true }
                #expect(try await Dig.ask("x.demo.svc.cluster.local", "A", in: place).status == "NXDOMAIN")
                server.stop()
                server.stop()
            }
        }
    }
}
