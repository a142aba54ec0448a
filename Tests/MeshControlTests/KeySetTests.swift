import Glibc
import Kernel
import Logging
import Synchronization
import Testing

@testable import MeshControl

@Suite struct KeySetTests {
    @Test("an address of keys is taken apart, and a strange one refused")
    func places() {
        #expect(
            KeySetRequest.place("https://issuer.test/keys?x=1#y")
                == .init(isSecure: true, host: "issuer.test", port: 443, path: "/keys?x=1"))
        #expect(
            KeySetRequest.place("http://auth.demo.svc:8080")
                == .init(isSecure: false, host: "auth.demo.svc", port: 8080, path: "/"))
        for address in ["ftp://x/y", "http://", "http://user@x/", "http://x:99999/", "http://x/a b", "http://x\r\n/"] {
            #expect(KeySetRequest.place(address) == nil)
        }
    }

    @Test("what is no set of keys is not one")
    func answers() throws {
        func read(_ text: String) -> String? {
            guard let result = try? KeySetRequest.read(Array(text.utf8)) else { return nil }
            return try? result.get()
        }
        #expect(read("HTTP/1.0 200 OK\r\na: b\r\n\r\n{\"keys\":[]}") == "{\"keys\":[]}")
        for text in [
            "", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 404 No\r\n\r\n{\"keys\":[]}", "HTTP/1.1 200 OK\r\n\r\n<html>",
            "HTTP/1.1 200 OK\r\n\r\n{\"keys\":1}",
        ] { #expect(read(text) == nil) }
    }

    @Test("keys are fetched once they are due, kept while the issuer is away, and told only when they change")
    func fetches() async throws {
        let server = KeyServer()
        let told = Told()
        let fetch = KeySetFetch(Logger(label: "test")) { address, keys in told.add("\(address) \(keys)") }
        let address = "http://keys.demo.svc:\(server.port)/jwks"
        await fetch.look(at: [address], hosts: ["keys.demo.svc": "127.0.0.1"])
        #expect(told.all == ["\(address) {\"keys\":[]}"])
        #expect(server.heads.first?.hasPrefix("GET /jwks HTTP/1.0\r\nHost: keys.demo.svc:") == true)
        await fetch.look(at: [address], hosts: [:])
        #expect(server.heads.count == 1, "not due")
        await fetch.look(at: ["http://127.0.0.1:1/none"], hosts: [:])
        #expect(told.all.count == 1)
        server.stop()
    }
}

private final class Told: Sendable {
    private let state = Mutex<[String]>([])
    func add(_ text: String) { state.withLock { $0.append(text) } }
    var all: [String] { state.withLock { $0 } }
}

/// Answers every connection with a set of keys.
private final class KeyServer: Sendable {
    let port: UInt16
    private let door: CInt
    private let state = Mutex<[String]>([])
    var heads: [String] { state.withLock { $0 } }

    init() {
        let made = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        door = made
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                _ = bind(made, pointer, size)
                return getsockname(made, pointer, &size)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        listen(made, 8)
        startThread { [self] in
            while true {
                let client = accept(door, nil, nil)
                if client < 0 { break }
                var space = [UInt8](repeating: 0, count: 4096)
                let count = max(0, read(client, &space, space.count))
                state.withLock { $0.append(String(decoding: space.prefix(count), as: UTF8.self)) }
                let answer = Array("HTTP/1.0 200 OK\r\n\r\n{\"keys\":[]}".utf8)
                _ = write(client, answer, answer.count)
                close(client)
            }
            // Here, and not in `stop`: the number could be another socket's by the next `accept`.
            close(door)
        }
    }

    func stop() { shutdown(door, CInt(SHUT_RDWR)) }
}
