import Glibc
import Kernel
import KubeClient
import KubeTypes
import Wire

/// An object read from a file, and where it stood.
struct Manifest: Sendable {
    var file: String
    var line: Int
    var object: KubeObject

    /// `canary/route.yaml:12: HTTPRoute demo/catalog`
    var place: String { "\(file):\(line): \(object.label)" }
}

/// Bytes in one file; what is beyond would be cut off unseen.
private let manifestLimit = 64 << 20

/// Reads manifests from files, folders (their .yaml, .yml and .json files in order of name) and `-` for standard input.
func readManifests(_ paths: [String]) throws -> [Manifest] {
    var manifests: [Manifest] = []
    for path in paths {
        for file in try manifestFiles(path) {
            let bytes = try SmallFile.read(file == "-" ? "/dev/stdin" : file, limit: manifestLimit)
            guard bytes.count < manifestLimit else {
                throw CommandFailure("\(file) is larger than \(manifestLimit >> 20) MiB: split it, and apply the parts")
            }
            manifests += try parseManifests(String(decoding: bytes, as: UTF8.self), file: file)
        }
    }
    guard !manifests.isEmpty else { throw CommandFailure("no objects in \(paths.joined(separator: ", "))") }
    return manifests
}

func parseManifests(_ text: String, file: String) throws -> [Manifest] {
    let documents: [YAMLDocument]
    do { documents = try yamlDocuments(text) } catch {
        throw CommandFailure(error.line > 0 ? "\(file):\(error.line): \(error.message)" : "\(file): \(error.message)")
    }
    var manifests: [Manifest] = []
    for document in documents {
        if let items = document.json["items"]?.array, document.json["kind"]?.string?.hasSuffix("List") == true {
            manifests += items.map { Manifest(file: file, line: document.line, object: KubeObject($0)) }
        } else {
            manifests.append(Manifest(file: file, line: document.line, object: KubeObject(document.json)))
        }
    }
    for manifest in manifests {
        let object = manifest.object
        let at = "\(manifest.file):\(manifest.line)"
        guard object.json.object != nil else {
            throw CommandFailure("\(at): an object is a mapping, found \(object.json.text.prefix(40))")
        }
        if object.apiVersion.isEmpty {
            throw CommandFailure("\(at): apiVersion is missing; every object starts with apiVersion and kind")
        }
        if object.kind.isEmpty {
            throw CommandFailure("\(at): kind is missing; every object starts with apiVersion and kind")
        }
        for field in ["name", "namespace"] {
            if let value = object.json["metadata"]?[field], value.string == nil {
                throw CommandFailure(
                    "\(at): \(object.kind): metadata.\(field) must be a string, found \(value.text.prefix(40)); quote it"
                )
            }
        }
        if object.name.isEmpty { throw CommandFailure("\(at): \(object.kind) has no metadata.name") }
    }
    return manifests
}

private func manifestFiles(_ path: String) throws -> [String] {
    if path == "-" { return [path] }
    var status = stat()
    guard stat(path, &status) == 0 else {
        if errno == ENOENT { throw CommandFailure("there is no file or folder \(path)") }
        throw SystemCallFailed("stat", code: errno, on: path)
    }
    guard status.st_mode & S_IFMT == S_IFDIR else { return [path] }
    guard let directory = opendir(path) else { throw SystemCallFailed("opendir", code: errno, on: path) }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name.hasSuffix(".yaml") || name.hasSuffix(".yml") || name.hasSuffix(".json") { names.append(name) }
    }
    guard !names.isEmpty else { throw CommandFailure("\(path) holds no .yaml, .yml or .json file") }
    return names.sorted().map { path.hasSuffix("/") ? path + $0 : "\(path)/\($0)" }
}
