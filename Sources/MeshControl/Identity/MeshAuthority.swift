import Glibc
package import TLS

/// The mesh's certificate authority, kept in a directory as `ca.crt` and `ca.key`.
package struct MeshAuthority: Sendable {
    package let authority: CertificateAuthority
    package let trustDomain: String
    /// The roots all workloads trust, PEM.
    package let roots: String

    package init(authority: CertificateAuthority, trustDomain: String) throws(MeshIdentityFailure) {
        self.authority = authority
        self.trustDomain = trustDomain
        do {
            roots = String(decoding: try authority.certificate.pem(), as: UTF8.self)
        } catch {
            throw MeshIdentityFailure("the mesh's root certificate", "\(error)")
        }
    }

    /// Reads the authority of a directory, or makes one there. The key comes first and is moved into its place whole, so a
    /// process that dies here leaves either nothing or something this reads again.
    package static func open(directory: String, trustDomain: String) throws(MeshIdentityFailure) -> MeshAuthority {
        let files = (certificate: "\(directory)/ca.crt", key: "\(directory)/ca.key")
        let isThere = (access(files.certificate, F_OK) == 0, access(files.key, F_OK) == 0)
        if !isThere.0 {
            try create(directory: directory, files.certificate, files.key, trustDomain: trustDomain)
        } else if !isThere.1 {
            throw MeshIdentityFailure(
                files.key, "is missing beside \(files.certificate): restore it, or remove both to start a new trust")
        }
        do {
            let certificate = try Certificate(pem: try FileText.read(files.certificate))
            let key = try PrivateKey(pem: try FileText.read(files.key))
            guard certificate.isAuthority else {
                throw MeshIdentityFailure(files.certificate, "is not a certificate of an authority")
            }
            guard try certificate.publicKey().pem() == key.publicKey().pem() else {
                throw MeshIdentityFailure(files.key, "is not the key of \(files.certificate)")
            }
            let authority = CertificateAuthority(certificate: certificate, key: key)
            return try MeshAuthority(authority: authority, trustDomain: trustDomain)
        } catch let failure as MeshIdentityFailure {
            throw failure
        } catch {
            throw MeshIdentityFailure(files.certificate, "\(error)")
        }
    }

    private static func create(
        directory: String, _ certificate: String, _ key: String, trustDomain: String
    ) throws(MeshIdentityFailure) {
        do {
            let made = try CertificateAuthority.create(
                commonName: "weft mesh authority", organizations: [trustDomain],
                subjectAlternativeNames: [.uri("spiffe://\(trustDomain)")])
            try FileText.makeDirectory(directory)
            try FileText.write(made.key.pem(), to: key, mode: 0o600)
            try FileText.write(made.certificate.pem(), to: certificate, mode: 0o644)
        } catch let failure as MeshIdentityFailure {
            throw failure
        } catch {
            throw MeshIdentityFailure(certificate, "\(error)")
        }
    }
}

/// What is wrong with the mesh's keys or certificates.
package struct MeshIdentityFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package let subject: String
    package let message: String

    package init(_ subject: String, _ message: String) {
        self.subject = subject
        self.message = message
    }

    package var description: String { "\(subject): \(message)" }
}

/// Small files, written so that no reader sees half of one.
enum FileText {
    static func read(_ path: String) throws(MeshIdentityFailure) -> [UInt8] {
        let number = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw failure("open", path) }
        defer { close(number) }
        var bytes: [UInt8] = []
        var space = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = Glibc.read(number, &space, space.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("read", path)
            }
            bytes += space.prefix(count)
        }
    }

    static func write(_ bytes: [UInt8], to path: String, mode: mode_t) throws(MeshIdentityFailure) {
        let partial = "\(path).new"
        unlink(partial)
        let number = Glibc.open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard number >= 0 else { throw failure("create", partial) }
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(number, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                let failed = failure("write", partial)
                close(number)
                throw failed
            }
            written += count
        }
        let isSaved = fsync(number) == 0
        let failed = failure("save", partial)
        close(number)
        guard isSaved else { throw failed }
        guard rename(partial, path) == 0 else { throw failure("rename", partial) }
        let directory = Glibc.open(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]), O_RDONLY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }

    static func makeDirectory(_ path: String) throws(MeshIdentityFailure) {
        var partial = ""
        for part in path.split(separator: "/") {
            partial += (partial.isEmpty && !path.hasPrefix("/") ? "" : "/") + part
            if mkdir(partial, 0o755) != 0, errno != EEXIST { throw failure("make directory", partial) }
        }
        if chmod(path, 0o700) != 0 { throw failure("close to others", path) }
    }

    private static func failure(_ what: String, _ path: String) -> MeshIdentityFailure {
        let code = errno
        return MeshIdentityFailure(path, "cannot \(what): \(String(cString: strerror(code)))")
    }
}
