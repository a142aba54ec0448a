package import TLS
package import Transport

/// Where etcd is and how to reach it.
package struct EtcdConfiguration: Sendable {
    package var endpoints: [GRPCConnection.Target]
    /// `nil` for plain connections.
    package var tls: TLSContext?
    /// Under which all of our keys are; others' are not looked at.
    package var prefix = "/registry/"
    /// How many changes back a watch may start.
    package var historyEvents = 16384
    /// When history is given up, in etcd and in memory; the same for all who share it. `nil`: in memory by its size, in etcd not by us.
    package var historyAge: HistoryAge? = HistoryAge()
    /// Within which a request is answered or has failed, over all endpoints.
    package var patience = Duration.seconds(10)

    package init(endpoints: [GRPCConnection.Target], tls: TLSContext?) {
        self.endpoints = endpoints
        self.tls = tls
    }

    /// Reads what `--store` says: `etcd=https://host:port,https://host:port`, all of one scheme; the port may be left out (2379).
    ///
    /// - Parameters:
    ///   - authority: PEM of those who sign the servers' certificates; needed with https.
    ///   - certificate: PEM of ours, then of those that lead to a root.
    package static func parse(
        _ text: String, authority: [UInt8]? = nil, certificate: [UInt8]? = nil, key: [UInt8]? = nil
    ) throws(StoreFailure) -> EtcdConfiguration {
        guard text.hasPrefix("etcd=") else {
            throw .unusable(
                "--store \(text): \"embedded\", or \"etcd=\" and the endpoints, such as etcd=https://127.0.0.1:2379")
        }
        var targets: [GRPCConnection.Target] = []
        var schemes: Set<String> = []
        for part in text.dropFirst(5).split(separator: ",", omittingEmptySubsequences: false) {
            let (scheme, target) = try endpoint(String(part))
            schemes.insert(scheme)
            targets.append(target)
        }
        guard schemes.count == 1 else { throw .unusable("--store \(text): all endpoints must be http, or all https") }
        if schemes.contains("http") {
            guard authority == nil, certificate == nil, key == nil else {
                throw .unusable("--store \(text): certificates are for https endpoints, and these are http")
            }
            return EtcdConfiguration(endpoints: targets, tls: nil)
        }
        guard let authority else { throw .unusable("--store \(text): https endpoints need --store-ca") }
        guard (certificate == nil) == (key == nil) else {
            throw .unusable("--store-cert and --store-key belong together: one of them is missing")
        }
        do throws(TLSFailure) {
            let configuration = TLSConfiguration.client(
                roots: try Certificate.bundle(pem: authority),
                certificates: try certificate.map { pem throws(TLSFailure) in try Certificate.bundle(pem: pem) } ?? [],
                key: try key.map { pem throws(TLSFailure) in try PrivateKey(pem: pem) }, applicationProtocols: ["h2"])
            return EtcdConfiguration(endpoints: targets, tls: try TLSContext(.client, configuration))
        } catch {
            throw .unusable("the certificates for etcd cannot be used: \(error)")
        }
    }

    private static func endpoint(_ text: String) throws(StoreFailure) -> (scheme: String, GRPCConnection.Target) {
        let fault = StoreFailure.unusable("--store: \"\(text)\" is no endpoint; one looks like https://127.0.0.1:2379")
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else { throw fault }
        let scheme = String(text[..<colon])
        guard scheme == "http" || scheme == "https" else { throw fault }
        var rest = text[text.index(colon, offsetBy: 3)...]
        if rest.last == "/" { rest.removeLast() }
        var port = 2379
        let close = rest.first == "[" ? rest.firstIndex(of: "]") : nil
        if let mark = rest[(close ?? rest.startIndex)...].firstIndex(of: ":") {
            guard let given = Int(rest[rest.index(after: mark)...]), (1...65535).contains(given) else { throw fault }
            port = given
            rest = rest[..<mark]
        }
        if close != nil { rest = rest.dropFirst().dropLast() }
        guard !rest.isEmpty, !rest.contains("/"), !rest.contains("@") else { throw fault }
        return (scheme, GRPCConnection.Target(host: String(rest), port: port))
    }
}
