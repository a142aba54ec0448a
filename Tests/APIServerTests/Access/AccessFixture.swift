import Glibc
import TestSupport
import Testing

/// Waits until the condition holds, and records an issue when it never does.
func poll(_ what: String = "the condition", _ isSo: () async throws -> Bool) async throws {
    if !(try await eventually(isSo)) { Issue.record("\(what) did not come true in time") }
}

/// A kubeconfig beside the administrator's, with the cluster's address and other credentials.
func otherKubeconfig(_ directory: String, user: String) throws -> String {
    let text = String(decoding: try fileBytes(directory + "/kubeconfig"), as: UTF8.self)
    let place = try #require(text.firstRange(of: "  user:\n"))
    let path = "\(directory)/kubeconfig-\(UInt32.random(in: 0...UInt32.max))"
    try writeFile(path, String(text[..<place.upperBound]) + user)
    return path
}

func fileBytes(_ path: String) throws -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    try #require(file >= 0, "\(path) cannot be opened")
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = read(file, &chunk, chunk.count)
        if count <= 0 { return bytes }
        bytes += chunk[..<count]
    }
}

func writeFile(_ path: String, _ text: String) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    try #require(file >= 0, "\(path) cannot be written")
    defer { close(file) }
    let bytes = Array(text.utf8)
    #expect(Glibc.write(file, bytes, bytes.count) == bytes.count)
}
