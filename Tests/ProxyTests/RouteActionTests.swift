import Loop
import ProxyResources
import Testing

@testable import Proxy

@Suite struct RouteActionTests {
    /// A gateway with one rule, before one origin.
    struct Scene {
        let origin = Origin()
        let gateway: TestGateway
        let visitor: Visitor

        init(_ rules: [RouteRule], more: [(String, Origin)] = []) throws {
            gateway = try TestGateway()
            var backends = [backend("o", [endpoint(Int(origin.port))])]
            backends += more.map { backend($0, [endpoint(Int($1.port))]) }
            try gateway.apply(rules, backends)
            visitor = Visitor(port: gateway.port)
        }

        func end() {
            visitor.end()
            gateway.plane.stop()
            origin.stop()
        }

        /// What the origin saw in the first line.
        func path(_ asked: String) -> String? {
            guard visitor.get(asked)?.status == 200 else { return nil }
            return origin.lastHead.split(separator: " ").dropFirst().first.map(String.init)
        }
    }

    static let rewrites: [(RouteMatch.PathMatch, PathRewrite, String, String)] = [
        (.prefix("/foo"), .prefix("/xyz"), "/foo/bar", "/xyz/bar"),
        (.prefix("/foo"), .prefix("/xyz/"), "/foo/bar", "/xyz/bar"),
        (.prefix("/foo/"), .prefix("/xyz"), "/foo/bar", "/xyz/bar"),
        (.prefix("/foo"), .prefix("/xyz"), "/foo", "/xyz"), (.prefix("/foo"), .prefix("/xyz"), "/foo/", "/xyz/"),
        (.prefix("/foo"), .prefix(""), "/foo/bar", "/bar"), (.prefix("/foo"), .prefix(""), "/foo", "/"),
        (.prefix("/foo"), .prefix("/"), "/foo/", "/"), (.prefix("/foo"), .prefix("/"), "/foo?a=b", "/?a=b"),
        (.any, .prefix("/in"), "/x/y?q", "/in/x/y?q"), (.prefix("/foo"), .full("/all"), "/foo/x?y=z", "/all?y=z"),
        (.textPrefix("/foo"), .matched("/bar"), "/foobaz", "/barbaz"),
        (.exact("/foo"), .matched("/bar"), "/foo?a", "/bar?a"),
        (.any, .matched("/new/"), "/x", "/new/x"), (.textPrefix("/a"), .matched("/"), "/ab", "/b"),
        (.regex("/v[0-9]/.*"), .matched("/none"), "/v1/x", "/none"),
        (
            .any, .regex(pattern: "^/service/([^/]+)(/.*)$", substitution: "\\2/instance/\\1"), "/service/foo/v1/api?k",
            "/v1/api/instance/foo?k"
        ),
        (.any, .regex(pattern: "^/x", substitution: "y"), "/x", "/y"),
        (.any, .regex(pattern: "one", substitution: ""), "/one/one", "//"),
    ]

    @Test("paths are rewritten and queries stay, as the pure meaning says", arguments: rewrites)
    func rewrite(path: RouteMatch.PathMatch, rewrite: PathRewrite, asked: String, expected: String) throws {
        let scene = try Scene([
            rule([("o", 1)]) {
                $0.matches = [RouteMatch(path: path)]
                $0.actions.path = rewrite
            }
        ])
        #expect(scene.path(asked) == expected)
        #expect(rewrite.applied(to: asked, by: RouteMatch(path: path)) == expected)
        scene.end()
    }

    @Test("a host is rewritten for the backend; a path that grows too long is refused")
    func host() throws {
        let scene = try Scene([
            rule([("o", 1)]) {
                $0.matches = [RouteMatch(path: .prefix("/long"))]
                $0.actions.path = .regex(pattern: "x", substitution: String(repeating: "y", count: 1000))
            }, rule([("o", 1)]) { $0.actions.host = "other.test:81" },
        ])
        #expect(scene.path("/a") == "/a")
        #expect(header("host", scene.origin.lastHead) == "other.test:81")
        let long = scene.visitor.get("/long/xxxxxxxxxx")
        #expect(long?.status == 414)
        #expect(long?.reason == "rewritten_path_too_long")
        #expect(scene.path("/b") == "/b", "the connection goes on")
        scene.end()
    }

