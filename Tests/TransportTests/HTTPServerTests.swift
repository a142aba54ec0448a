import NIOCore
import NIOHTTP1
import Synchronization
import TLS
import Testing
import Transport

/// Runs a server on a loopback port for the time of the body.
private func withHTTPServer(
    tls: TLSContext? = nil, idle: TimeAmount = .seconds(30), body bodyLimit: TimeAmount = .seconds(60),
    _ handler: @escaping HTTPHandler,
    _ body: (Int) async throws -> Void
) async throws {
    var configuration = HTTPServer.Configuration(tls: tls)
    configuration.idleLimit = idle
    configuration.bodyLimit = bodyLimit
    let server = HTTPServer(configuration, handler: handler)
    let port = try await server.listen(host: "127.0.0.1", port: 0)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(port)) } catch { outcome = .failure(error) }
    await server.stop()
    try outcome.get()
}

@Suite("HTTP server")
struct HTTPServerTests {
    @Test("one connection serves request after request; bodies come back")
    func keepAlive() async throws {
        try await withHTTPServer { request, responder in
            let body = (try? await request.body.collect(limit: 1 << 20)) ?? []
            await responder.respond(.ok, ["x-target": request.target], body)
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
            #expect(await client.read(until: "hello").contains("x-target: /a"))
            await client.send(
                "POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")
            #expect(await client.read(until: "abcdef").contains("x-target: /b"))
            await client.send(
                "GET /c HTTP/1.1\r\nhost: x\r\n\r\nGET /d HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            let both = await client.read(until: nil)
            #expect(both.contains("x-target: /c") && both.contains("x-target: /d"))
        }
    }

    @Test("a request that is no HTTP gets 400; a body nobody reads ends the connection when it is long")
    func badRequests() async throws {
        try await withHTTPServer { _, responder in
            await responder.respond(.ok)
        } _: { port in
            let noise = try RawClient(port: port)
            await noise.send("this is not http\r\n\r\n")
            #expect(await noise.read(until: nil).hasPrefix("HTTP/1.1 400"))
            let long = try RawClient(port: port)
            await long.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
            #expect(await long.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 200"))
            await long.send([UInt8](repeating: 65, count: 3 << 20))
            #expect(await long.read(until: nil).isEmpty)
        }
    }

    @Test("a body that does not come in time is given up, and the handler may still say so")
    func slowBody() async throws {
        try await withHTTPServer(body: .milliseconds(100)) { request, responder in
            do { _ = try await request.body.collect(limit: 1 << 20) } catch let error as BodyTooSlow {
                await responder.respond(.requestTimeout, [:], Array("\(error)".utf8))
            } catch {
                await responder.respond(.badRequest)
            }
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhel")
            let answer = await client.read(until: nil)
            #expect(answer.hasPrefix("HTTP/1.1 408") && answer.contains("did not come within"))
        }
    }

    @Test("a handler that streams for longer than a body may take is not cut off")
    func longAnswer() async throws {
        try await withHTTPServer(body: .milliseconds(50)) { _, responder in
            try? await responder.start(.ok)
            try? await Task.sleep(for: .milliseconds(300))
            try? await responder.write(Array("late".utf8))
            try? await responder.end()
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            #expect(await client.read(until: "0\r\n\r\n").contains("late"))
            await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            #expect(await client.read(until: "0\r\n\r\n").contains("late"))
        }
    }

    @Test("headers beyond the parser's limit are named as the cause")
    func hugeHeaders() async throws {
        try await withHTTPServer { _, responder in
            await responder.respond(.ok)
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("GET / HTTP/1.1\r\nhost: x\r\nx-large: \(String(repeating: "a", count: 200_000))\r\n\r\n")
            #expect(await client.read(until: nil).hasPrefix("HTTP/1.1 431"))
        }
    }

    @Test("a client that expects 100-continue is told to go on")
    func expectation() async throws {
        try await withHTTPServer { request, responder in
            await responder.respond(.ok, [:], (try? await request.body.collect(limit: 100)) ?? [])
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n")
            #expect(await client.read(until: "100 Continue").contains("HTTP/1.1 100"))
            await client.send("body")
            #expect(await client.read(until: "body").contains("HTTP/1.1 200"))
        }
    }

    @Test("a writer waits for a client that does not read, and learns that it has gone")
    func backPressure() async throws {
        let written = Mutex(0)
        let (ended, signal) = AsyncStream.makeStream(of: Bool.self)
        try await withHTTPServer { _, responder in
            do {
                try await responder.start(.ok)
                for _ in 0..<4096 {
                    try await responder.write([UInt8](repeating: 65, count: 1 << 16))
                    written.withLock { $0 += 1 << 16 }
                }
                signal.yield(false)
            } catch {
                signal.yield(true)
            }
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            #expect(await client.read(until: "AAAA").hasPrefix("HTTP/1.1 200"))
            var before = -1
            while before != written.withLock({ $0 }) {
                before = written.withLock { $0 }
                try await Task.sleep(for: .milliseconds(200))
            }
            #expect(before < 64 << 20, "\(before) bytes were taken from the writer though nobody read them")
            client.close()
            for await wasCut in ended {
                #expect(wasCut)
                break
            }
        }
    }

    @Test("a client that takes nothing is given up by a writer that says how long it waits")
    func stalled() async throws {
        let (ended, signal) = AsyncStream.makeStream(of: Bool.self)
        try await withHTTPServer { _, responder in
            await responder.limitStalls(to: .milliseconds(50))
            do {
                try await responder.start(.ok)
                while true { try await responder.write([UInt8](repeating: 65, count: 1 << 16)) }
            } catch {
                signal.yield(error is ClientTooSlow)
            }
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            for await wasGivenUp in ended {
                #expect(wasGivenUp)
                break
            }
            // What was on its way still comes; then the connection ends.
            #expect(await client.read(until: nil).hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test("a handler that waits is cancelled when its client goes")
    func cancellation() async throws {
        let (ended, signal) = AsyncStream.makeStream(of: Bool.self)
        try await withHTTPServer { _, responder in
            try? await responder.start(.ok)
            try? await responder.write([65])
            do { try await Task.sleep(for: .seconds(60)) } catch { signal.yield(true) }
        } _: { port in
            let client = try RawClient(port: port)
            await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            _ = await client.read(until: "A")
            client.close()
            for await wasCancelled in ended {
                #expect(wasCancelled)
                break
            }
        }
    }

    @Test("a connection without requests is closed")
    func idle() async throws {
        try await withHTTPServer(idle: .milliseconds(100)) { _, responder in
            await responder.respond(.ok)
        } _: { port in
            let client = try RawClient(port: port)
            #expect(await client.read(until: nil).isEmpty)
        }
    }

    @Test("a client that speaks no TLS is turned away, and others are served")
    func plainToTLS() async throws {
        let authority = try CertificateAuthority.create(commonName: "root")
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                commonName: "server", serverUse: true, lifetime: .seconds(60), publicKey: try key.publicKey()))
        let tls = try TLSContext(
            .server, .server(certificates: [certificate], key: key, clientRoots: [authority.certificate]))
        try await withHTTPServer(tls: tls) { _, responder in
            await responder.respond(.ok)
        } _: { port in
            for _ in 0..<20 {
                let client = try RawClient(port: port)
                await client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                #expect(await !client.read(until: nil).contains("200"))
                try RawClient(port: port).close()
            }
        }
    }
}
