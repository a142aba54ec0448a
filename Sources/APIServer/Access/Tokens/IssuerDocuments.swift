import KubeTypes
import NIOHTTP1
import TLS
import Transport
import Wire

/// What others need to check service-account tokens by themselves (OpenID Connect Discovery 1.0 §4).
struct IssuerDocuments: Sendable {
    private let configuration: [UInt8]
    private let keys: [UInt8]

    /// `server`: where clients reach this server.
    init(_ tokens: AccountTokens, server: String) throws(TLSFailure) {
        let json: JSON = [
            "issuer": .string(tokens.issuer), "jwks_uri": .string(server + Self.keysPath),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        ]
        configuration = json.bytes
        keys = try tokens.keySet().bytes
    }

    private static let keysPath = "/openid/v1/jwks"

    func answer(_ path: String, _ responder: HTTPResponder) async throws(APIFailure) {
        switch path {
        case "/.well-known/openid-configuration": await send(configuration, "application/json", responder)
        case Self.keysPath: await send(keys, "application/jwk-set+json", responder)
        default: throw RequestHandler.noSuchPath
        }
    }

    private func send(_ bytes: [UInt8], _ type: String, _ responder: HTTPResponder) async {
        await responder.respond(.ok, ["content-type": type, "cache-control": "public, max-age=3600"], bytes)
    }
}
