import Glibc
import Kernel
import TestSupport
import Testing
import Wire

@testable import ContainerRuntime

@Suite("Layers and images", .timeLimit(.minutes(5)))
struct LayerTests {
    private struct Folder: ~Copyable {
        let path = "/tmp/weft-test-layer-\(UInt32.random(in: .min ... .max))"
        init() throws { try SmallFile.makeDirectories(path) }
        deinit { removeTree(path) }
    }

    private func tar(_ entries: [(TarEntry, [UInt8])]) -> [UInt8] {
        entries.flatMap { entry, data in
            var entry = entry
            entry.size = data.count
            return TarWriter.header(entry) + data + TarWriter.padding(data.count)
        } + TarWriter.end
    }

    private func entry(_ kind: TarEntry.Kind, _ path: String, link: String = "", _ text: String = "") -> (
        TarEntry, [UInt8]
    ) {
        (TarEntry(kind: kind, path: path, link: link, mode: kind == .directory ? 0o755 : 0o644), Array(text.utf8))
    }

    private func unpack(_ archive: [UInt8], into folder: String) throws {
        try SmallFile.replace(folder + ".tar", with: archive)
        defer { unlink(folder + ".tar") }
        try SmallFile.makeDirectories(folder)
        try LayerUnpack.unpack(try BlobStream(path: folder + ".tar", name: "test"), into: folder, name: "test")
    }

    private func text(_ path: String) -> String? {
        (try? SmallFile.read(path)).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("files, directories, links, long names and modes come out as they went in")
    func roundTrip() throws {
        let folder = try Folder()
        let long = String(repeating: "long/", count: 40) + "name"
        var program = entry(.file, "bin/tool", "x")
        program.0.mode = 0o4755
        try unpack(
            tar([
                entry(.directory, "bin/"), program, entry(.file, long, "deep"),
                entry(.symbolicLink, "lib", link: "/usr/lib"),
                entry(.hardLink, "bin/same", link: "bin/tool"),
                entry(.symbolicLink, "far", link: String(repeating: "t/", count: 90)),
            ]), into: folder.path + "/l")
        #expect(text(folder.path + "/l/" + long) == "deep")
        #expect(text(folder.path + "/l/bin/same") == "x")
        var facts = stat()
        #expect(
            stat(folder.path + "/l/bin/tool", &facts) == 0 && facts.st_mode & 0o7777 == 0o4755 && facts.st_nlink == 2)
        var target = [CChar](repeating: 0, count: 512)
        #expect(readlink(folder.path + "/l/far", &target, 512) == 180)
    }

    @Test(
        "an archive cannot write outside its layer",
        arguments: ["../escaped", "a/../../escaped", "/tmp/weft-escaped", "./../escaped"])
    func traversal(path: String) throws {
        let folder = try Folder()
        #expect(throws: RuntimeFailure.self) { try unpack(tar([entry(.file, path, "bad")]), into: folder.path + "/l") }
        #expect(entries(folder.path) == ["l"] && entries(folder.path + "/l").isEmpty)
        #expect(access("/tmp/weft-escaped", F_OK) != 0)
    }

