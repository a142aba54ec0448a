import Glibc
import Kernel
import TLS
import TestSupport
import Testing
import Wire

/// A real webhook beside the test: Python's HTTPS server on a loopback port, gone with the test.
struct WebhookServer: Sendable {
    let port: Int
    /// PEM in base64, as a `clientConfig` has it.
    let bundle: String
    private let log: String
    private let child: TestProcess

    /// - Parameter names: what its certificate says beside 127.0.0.1.
    static func start(in directory: String, names: [String] = []) async throws -> WebhookServer {
        let authority = try CertificateAuthority.create(commonName: "webhooks of a test")
        let key = try PrivateKey.generate()
        let certificate = try authority.issue(
            CertificateRequest(
                commonName: "webhook",
                subjectAlternativeNames: [.ip("127.0.0.1")] + names.map(SubjectAlternativeName.dns), serverUse: true,
                lifetime: .seconds(3600), publicKey: try key.publicKey()))
        let base = "\(directory)/webhook"
        try write(try certificate.pem(), "\(base).crt")
        try write(try key.pem(), "\(base).key")
        let program = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let started = await onThread {
            spawn(["/usr/bin/python3", "/\(program)/Peers/webhook.py", "\(base).crt", "\(base).key", "\(base).log"])
        }
        let (child, port) = try #require(started, "python3 does not start")
        return WebhookServer(
            port: port, bundle: Base64.encode(try authority.certificate.pem()), log: "\(base).log", child: child)
    }

    private static func write(_ bytes: [UInt8], _ path: String) throws {
        let file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
        try #require(file >= 0)
        _ = Glibc.write(file, bytes, bytes.count)
        close(file)
    }

    /// - Returns: the process and the port it has printed.
    private static func spawn(_ arguments: [String]) -> (TestProcess, Int)? {
        var ends: [CInt] = [0, 0]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let child = try? TestProcess(
            arguments, environment: ["PATH=/usr/bin:/bin"], output: .descriptor(ends[1]), errors: .descriptor(2))
        close(ends[1])
        guard let child else { return nil }
        var text = ""
        var byte: UInt8 = 0
        while read(ends[0], &byte, 1) == 1, byte != 10 { text.unicodeScalars.append(Unicode.Scalar(byte)) }
        guard let port = Int(text) else { return nil }
        return (child, port)
    }

    func stop() { child.end() }

    func url(_ path: String) -> JSON { .string("https://127.0.0.1:\(port)\(path)") }

    /// What it was asked, in order.
    func requests() throws -> [JSON] {
        let file = open(log, O_RDONLY)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(file, &chunk, chunk.count)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        return try bytes.split(separator: 10).map { try JSON(parsing: Array($0)) }
    }

    /// A configuration with one webhook for each path.
    func configuration(
        _ name: String, isMutating: Bool = false, paths: [String], resources: JSON = ["configmaps"],
        operations: JSON = ["CREATE", "UPDATE"], _ change: (inout JSON) -> Void = { _ in }
    ) -> JSON {
        let webhooks = paths.enumerated().map { index, path -> JSON in
            var webhook: JSON = [
                "name": .string("hook\(index).\(name).test"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": ["url": url(path), "caBundle": .string(bundle)],
                "rules": [
                    [
                        "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources, "operations": operations,
                    ]
                ],
            ]
            change(&webhook)
            return webhook
        }
        let kind = isMutating ? "MutatingWebhookConfiguration" : "ValidatingWebhookConfiguration"
        return [
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": .string(kind), "metadata": ["name": .string(name)],
            "webhooks": .array(webhooks),
        ]
    }
}
