import ProxyResources
import Testing

@testable import Proxy

@Suite struct CORSTests {
    private func scene(_ policy: CORSPolicy) throws -> RouteActionTests.Scene {
        try RouteActionTests.Scene([rule([("o", 1)]) { $0.actions.cors = policy }])
    }

    private let preflight = "access-control-request-method: PUT\r\naccess-control-request-headers: x-one, x-two\r\n"

    @Test("a preflight from an allowed origin is answered here")
    func allowed() throws {
        let policy = CORSPolicy(
            origins: [TextMatch(.exact, "https://www.foo.com"), TextMatch(.exact, "https://*.bar.com")],
            methods: ["GET", "OPTIONS"], headers: ["x-one"], exposedHeaders: ["x-three"], maxAgeSeconds: 3600,
            allowsCredentials: true)
        let scene = try scene(policy)
        for origin in ["https://www.foo.com", "https://a.b.bar.com"] {
            let answer = scene.visitor.get("/", "origin: \(origin)\r\n\(preflight)", method: "OPTIONS")
            let head = answer?.head ?? ""
            #expect(answer?.status == 200)
            #expect(header("access-control-allow-origin", head) == origin)
            #expect(header("access-control-allow-methods", head) == "GET, OPTIONS")
            #expect(header("access-control-allow-headers", head) == "x-one")
            #expect(header("access-control-expose-headers", head) == "x-three")
            #expect(header("access-control-max-age", head) == "3600")
            #expect(header("access-control-allow-credentials", head) == "true")
            #expect(header("vary", head) == "origin")
        }
        #expect(scene.origin.requests == 0)
        scene.end()
    }

    @Test("one from elsewhere is answered without permission, or goes on where that is asked")
    func refused() throws {
        var policy = CORSPolicy(origins: [
            TextMatch(.exact, "https://*.bar.com"), TextMatch(.regex, "https://x[0-9]\\.org"),
        ])
        let closed = try scene(policy)
        for origin in ["https://bar.com", "https://a.bar.com.evil", "http://a.bar.com", "https://x1.orgs", "null"] {
            let answer = closed.visitor.get("/", "origin: \(origin)\r\n\(preflight)", method: "OPTIONS")
            #expect(answer?.status == 204, "\(origin)")
            #expect(header("access-control-allow-origin", answer?.head ?? "") == nil)
        }
        let simple = closed.visitor.get("/name", "origin: https://bar.com\r\n")
        #expect(simple?.text == "origin")
        #expect(header("access-control-allow-origin", simple?.head ?? "") == nil)
        closed.end()
        policy.forwardsUnmatched = true
        let open = try scene(policy)
        #expect(
            open.visitor.get("/name", "origin: https://bar.com\r\n\(preflight)", method: "OPTIONS")?.text == "origin")
        #expect(open.origin.requests == 1)
        open.end()
    }

    @Test("any other answer says who may read it, and requests without an origin are as ever")
    func simple() throws {
        let scene = try scene(
            CORSPolicy(
                origins: [TextMatch(.exact, "*")], methods: ["*"], headers: ["*"], exposedHeaders: ["x-a", "x-b"]))
        let simple = scene.visitor.get("/name", "origin: https://any.where:81\r\n")
        #expect(simple?.text == "origin")
        #expect(header("access-control-allow-origin", simple?.head ?? "") == "*")
        #expect(header("access-control-expose-headers", simple?.head ?? "") == "x-a, x-b")
        let answer = scene.visitor.get("/", "origin: https://any.where\r\n\(preflight)", method: "OPTIONS")
        #expect(header("access-control-allow-methods", answer?.head ?? "") == "PUT")
        #expect(header("access-control-allow-headers", answer?.head ?? "") == "x-one, x-two")
        let plain = scene.visitor.get("/name")
        #expect(header("access-control-allow-origin", plain?.head ?? "") == nil)
        #expect(scene.visitor.get("/name", method: "OPTIONS")?.text == "origin", "no preflight")
        scene.end()
    }
}