    @Test("links in an archive lead nowhere outside the layer")
    func linkEscapes() throws {
        let folder = try Folder()
        let outside = folder.path + "/outside"
        try SmallFile.makeDirectories(outside)
        try SmallFile.write("secret", to: outside + "/secret")
        #expect(throws: RuntimeFailure.self) {
            try unpack(
                tar([entry(.symbolicLink, "out", link: outside), entry(.file, "out/planted", "bad")]),
                into: folder.path + "/one")
        }
        #expect(throws: RuntimeFailure.self) {
            try unpack(
                tar([entry(.symbolicLink, "out", link: "../outside"), entry(.file, "out/planted", "bad")]),
                into: folder.path + "/two")
        }
        #expect(throws: RuntimeFailure.self) {
            try unpack(tar([entry(.hardLink, "stolen", link: "../outside/secret")]), into: folder.path + "/three")
        }
        #expect(throws: RuntimeFailure.self) {
            try unpack(tar([entry(.hardLink, "stolen", link: outside + "/secret")]), into: folder.path + "/four")
        }
        #expect(throws: RuntimeFailure.self) {
            try unpack(
                tar([entry(.symbolicLink, "out", link: outside), entry(.hardLink, "stolen", link: "out/secret")]),
                into: folder.path + "/five")
        }
        // A later file replaces a link, it does not write through it.
        try unpack(
            tar([entry(.symbolicLink, "f", link: outside + "/secret"), entry(.file, "f", "new")]),
            into: folder.path + "/six")
        #expect(text(folder.path + "/six/f") == "new")
        #expect(entries(outside) == ["secret"] && text(outside + "/secret") == "secret")
    }

    @Test("whiteouts become overlayfs's own marks")
    func whiteouts() throws {
        let folder = try Folder()
        try unpack(
            tar([
                entry(.directory, "dir"), entry(.file, "dir/.wh..wh..opq"), entry(.file, "dir/.wh.gone"),
                entry(.file, ".wh.old"),
            ]), into: folder.path + "/l")
        var facts = stat()
        #expect(
            lstat(folder.path + "/l/dir/gone", &facts) == 0 && facts.st_mode & S_IFMT == S_IFCHR && facts.st_rdev == 0)
        #expect(lstat(folder.path + "/l/old", &facts) == 0 && facts.st_mode & S_IFMT == S_IFCHR)
        #expect(entries(folder.path + "/l/dir") == ["gone"])
    }

    @Test("a damaged or cut archive is refused, wherever it is cut")
    func damaged() throws {
        let folder = try Folder()
        let whole = tar([entry(.file, "a", String(repeating: "text", count: 300)), entry(.directory, "d")])
        for length in [1, 100, 511, 600, 1400] {
            #expect(throws: RuntimeFailure.self) {
                try unpack(Array(whole[..<length]), into: folder.path + "/cut-\(length)")
            }
        }
        var random = SystemRandomNumberGenerator()
        for number in 0..<200 {
            var bytes = whole
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<1536, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
            }
            // Refused or unpacked, but never a trap.
            try? unpack(bytes, into: folder.path + "/fuzz-\(number)")
        }
    }

    @Test("a layer whose bytes have another digest is refused and leaves nothing")
    func wrongDigest() throws {
        let folder = try Folder()
        let store = try ImageStore(directory: folder.path + "/images")
        let status = try ImagePacker(store: store).pack(
            PackedImage(
                name: "a/b:1", files: [.init(source: "/bin/busybox", target: "/bin/busybox")],
                entrypoint: ["/bin/busybox"]))
        let image = try #require(try store.image(named: "a/b:1"))
        #expect(status.digest == image.manifestDigest && status.entrypoint == ["/bin/busybox"])
        let blob = "\(store.directory)/blobs/sha256/\(image.layers[0].digest.dropFirst(7))"
        let file = try OwnedDescriptor.open(blob, flags: O_WRONLY)
        #expect(pwrite(file.number, "X", 1, 5000) == 1)
        #expect(throws: RuntimeFailure.self) { try store.layers(of: image) }
        #expect(entries(store.directory + "/layers").isEmpty)
    }

    @Test("an unchanged program is not packed again, a changed one is; the same files give the same image")
    func packing() throws {
        let folder = try Folder()
        let store = try ImageStore(directory: folder.path + "/images")
        let program = folder.path + "/program"
        try SmallFile.write("#!/bin/sh\n", to: program)
        let packer = ImagePacker(store: store)
        let spec = PackedImage(
            name: "weft.dev/p", files: [.init(source: program, target: "/p")], entrypoint: ["/p"], exposedPorts: [80])
        let first = try packer.pack(spec)
        #expect(first.name == "weft.dev/p:latest")
        #expect(try packer.pack(spec) == first)
        try SmallFile.write("#!/bin/sh\nexit\n", to: program)
        let second = try packer.pack(spec)
        #expect(second.digest != first.digest)
        let other = try ImageStore(directory: folder.path + "/other")
        #expect(try ImagePacker(store: other).pack(spec).digest == second.digest)
        #expect(try store.images().map(\.name) == ["weft.dev/p:latest"])
        try store.remove(named: "weft.dev/p")
        #expect(entries(store.directory + "/blobs/sha256").isEmpty)
        #expect(try store.image(named: "weft.dev/p") == nil)
        #expect(try store.importLayout(other.directory) == ["weft.dev/p:latest"])
        #expect(try store.image(named: "weft.dev/p")?.manifestDigest == second.digest)
    }

    @Test("a program brings the libraries it needs, and runs from them alone")
    func libraries() async throws {
        try await TestMachine.run { machine in
            _ = try ImagePacker(store: machine.runtime.images).pack(
                PackedImage(
                    name: "weft.dev/dynamic:v1", files: [.init(source: "/usr/bin/id", target: "/bin/id")],
                    entrypoint: ["/bin/id"], command: ["-u"]))
            let lines = try await machine.output("") { spec in
                spec.image = "weft.dev/dynamic:v1"
                spec.arguments = nil
            }
            #expect(lines == ["0"])
            do {
                _ = try await machine.output("") { $0.image = "weft.dev/none:v1" }
                Issue.record("it started")
            } catch let failure as RuntimeFailure {
                #expect(
                    failure.kind == .noSuchImage && failure.message.contains("weft.dev/none:v1")
                        && failure.message.contains(#""app""#))
            }
        }
    }

    @Test("an image can be removed while a container runs from it")
    func removalWhileRunning() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "sleep 0.2; exec cat /etc/passwd"))
            try await machine.runtime.removeImage(named: TestMachine.image)
            #expect(try await machine.runtime.image(named: TestMachine.image) == nil)
            _ = try await machine.ended("p1")
            #expect(machine.lines(machine.logPath("p1")).first?.hasPrefix("root:") == true)
            await #expect(throws: RuntimeFailure.self) {
                try await machine.runtime.removeImage(named: TestMachine.image)
            }
        }
    }

    @Test("gzip layers are unpacked, and their digest is that of the compressed bytes")
    func gzip() throws {
        let folder = try Folder()
        try SmallFile.replace(
            folder.path + "/l.tar", with: tar([entry(.file, "a", String(repeating: "text", count: 100_000))]))
        try #require(try TestProcess(["/bin/busybox", "gzip", folder.path + "/l.tar"], output: .nothing).wait() == 0)
        let blob = try BlobStream(path: folder.path + "/l.tar.gz", name: "test")
        try SmallFile.makeDirectories(folder.path + "/l")
        try LayerUnpack.unpack(blob, into: folder.path + "/l", name: "test")
        #expect(text(folder.path + "/l/a")?.utf8.count == 400_000)
        #expect(try blob.finish() == Digest.of(try SmallFile.read(folder.path + "/l.tar.gz")))
    }
}
