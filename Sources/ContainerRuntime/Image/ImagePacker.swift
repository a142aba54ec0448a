import Glibc
import Kernel
import Wire

/// An image to be made from files of this machine.
package struct PackedImage: Sendable {
    package struct File: Sendable, Hashable {
        package var source: String
        package var target: String
        package init(source: String, target: String) {
            self.source = source
            self.target = target
        }
    }
    package var name: String
    /// Programs bring the shared libraries they need.
    package var files: [File]
    package var entrypoint: [String]
    package var command: [String] = []
    package var environment: [String] = []
    /// `user[:group]`; names beyond root and nobody are not known in the image.
    package var user = ""
    package var workingDirectory = "/"
    package var exposedPorts: [Int] = []
    /// Symbolic links, from name to what it holds.
    package var links: [String: String] = [:]

    package init(
        name: String, files: [File], entrypoint: [String], command: [String] = [], environment: [String] = [],
        user: String = "",
        exposedPorts: [Int] = []
    ) {
        self.name = name
        self.files = files
        self.entrypoint = entrypoint
        self.command = command
        self.environment = environment
        self.user = user
        self.exposedPorts = exposedPorts
    }
}

/// Packs programs of this machine into images, with no network and no other program's help.
///
/// The layer is an uncompressed tar: it never leaves the machine, and is the same for the same files. An image whose
/// files have not changed since (path, size, time, inode) is not packed again.
package struct ImagePacker: Sendable {
    private let store: ImageStore
    private static let sourceKey = "dev.weft.packed-from"

    package init(store: ImageStore) { self.store = store }

    package func pack(_ image: PackedImage) throws(RuntimeFailure) -> ImageStatus {
        var closure = LibraryClosure()
        var files: [String: String] = [:]
        for file in image.files {
            guard file.target.hasPrefix("/"), !file.target.split(separator: "/").contains("..") else {
                throw RuntimeFailure(.badImage, "image \(image.name): the target \(file.target) is no absolute path")
            }
            files[file.target] = file.source
            try closure.add(program: file.source)
        }
        for (target, source) in closure.files { files[target] = source }

        let name = ImageStore.fullName(image.name)
        let recipe = try recipe(image, files)
        let known = try store.entries().first {
            $0["annotations"]?[ImageStore.nameKey]?.string == name
                && $0["annotations"]?[Self.sourceKey]?.string == recipe
        }
        if known != nil, let packed = try? store.image(named: name), isWhole(packed) { return packed.status }

        let layer = try writeLayer(image, files)
        let config = try store.add(bytes(configuration(image, layer: layer.digest)))
        let configSize = bytes(configuration(image, layer: layer.digest)).count
        let manifest: JSON = [
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": [
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": .string(config),
                "size": .int(Int64(configSize)),
            ],
            "layers": [
                [
                    "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": .string(layer.digest),
                    "size": .int(Int64(layer.size)),
                ]
            ],
        ]
        let manifestBytes = bytes(manifest)
        let digest = try store.add(manifestBytes)
        try store.name(
            name,
            entry: [
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": .string(digest),
                "size": .int(Int64(manifestBytes.count)), "annotations": JSON([Self.sourceKey: recipe]),
                "platform": ["architecture": .string(ImageStore.architecture), "os": "linux"],
            ])
        guard let packed = try store.image(named: name) else {
            throw RuntimeFailure(.badImage, "image \(name) vanished from the store while it was packed")
        }
        return packed.status
    }

    private func isWhole(_ image: ImageRecord) -> Bool {
        image.layers.allSatisfy { layer in
            (try? store.blobPath(layer.digest, of: image.name)).map(FileTree.exists) ?? false
        }
    }

    private func bytes(_ json: JSON) -> [UInt8] {
        var bytes: [UInt8] = []
        json.write(to: &bytes)
        return bytes
    }

    private func configuration(_ image: PackedImage, layer: String) -> JSON {
        func list(_ texts: [String]) -> JSON { .array(texts.map(JSON.string)) }
        var settings = JSONObject()
        settings["Env"] = list(
            ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + image.environment)
        settings["Entrypoint"] = list(image.entrypoint)
        if !image.command.isEmpty { settings["Cmd"] = list(image.command) }
        settings["WorkingDir"] = .string(image.workingDirectory)
        if !image.user.isEmpty { settings["User"] = .string(image.user) }
        if !image.exposedPorts.isEmpty {
            settings["ExposedPorts"] = .object(
                JSONObject(image.exposedPorts.map { .init("\($0)/tcp", .object(JSONObject())) }))
        }
        return [
            "created": "1970-01-01T00:00:00Z", "architecture": .string(ImageStore.architecture), "os": "linux",
            "config": .object(settings), "rootfs": ["type": "layers", "diff_ids": [.string(layer)]],
        ]
    }

    /// What the image is made from, as a digest: equal recipes give equal images.
    private func recipe(_ image: PackedImage, _ files: [String: String]) throws(RuntimeFailure) -> String {
        var text = "1\n\(configuration(image, layer: ""))\n\(image.links.sorted { $0.key < $1.key })\n"
        for (target, source) in files.sorted(by: { $0.key < $1.key }) {
            var facts = stat()
            guard stat(source, &facts) == 0 else {
                let code = errno
                throw RuntimeFailure(
                    SystemCallFailed("stat", code: code, on: source), doing: "pack image \(image.name)")
            }
            text +=
                "\(target)\t\(source)\t\(facts.st_size)\t\(facts.st_mtim.tv_sec).\(facts.st_mtim.tv_nsec)\t\(facts.st_ino)\n"
        }
        return Digest.of(Array(text.utf8))
    }

    // MARK: The layer

    private static let texts: [String: String] = [
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    ]
    private static let folders: [String: UInt32] = [
        "dev": 0o755, "etc": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555, "tmp": 0o1777,
        "var": 0o755,
        "var/run": 0o755, "var/tmp": 0o1777,
    ]

    private func writeLayer(_ image: PackedImage, _ files: [String: String]) throws(RuntimeFailure) -> (
        digest: String, size: Int
    ) {
        let partial = "\(store.directory)/blobs/.packing-\(getpid())-\(UInt64.random(in: .min ... .max))"
        defer { try? FileTree.remove(partial) }
        let output = try attempting("pack image \(image.name)") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(partial, flags: O_WRONLY | O_CREAT | O_EXCL)
        }
        let digest = DigestStream()
        var size = 0
        func put(_ bytes: [UInt8]) throws(RuntimeFailure) {
            size += bytes.count
            let result = bytes.withUnsafeBytes { piece -> Result<Void, RuntimeFailure> in
                do throws(RuntimeFailure) {
                    return .success(try FileCopy.write(piece, to: output.number, digest: digest, what: image.name))
                } catch { return .failure(error) }
            }
            try result.get()
        }

        var folders = Self.folders
        let members = files.map { (String($0.key.drop { $0 == "/" }), $0.value) }
        for path in members.map(\.0) + image.links.keys.map({ String($0.drop { $0 == "/" }) }) {
            let parts = path.split(separator: "/")
            for count in 1..<max(1, parts.count) {
                let folder = parts[..<count].joined(separator: "/")
                if folders[folder] == nil { folders[folder] = 0o755 }
            }
        }
        for (path, mode) in folders.sorted(by: { $0.key < $1.key }) {
            try put(TarWriter.header(TarEntry(kind: .directory, path: path + "/", mode: mode)))
        }
        for (path, text) in Self.texts.sorted(by: { $0.key < $1.key }) where files["/" + path] == nil {
            let entry = TarEntry(kind: .file, path: path, mode: 0o644, size: text.utf8.count)
            try put(TarWriter.header(entry) + text.utf8 + TarWriter.padding(entry.size))
        }
        for (path, held) in image.links.sorted(by: { $0.key < $1.key }) {
            try put(
                TarWriter.header(
                    TarEntry(kind: .symbolicLink, path: String(path.drop { $0 == "/" }), link: held, mode: 0o777)))
        }
        for (path, source) in members.sorted(by: { $0.0 < $1.0 }) {
            var facts = stat()
            guard stat(source, &facts) == 0 else {
                let code = errno
                throw RuntimeFailure(
                    SystemCallFailed("stat", code: code, on: source), doing: "pack image \(image.name)")
            }
            let mode: UInt32 = facts.st_mode & 0o111 != 0 ? 0o755 : 0o644
            let entry = TarEntry(kind: .file, path: path, mode: mode, size: Int(facts.st_size))
            try put(TarWriter.header(entry))
            let copied = try FileCopy.append(source, to: output.number, digest: digest, what: image.name)
            guard copied == entry.size else {
                throw RuntimeFailure(.badImage, "image \(image.name): \(source) changed while it was packed")
            }
            size += copied
            try put(TarWriter.padding(entry.size))
        }
        try put(TarWriter.end)
        let found = digest.finish()
        let target = try store.blobPath(found, of: image.name)
        if rename(partial, target) != 0 {
            let code = errno
            throw RuntimeFailure(SystemCallFailed("rename", code: code, on: target), doing: "pack image \(image.name)")
        }
        return (found, size)
    }
}
