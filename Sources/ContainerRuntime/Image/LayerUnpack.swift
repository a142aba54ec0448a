import CKernel
import Glibc
import Kernel

/// Unpacks one layer into a directory that overlayfs can use as a lower layer.
///
/// Nothing in an archive can write outside the directory: names with `..` or a leading `/` are refused, and every lookup is
/// bound to the directory, so that links in it lead nowhere else.
struct LayerUnpack: ~Copyable {
    private let root: OwnedDescriptor
    private let name: String
    private var parentPath = ""
    private var parent: CInt = -1

    static func unpack(_ blob: BlobStream, into directory: String, name: String) throws(RuntimeFailure) {
        let root = try attempting("unpack \(name)") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(directory, flags: O_RDONLY | O_DIRECTORY)
        }
        var unpack = LayerUnpack(root: root, name: name)
        var reader = TarReader(blob, name: name)
        while let entry = try reader.next() { try unpack.place(entry, blob) }
    }

    private init(root: consuming OwnedDescriptor, name: String) {
        self.root = root
        self.name = name
    }

    deinit { if parent >= 0 { close(parent) } }

    private func refused(_ entry: TarEntry, _ why: String) -> RuntimeFailure {
        RuntimeFailure(.badImage, "\(name) is refused: \(entry.path): \(why)")
    }

    private func failed(_ call: String, _ entry: TarEntry, _ code: CInt) -> RuntimeFailure {
        RuntimeFailure(SystemCallFailed(call, code: code, on: entry.path), doing: "unpack \(name)")
    }

    /// The parts of a name inside the layer; empty for the layer's own root.
    private func parts(_ path: String, of entry: TarEntry) throws(RuntimeFailure) -> [Substring] {
        if path.hasPrefix("/") { throw refused(entry, "the absolute path \(path) leads out of the image") }
        let parts = path.split(separator: "/").filter { $0 != "." }
        if parts.contains("..") { throw refused(entry, "the path \(path) leads out of the image") }
        if path.utf8.contains(0) { throw refused(entry, "a name holds a zero byte") }
        return parts
    }

    private mutating func openParent(_ parts: ArraySlice<Substring>, _ entry: TarEntry) throws(RuntimeFailure) -> CInt {
        let path = parts.isEmpty ? "/" : parts.joined(separator: "/")
        if path == parentPath { return parent }
        let found = weft_open_target(root.number, path, 0)
        let code = errno
        guard found >= 0 else { throw failed("open the directory of", entry, code) }
        if parent >= 0 { close(parent) }
        parent = found
        parentPath = path
        return found
    }

    private mutating func place(_ entry: TarEntry, _ blob: BlobStream) throws(RuntimeFailure) {
        let parts = try parts(entry.path, of: entry)
        guard let last = parts.last else {
            try blob.skip(entry.size)
            return
        }
        let parent = try openParent(parts.dropLast(), entry)
        let name = String(last)
        if name == ".wh..wh..opq" { return try markOpaque(parent, entry) }
        if name.hasPrefix(".wh.") { return try markRemoved(parent, String(name.dropFirst(4)), entry) }

        switch entry.kind {
        case .directory: try directory(parent, name, entry)
        case .file: try file(parent, name, entry, blob)
        case .symbolicLink:
            try clear(parent, name, entry)
            if symlinkat(entry.link, self.parent, name) != 0 { throw failed("symlink", entry, errno) }
        case .hardLink: try hardLink(parent, name, entry)
        case .fifo:
            try clear(parent, name, entry)
            if mkfifoat(self.parent, name, entry.mode) != 0 { throw failed("mkfifo", entry, errno) }
        // A device of the machine has no place in an image: the runtime makes the few that containers get.
        case .device: return
        }
        if entry.kind == .hardLink { return }
        try own(self.parent, name, entry)
        try setCapability(self.parent, name, entry)
    }

    private func own(_ parent: CInt, _ name: String, _ entry: TarEntry) throws(RuntimeFailure) {
        if fchownat(
            parent, name, UInt32(truncatingIfNeeded: entry.user), UInt32(truncatingIfNeeded: entry.group),
            AT_SYMLINK_NOFOLLOW) != 0
        {
            throw failed("chown", entry, errno)
        }
        // After the owner, since chown takes away set-user-id.
        if entry.kind != .symbolicLink, fchmodat(parent, name, entry.mode, 0) != 0 {
            throw failed("chmod", entry, errno)
        }
        let time = timespec(tv_sec: Int(entry.modified), tv_nsec: 0)
        let times = [time, time]
        if utimensat(parent, name, times, AT_SYMLINK_NOFOLLOW) != 0 { throw failed("utimens", entry, errno) }
    }

    /// Removes what a later entry of the same name replaces.
    private mutating func clear(_ parent: CInt, _ name: String, _ entry: TarEntry) throws(RuntimeFailure) {
        if unlinkat(parent, name, 0) == 0 { return }
        let code = errno
        if code == ENOENT { return }
        guard code == EISDIR else { throw failed("replace", entry, code) }
        do throws(SystemCallFailed) { try FileTree.remove(name, in: parent) } catch {
            throw failed("replace", entry, error.code)
        }
        parentPath = ""
        self.parent = fcntl(parent, F_DUPFD_CLOEXEC, 3)
        close(parent)
    }

    private func directory(_ parent: CInt, _ name: String, _ entry: TarEntry) throws(RuntimeFailure) {
        if mkdirat(parent, name, 0o755) == 0 { return }
        let code = errno
        guard code == EEXIST else { throw failed("mkdir", entry, code) }
        var facts = stat()
        guard fstatat(parent, name, &facts, AT_SYMLINK_NOFOLLOW) == 0 else { throw failed("stat", entry, errno) }
        if facts.st_mode & S_IFMT == S_IFDIR { return }
        if unlinkat(parent, name, 0) != 0 || mkdirat(parent, name, 0o755) != 0 { throw failed("mkdir", entry, errno) }
    }

    private mutating func file(_ parent: CInt, _ name: String, _ entry: TarEntry, _ blob: BlobStream)
        throws(RuntimeFailure)
    {
        try clear(parent, name, entry)
        let number = openat(self.parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        let code = errno
        guard number >= 0 else { throw failed("create", entry, code) }
        let file = OwnedDescriptor(taking: number)
        let whole = name
        let layer = self.name
        try blob.take(entry.size) { piece throws(RuntimeFailure) in
            var done = 0
            while done < piece.count {
                let count = write(file.number, piece.baseAddress.map { $0 + done }, piece.count - done)
                let code = errno
                if count < 0, code == EINTR { continue }
                guard count > 0 else {
                    throw RuntimeFailure(SystemCallFailed("write", code: code, on: whole), doing: "unpack \(layer)")
                }
                done += count
            }
        }
    }

    /// File capabilities, after the owner, since any chown takes them away.
    private func setCapability(_ parent: CInt, _ name: String, _ entry: TarEntry) throws(RuntimeFailure) {
        guard entry.kind == .file, let capability = entry.attributes["security.capability"] else { return }
        let found = weft_locate(parent, name)
        guard found >= 0 else { throw failed("open", entry, errno) }
        defer { close(found) }
        if weft_set_attribute(found, "security.capability", capability, capability.count) != 0 {
            throw failed("setxattr", entry, errno)
        }
    }

    private mutating func hardLink(_ parent: CInt, _ name: String, _ entry: TarEntry) throws(RuntimeFailure) {
        let target = try parts(entry.link, of: entry).joined(separator: "/")
        try clear(parent, name, entry)
        let found = weft_locate(root.number, target)
        var code = errno
        guard found >= 0 else {
            throw refused(entry, "it links to \(entry.link), which is not in the image (errno \(code))")
        }
        defer { close(found) }
        if linkat(AT_FDCWD, "/proc/self/fd/\(found)", self.parent, name, AT_SYMLINK_FOLLOW) != 0 {
            code = errno
            throw failed("link", entry, code)
        }
    }

    private func markOpaque(_ parent: CInt, _ entry: TarEntry) throws(RuntimeFailure) {
        if weft_set_attribute(parent, "trusted.overlay.opaque", "y", 1) != 0 { throw failed("setxattr", entry, errno) }
    }

    private mutating func markRemoved(_ parent: CInt, _ name: String, _ entry: TarEntry) throws(RuntimeFailure) {
        guard !name.isEmpty, name != ".", name != ".." else { throw refused(entry, "it removes nothing") }
        try clear(parent, name, entry)
        if mknodat(self.parent, name, S_IFCHR, 0) != 0 { throw failed("mknod", entry, errno) }
    }
}
