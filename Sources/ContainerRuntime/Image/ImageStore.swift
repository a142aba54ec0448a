import Glibc
import Kernel
import Synchronization
import Wire

/// The images of a machine: an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256/`) with each layer unpacked once
/// in `layers/<digest>`, shared by all containers. Several processes may use it at once.
///
/// Source: OCI image specification 1.1, image layout and annotations.
package final class ImageStore: Sendable {
    package let directory: String
    /// One for the process: the runtimes of several nodes may have stores of the same directory.
    private static let unpacking = Mutex(())

    /// Makes the layout when there is none.
    package init(directory: String) throws(RuntimeFailure) {
        self.directory = directory
        try attempting("make the image store") { () throws(SystemCallFailed) in
            try SmallFile.makeDirectories(directory + "/blobs/sha256")
            // Images hold set-user-id programs: no user of the machine may come near.
            try SmallFile.makeDirectories(directory + "/layers", mode: 0o700)
            if !FileTree.exists(directory + "/oci-layout") {
                try SmallFile.replace(directory + "/oci-layout", with: Array(#"{"imageLayoutVersion":"1.0.0"}"#.utf8))
            }
        }
        removeAbandoned()
    }

    /// What a process that died left half done; its pid is in the name.
    private func removeAbandoned() {
        for folder in ["layers", "blobs", "blobs/sha256"] {
            for name in FileTree.names(in: "\(directory)/\(folder)") {
                let parts = name.split(separator: "-")
                guard name.contains(".partial-") || name.hasPrefix(".packing-"), parts.count > 1,
                    let pid = Int32(parts[1]),
                    kill(pid, 0) != 0, errno == ESRCH
                else { continue }
                try? FileTree.remove("\(directory)/\(folder)/\(name)")
            }
        }
    }

    // MARK: Looking

    /// The image with this name, `nil` when there is none. A name without a tag means `:latest`.
    package func image(named name: String) throws(RuntimeFailure) -> ImageRecord? {
        let wanted = Self.fullName(name)
        for entry in try entries() where Self.name(of: entry) == wanted || entry["digest"]?.string == name {
            return try record(entry, named: wanted)
        }
        return nil
    }

    package func images() throws(RuntimeFailure) -> [ImageRecord] {
        var found: [ImageRecord] = []
        for entry in try entries() {
            guard let name = Self.name(of: entry) else { continue }
            found.append(try record(entry, named: name))
        }
        return found
    }

    static func fullName(_ name: String) -> String {
        let last = name.split(separator: "/").last ?? ""
        return last.contains(":") || last.contains("@") ? name : name + ":latest"
    }

    static let nameKey = "org.opencontainers.image.ref.name"

    private static func name(of entry: JSON) -> String? { entry["annotations"]?[nameKey]?.string }

    func entries() throws(RuntimeFailure) -> [JSON] {
        let path = directory + "/index.json"
        guard FileTree.exists(path) else { return [] }
        return try json(path, what: "the image index \(path)")["manifests"]?.array ?? []
    }

    private func json(_ path: String, what: String) throws(RuntimeFailure) -> JSON {
        let bytes = try attempting("read \(what)") { () throws(SystemCallFailed) in try SmallFile.read(path) }
        do throws(JSONFault) { return try JSON(parsing: bytes) } catch {
            throw RuntimeFailure(.badImage, "\(what) is no JSON: \(error)")
        }
    }

    /// A small blob, its digest checked.
    private func blob(_ digest: String, of name: String) throws(RuntimeFailure) -> JSON {
        let path = try blobPath(digest, of: name)
        let bytes = try attempting("read blob \(digest) of image \(name)") { () throws(SystemCallFailed) in
            try SmallFile.read(path)
        }
        guard Digest.of(bytes) == digest else {
            throw RuntimeFailure(.badImage, "image \(name): blob \(digest) is damaged, its bytes have another digest")
        }
        do throws(JSONFault) { return try JSON(parsing: bytes) } catch {
            throw RuntimeFailure(.badImage, "image \(name): blob \(digest) is no JSON: \(error)")
        }
    }

    func blobPath(_ digest: String, of name: String) throws(RuntimeFailure) -> String {
        guard let hex = Digest.hex(digest) else {
            throw RuntimeFailure(.badImage, "image \(name): '\(digest)' is no sha256 digest")
        }
        return directory + "/blobs/sha256/" + hex
    }

    private func record(_ entry: JSON, named name: String) throws(RuntimeFailure) -> ImageRecord {
        var digest = entry["digest"]?.string ?? ""
        var manifest = try blob(digest, of: name)
        if let choices = manifest["manifests"]?.array {
            let architecture = Self.architecture
            let choice = choices.first {
                $0["platform"]?["architecture"]?.string == architecture && $0["platform"]?["os"]?.string == "linux"
            }
            guard let chosen = choice?["digest"]?.string else {
                throw RuntimeFailure(.badImage, "image \(name) has nothing for linux/\(architecture)")
            }
            digest = chosen
            manifest = try blob(digest, of: name)
        }
        let config = try blob(manifest["config"]?["digest"]?.string ?? "", of: name)
        return try ImageRecord(name: name, manifestDigest: digest, manifest: manifest, config: config)
    }

    static var architecture: String {
        #if arch(arm64)
            "arm64"
        #else
            "amd64"
        #endif
    }

    // MARK: Layers

    /// The unpacked layers of an image, the uppermost first, unpacking those that are not yet.
    package func layers(of image: ImageRecord) throws(RuntimeFailure) -> [String] {
        var folders: [String] = []
        for layer in image.layers.reversed() {
            // Some images hold one layer twice; overlayfs takes it once, and the uppermost covers the others.
            let folder = try unpacked(layer.digest, of: image.name)
            if !folders.contains(folder) { folders.append(folder) }
        }
        if folders.isEmpty { throw RuntimeFailure(.badImage, "image \(image.name) has no layers") }
        return folders
    }

    private func unpacked(_ digest: String, of name: String) throws(RuntimeFailure) -> String {
        guard let hex = Digest.hex(digest) else {
            throw RuntimeFailure(.badImage, "image \(name): '\(digest)' is no sha256 digest")
        }
        let folder = directory + "/layers/" + hex
        if FileTree.exists(folder) { return folder }
        let result = Self.unpacking.withLock { _ -> Result<Void, RuntimeFailure> in
            do throws(RuntimeFailure) { return .success(try unpack(digest, into: folder, of: name)) } catch {
                return .failure(error)
            }
        }
        try result.get()
        return folder
    }

    private func unpack(_ digest: String, into folder: String, of name: String) throws(RuntimeFailure) {
        if FileTree.exists(folder) { return }
        let partial = "\(folder).partial-\(getpid())"
        try? FileTree.remove(partial)
        try attempting("unpack layer \(digest) of image \(name)") { () throws(SystemCallFailed) in
            try SmallFile.makeDirectories(partial)
        }
        chmod(partial, 0o755)
        do throws(RuntimeFailure) {
            let blob = try BlobStream(path: try blobPath(digest, of: name), name: "layer \(digest) of image \(name)")
            try LayerUnpack.unpack(blob, into: partial, name: "layer \(digest) of image \(name)")
            let found = try blob.finish()
            guard found == digest else {
                throw RuntimeFailure(
                    .badImage, "image \(name): layer \(digest) is damaged, its bytes have the digest \(found)")
            }
            if rename(partial, folder) != 0 {
                let code = errno
                // Another process was first.
                guard code == EEXIST || code == ENOTEMPTY else {
                    throw RuntimeFailure(
                        SystemCallFailed("rename", code: code, on: folder), doing: "unpack image \(name)")
                }
                try? FileTree.remove(partial)
            }
        } catch {
            try? FileTree.remove(partial)
            throw error
        }
    }

    // MARK: Changing

    /// Holds a lock all processes keep while the index changes.
    func changingIndex<Value>(_ change: (inout [JSON]) throws(RuntimeFailure) -> Value) throws(RuntimeFailure) -> Value
    {
        let lock = try attempting("lock the image store") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(directory + "/lock", flags: O_RDWR | O_CREAT)
        }
        while flock(lock.number, LOCK_EX) != 0 {
            let code = errno
            guard code == EINTR else {
                throw RuntimeFailure(
                    SystemCallFailed("flock", code: code, on: directory), doing: "lock the image store")
            }
        }
        let before = try entries()
        var entries = before
        let value = try change(&entries)
        if entries != before {
            let index: JSON = ["schemaVersion": 2, "manifests": .array(entries)]
            var bytes: [UInt8] = []
            index.write(to: &bytes)
            try attempting("write the image index") { () throws(SystemCallFailed) in
                try SmallFile.replace(directory + "/index.json", with: bytes)
            }
        }
        return value
    }

    /// Gives a manifest a name, taking the name from the one that had it.
    func name(_ name: String, entry: JSON) throws(RuntimeFailure) {
        var entry = entry
        var annotations = entry["annotations"] ?? .object(JSONObject())
        annotations[Self.nameKey] = .string(name)
        entry["annotations"] = annotations
        let named = entry
        try changingIndex { entries throws(RuntimeFailure) in
            entries.removeAll { Self.name(of: $0) == name }
            entries.append(named)
        }
    }

    /// Stores a small blob; returns its digest.
    func add(_ bytes: [UInt8]) throws(RuntimeFailure) -> String {
        let digest = Digest.of(bytes)
        let path = try blobPath(digest, of: "a blob")
        if !FileTree.exists(path) {
            try attempting("write a blob") { () throws(SystemCallFailed) in try SmallFile.replace(path, with: bytes) }
        }
        return digest
    }

    /// Forgets a name, and removes blobs and unpacked layers no other image uses. Layers in `used` stay, for containers that run.
    package func remove(named name: String, keeping used: Set<String> = []) throws(RuntimeFailure) {
        let wanted = Self.fullName(name)
        let known = try changingIndex { entries throws(RuntimeFailure) in
            let count = entries.count
            entries.removeAll { Self.name(of: $0) == wanted }
            return entries.count < count
        }
        guard known else { throw RuntimeFailure(.noSuchImage, "no image \(wanted) in \(directory)") }
        var needed: Set<String> = []
        for image in try images() {
            needed.formUnion(image.layers.map(\.digest) + [image.manifestDigest, image.configDigest])
        }
        for entry in try entries() { needed.insert(entry["digest"]?.string ?? "") }
        for hex in FileTree.names(in: directory + "/blobs/sha256") where !needed.contains("sha256:" + hex) {
            try? FileTree.remove(directory + "/blobs/sha256/" + hex)
        }
        let folders = Set(used.map { $0.split(separator: "/").last.map(String.init) ?? "" })
        for hex in FileTree.names(in: directory + "/layers")
        where !needed.contains("sha256:" + hex) && !folders.contains(hex) {
            try? FileTree.remove(directory + "/layers/" + hex)
        }
    }

    /// Takes all named images of another layout; returns their names.
    package func importLayout(_ source: String) throws(RuntimeFailure) -> [String] {
        let other = try json(source + "/index.json", what: "the image index \(source)/index.json")
        var names: [String] = []
        for entry in other["manifests"]?.array ?? [] {
            guard let name = Self.name(of: entry), let digest = entry["digest"]?.string else { continue }
            try copy(digest, from: source, of: name, isManifest: true)
            try self.name(Self.fullName(name), entry: entry)
            names.append(Self.fullName(name))
        }
        if names.isEmpty {
            throw RuntimeFailure(.badImage, "\(source)/index.json names no image (annotation \(Self.nameKey))")
        }
        return names
    }

    private func copy(_ digest: String, from source: String, of name: String, isManifest: Bool) throws(RuntimeFailure) {
        let target = try blobPath(digest, of: name)
        let origin = source + "/blobs/sha256/" + (Digest.hex(digest) ?? "")
        if !FileTree.exists(target) {
            let partial = "\(target).partial-\(getpid())"
            let found = try FileCopy.copy(origin, to: partial, name: name)
            guard found == digest, rename(partial, target) == 0 else {
                try? FileTree.remove(partial)
                throw RuntimeFailure(.badImage, "image \(name): blob \(digest) in \(source) has the digest \(found)")
            }
        }
        guard isManifest else { return }
        let manifest = try blob(digest, of: name)
        for inner in manifest["manifests"]?.array ?? [] {
            // An index may name platforms whose blobs were left out.
            guard let digest = inner["digest"]?.string,
                FileTree.exists(source + "/blobs/sha256/" + (Digest.hex(digest) ?? ""))
            else { continue }
            try copy(digest, from: source, of: name, isManifest: true)
        }
        for part in [manifest["config"]].compactMap({ $0 }) + (manifest["layers"]?.array ?? []) {
            try copy(part["digest"]?.string ?? "", from: source, of: name, isManifest: false)
        }
    }
}