    static let redirects: [(Redirect, RouteMatch.PathMatch, String, String)] = [
        (Redirect(), .any, "/a?b", "http://test:8080/a?b"), (Redirect(scheme: "https"), .any, "/a", "https://test/a"),
        (Redirect(host: "new.test", status: 301), .any, "/a", "http://new.test/a"),
        (Redirect(port: 8083), .any, "/", "http://test:8083/"), (Redirect(port: 80), .any, "/", "http://test/"),
        (Redirect(scheme: "https", port: 443), .any, "/", "https://test/"),
        (Redirect(scheme: "https", port: 80), .any, "/", "https://test:80/"),
        (Redirect(path: .full("/p"), status: 303), .any, "/a?q=1", "http://test:8080/p?q=1"),
        (Redirect(host: "n", path: .prefix("/new"), status: 307), .prefix("/old"), "/old/x", "http://n/new/x"),
        (Redirect(path: .regex(pattern: "a+", substitution: "b"), status: 308), .any, "/caat", "http://test:8080/cbt"),
    ]

    @Test("redirects say where to go, as the pure meaning says", arguments: redirects)
    func redirect(redirect: Redirect, path: RouteMatch.PathMatch, asked: String, expected: String) throws {
        let match = RouteMatch(path: path)
        let scene = try Scene([
            rule([]) {
                $0.matches = [match]
                $0.actions.redirect = redirect
            }
        ])
        for _ in 0..<2 {
            #expect(scene.visitor.send("GET \(asked) HTTP/1.1\r\nhost: test:8080\r\n\r\n"))
            let answer = scene.visitor.response()
            #expect(answer?.status == redirect.status)
            #expect(header("location", answer?.head ?? "") == expected)
            #expect(answer?.reason == "redirect")
        }
        #expect(redirect.location(for: RequestForm(path: asked, authority: "test:8080"), match) == expected)
        scene.end()
    }

    @Test("a route answers by itself with a body, its type and the route's headers")
    func direct() throws {
        let scene = try Scene([
            rule([]) {
                $0.directStatus = 418
                $0.actions.directBody = DirectBody(text: "{\"pot\": \"tea\"}", contentType: "application/json")
                $0.actions.response = HeaderEdits(set: [HeaderValue(name: "X-Pot", value: "tea")])
            }
        ])
        for method in ["GET", "HEAD", "POST"] {
            let answer = scene.visitor.get("/", method: method)
            #expect(answer?.status == 418)
            #expect(answer?.text == (method == "HEAD" ? "" : "{\"pot\": \"tea\"}"))
            #expect(header("content-type", answer?.head ?? "") == "application/json")
            #expect(header("x-pot", answer?.head ?? "") == "tea")
            #expect(answer?.reason == "direct_response")
        }
        #expect(scene.origin.requests == 0)
        scene.end()
    }

    @Test("headers of answers change by route and by backend, and those of requests by backend")
    func responseHeaders() throws {
        let other = Origin(name: "other")
        var weighted = rule([("o", 1)]) {
            $0.matches = [RouteMatch(path: .prefix("/own"))]
            $0.setRequestHeaders = [HeaderValue(name: "x-who", value: "rule"), HeaderValue(name: "x-rule", value: "1")]
            $0.actions.response = HeaderEdits(
                set: [HeaderValue(name: "x-origin", value: "rule")], add: [HeaderValue(name: "x-more", value: "1")])
        }
        weighted.backends[0].request = HeaderEdits(
            set: [HeaderValue(name: "X-Who", value: "backend")], remove: ["x-gone"])
        weighted.backends[0].response = HeaderEdits(
            add: [HeaderValue(name: "x-more", value: "2")], remove: ["X-Origin"])
        let plain = rule([("other", 1)]) {
            $0.actions.response = HeaderEdits(
                set: [HeaderValue(name: "x-origin", value: "rule")], remove: ["x-weft-reason"])
        }
        let scene = try Scene([weighted, plain], more: [("other", other)])
        let own = scene.visitor.get("/own", "x-gone: 1\r\nx-who: client\r\n")
        #expect(header("x-origin", own?.head ?? "") == nil)
        #expect(own?.head.contains("x-more: 1\r\n") == true)
        #expect(own?.head.contains("x-more: 2\r\n") == true)
        #expect(header("x-who", scene.origin.lastHead) == "backend")
        #expect(header("x-rule", scene.origin.lastHead) == "1")
        #expect(header("x-gone", scene.origin.lastHead) == nil)
        let rest = scene.visitor.get("/rest")
        #expect(header("x-origin", rest?.head ?? "") == "rule")
        #expect(header("x-weft-reason", rest?.head ?? "") == nil)
        scene.end()
        other.stop()
    }
}
