import Kernel
import KubeTypes
import Testing
import Wire

@testable import ServiceNetwork

@Suite struct DNSZoneTests {
    private var zone: DNSZone

    init() throws {
        zone = DNSZone(
            domain: try #require(DNSName("cluster.local")), server: IPv4Address(10, 96, 0, 10),
            ranges: ["10.96.0.0/16", "10.244.0.0/16"].compactMap(IPv4Range.init))
        zone.isComplete = true
        let web = ServiceModel(
            Manifest.service(
                "web", address: "10.96.3.4",
                ports: [Manifest.port(80, name: "http"), Manifest.port(53, name: "dns", "UDP")]))
        zone.set(service: web.key, web, [])
        let database = ServiceModel(Manifest.service("db", address: "None", ports: [Manifest.port(5432, name: "sql")]))
        let slice = SliceModel(
            Manifest.slice(
                "db", ports: [Manifest.port(5432, name: "sql")],
                [
                    Manifest.endpoint("10.244.1.5", hostname: "db-0"), Manifest.endpoint("10.244.2.5"),
                    Manifest.endpoint("10.244.2.6", conditions: ["ready": false]),
                ]))
        zone.set(service: database.key, database, [slice])
        let outside = ServiceModel(
            Manifest.service(
                "out", address: nil, ports: [], ["type": "ExternalName", "externalName": "www.example.com"]))
        zone.set(service: outside.key, outside, [])
        let alias = ServiceModel(
            Manifest.service(
                "alias", address: nil, ports: [],
                ["type": "ExternalName", "externalName": "web.demo.svc.cluster.local"]))
        zone.set(service: alias.key, alias, [])
        zone.set(pod: ObjectKey(namespace: "demo", name: "p"), [IPv4Address(10, 244, 1, 77)])
        zone.set(pod: ObjectKey(namespace: "demo", name: "db-0"), [IPv4Address(10, 244, 1, 5)])
    }

    private func ask(_ name: String, _ type: DNSType) throws -> DNSAnswer {
        zone.answer(DNSQuestion(name: try #require(DNSName(name)), type: type))
    }
    private func data(_ name: String, _ type: DNSType) throws -> Set<DNSData> {
        Set(try ask(name, type).answers.map(\.data))
    }
    private func name(_ text: String) throws -> DNSName { try #require(DNSName(text)) }

    @Test("a service with an address has A, SRV for each named port with the address beside it, and PTR")
    func cluster() throws {
        let web = try name("web.demo.svc.cluster.local")
        #expect(try data("WEB.demo.svc.Cluster.local", .a) == [.a(0x0a60_0304)])
        #expect(
            try ask("WEB.demo.svc.cluster.local", .a).answers[0].name.description.hasPrefix("WEB"), "the asker's case")
        let srv = try ask("_http._tcp.web.demo.svc.cluster.local", .srv)
        #expect(srv.answers.map(\.data) == [.srv(DNSService(weight: 100, port: 80, target: web))])
        #expect(srv.additionals.map(\.data) == [.a(0x0a60_0304)])
        #expect(try data("_dns._udp.web.demo.svc.cluster.local", .srv).count == 1)
        #expect(try data("4.3.96.10.in-addr.arpa", .ptr) == [.ptr(web)])
    }

    @Test("a headless service has its ready endpoints' addresses, names, SRV and PTR")
    func headless() throws {
        #expect(try data("db.demo.svc.cluster.local", .a) == [.a(0x0af4_0105), .a(0x0af4_0205)])
        #expect(try data("db-0.db.demo.svc.cluster.local", .a) == [.a(0x0af4_0105)])
        #expect(try data("10-244-2-5.db.demo.svc.cluster.local", .a) == [.a(0x0af4_0205)])
        #expect(
            try data("_sql._tcp.db.demo.svc.cluster.local", .srv) == [
                .srv(DNSService(weight: 50, port: 5432, target: try name("db-0.db.demo.svc.cluster.local"))),
                .srv(DNSService(weight: 50, port: 5432, target: try name("10-244-2-5.db.demo.svc.cluster.local"))),
            ])
        #expect(try data("5.1.244.10.in-addr.arpa", .ptr) == [.ptr(try name("db-0.db.demo.svc.cluster.local"))])
        #expect(try ask("6.2.244.10.in-addr.arpa", .ptr).code == .noSuchName, "not ready")
    }

    @Test("external names are CNAMEs, followed while they stay in the cluster")
    func external() throws {
        let out = try ask("out.demo.svc.cluster.local", .a)
        #expect(out.code == .noError)
        #expect(out.answers.map(\.data) == [.cname(try name("www.example.com"))])
        let alias = try ask("alias.demo.svc.cluster.local", .a)
        #expect(alias.answers.map(\.data) == [.cname(try name("web.demo.svc.cluster.local")), .a(0x0a60_0304)])
    }

    @Test("pods have records by their addresses, and the version is told")
    func pods() throws {
        #expect(try data("10-244-1-77.demo.pod.cluster.local", .a) == [.a(0x0af4_014d)])
        #expect(try ask("10-244-1-78.demo.pod.cluster.local", .a).code == .noSuchName)
        #expect(try data("77.1.244.10.in-addr.arpa", .ptr) == [.ptr(try name("10-244-1-77.demo.pod.cluster.local"))])
        #expect(try data("dns-version.cluster.local", .txt) == [.txt([Array("1.1.0".utf8)])])
        #expect(try data("cluster.local", .ns) == [.ns(try name("ns.dns.cluster.local"))])
    }

    @Test("a name that is not there, one without such records, and one that is not ours, are told apart")
    func absent() throws {
        let absent = try ask("nobody.demo.svc.cluster.local", .a)
        #expect(absent.code == .noSuchName)
        #expect(absent.authorities.map(\.type) == [.soa])
        for present in [
            "web.demo.svc.cluster.local", "demo.svc.cluster.local", "_tcp.web.demo.svc.cluster.local",
            "svc.cluster.local",
        ] {
            let empty = try ask(present, .aaaa)
            #expect(empty.code == .noError, "\(present) exists")
            #expect(empty.answers.isEmpty)
            #expect(empty.authorities.map(\.type) == [.soa])
        }
        #expect(try ask("example.com", .a).code == .refused)
        #expect(try ask("1.2.168.192.in-addr.arpa", .ptr).code == .refused)
    }

    @Test("what changes or goes takes its names along, and only those")
    func changes() throws {
        var changed = self
        let key = ObjectKey(namespace: "demo", name: "web")
        let moved = ServiceModel(
            Manifest.service("web", address: "10.96.9.9", ports: [Manifest.port(80, name: "http")]))
        changed.zone.set(service: key, moved, [])
        #expect(try changed.data("web.demo.svc.cluster.local", .a) == [.a(0x0a60_0909)])
        #expect(try changed.ask("4.3.96.10.in-addr.arpa", .ptr).code == .noSuchName)
        #expect(try changed.ask("_dns._udp.web.demo.svc.cluster.local", .srv).code == .noSuchName)
        changed.zone.set(service: key, nil, [])
        #expect(try changed.ask("web.demo.svc.cluster.local", .a).code == .noSuchName)
        changed.zone.set(service: ObjectKey(namespace: "demo", name: "db"), nil, [])
        #expect(
            try changed.data("5.1.244.10.in-addr.arpa", .ptr) == [.ptr(try name("10-244-1-5.demo.pod.cluster.local"))],
            "the pod's own name is left")
        for service in ["out", "alias"] {
            changed.zone.set(service: ObjectKey(namespace: "demo", name: service), nil, [])
        }
        #expect(try changed.ask("demo.svc.cluster.local", .a).code == .noSuchName, "nothing is below it any more")
    }

