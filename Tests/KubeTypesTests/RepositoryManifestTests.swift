import FoundationEssentials
import KubeTypes
import Testing
import Wire

@Suite("The manifests of this repository")
struct RepositoryManifestTests {
    /// Files under these folders are applied as they are, but for `${…}`, which the programs fill in.
    static let files: [String] = {
        let root = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined()
        var found: [String] = []
        for folder in ["policies", "proxies/gateway"] {
            let all = (try? FileManager.default.subpathsOfDirectory(atPath: "\(root)/\(folder)")) ?? []
            found += all.filter { $0.hasSuffix(".yaml") }.map { "\(root)/\(folder)/\($0)" }
        }
        return found.sorted()
    }()

    @Test("each object decodes strictly and is valid", arguments: files)
    func valid(file: String) throws {
        let bytes = try #require(FileManager.default.contents(atPath: file))
        let text = String(decoding: bytes, as: UTF8.self).replacing(#/\$\{[a-zA-Z]+\}/#, with: "Always")
        for document in text.components(separatedBy: "\n---\n") {
            let lines = document.split(separator: "\n").filter { !$0.hasPrefix("#") && !$0.hasPrefix("---") }
            guard !lines.isEmpty else { continue }
            let faults = try Manifest.faults(document)
            #expect(faults == [], "\(file)")
        }
    }

    @Test("there are manifests to look at")
    func found() { #expect(Self.files.count >= 3) }
}

extension String {
    fileprivate func components(separatedBy mark: String) -> [String] {
        split(separator: mark, omittingEmptySubsequences: true).map(String.init)
    }
}
