import ProxyResources
import TestSupport
import Testing

@testable import Proxy

@Suite struct HTTP2AbuseTests {
    @Test("requests in HTTP/2 that are none, or would be two in HTTP/1.1, reach no origin")
    func abuse() throws {
        let gateway = try TestGateway()
        let origin = freePort()
        try gateway.apply([rule([("o", 1)])], [backend("o", [endpoint(origin)])])
        let script = PeerProgram.path("../../Corpora/http2_abuse.py")
        let found = output(
            of: "timeout 300 \(PeerProgram.python) \(script) --proxy \(gateway.port) --origin \(origin)")
        #expect(found.status == 0, "\(found.text)")
        gateway.plane.stop()
    }
}