    @Test("before the API was heard, an absent name is a failure, not a lie to be remembered")
    func incomplete() throws {
        var early = self
        early.zone.isComplete = false
        #expect(try early.ask("nobody.demo.svc.cluster.local", .a).code == .serverFailure)
        #expect(try early.data("web.demo.svc.cluster.local", .a).count == 1)
    }

    @Test("several addresses are given in turns")
    func turns() throws {
        let question = DNSQuestion(name: try name("db.demo.svc.cluster.local"), type: .a)
        let firsts = (0..<4).map { zone.answer(question, turn: $0).answers[0].data }
        #expect(Set(firsts).count == 2)
    }

    @Test("odd messages get the answer the RFCs name, or silence")
    func odd() throws {
        func respond(_ message: DNSMessage) throws -> DNSMessage {
            let bytes = DNSResponder.respond(to: message.composed(), overTCP: false) { zone.answer($0) }
            return try DNSMessage(parsing: try #require(bytes))
        }
        let web = try name("web.demo.svc.cluster.local")
        var query = DNSMessage.query(id: 9, web, .a)
        query.opcode = 4
        #expect(try respond(query).code == .notImplemented)
        query = .query(id: 9, web, .a)
        query.questions.append(query.questions[0])
        #expect(try respond(query).code == .formatError)
        query = .query(id: 9, web, .a)
        query.extensions = DNSExtensions(payloadSize: 4096)
        query.extensions?.version = 1
        #expect(try respond(query).code == .badVersion)
        query = .query(id: 9, web, DNSType(rawValue: 252))
        #expect(try respond(query).code == .refused)
        query = .query(id: 9, web, .a)
        query.isResponse = true
        #expect(
            DNSResponder.respond(to: query.composed(), overTCP: false) { zone.answer($0) } == nil,
            "two servers could talk for ever")
        #expect(DNSResponder.respond(to: [1, 2, 3], overTCP: false) { zone.answer($0) } == nil)
        let garbled = DNSResponder.respond(to: [0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff], overTCP: false) {
            zone.answer($0)
        }
        #expect(try DNSMessage(parsing: try #require(garbled)).code == .formatError)
    }
}
