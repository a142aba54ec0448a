import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("A full disk", .timeLimit(.minutes(5)))
struct FullDiskTests {
    /// A file system of so many KiB, for as long as the body runs.
    private func withSmallDisk(_ kilobytes: Int, _ body: (String) throws -> Void) throws {
        let path = "/tmp/weft-test-disk-\(UInt32.random(in: .min ... .max))"
        try SmallFile.makeDirectories(path)
        defer { removeTree(path) }
        try #require(mount("tmpfs", path, "tmpfs", 0, "size=\(kilobytes)k") == 0)
        defer { umount2(path, CInt(MNT_DETACH)) }
        try body(path)
    }

    private let image = PackedImage(
        name: "weft.dev/test:v1", files: [.init(source: "/bin/busybox", target: "/bin/busybox")],
        entrypoint: ["/bin/busybox"])

    @Test("packing says the disk is full, and leaves nothing half done")
    func packing() throws {
        try withSmallDisk(1024) { disk in
            let store = try ImageStore(directory: disk + "/images")
            do throws(RuntimeFailure) {
                _ = try ImagePacker(store: store).pack(image)
                Issue.record("2 MB fit into 1")
            } catch {
                #expect(error.kind == .noSpace && error.message.contains("weft.dev/test:v1"))
            }
            #expect(
                entries(store.directory + "/blobs") == ["sha256"] && entries(store.directory + "/blobs/sha256").isEmpty)
        }
    }

    @Test("unpacking says the disk is full, and works once there is room")
    func unpacking() throws {
        try withSmallDisk(4096) { disk in
            let store = try ImageStore(directory: disk + "/images")
            _ = try ImagePacker(store: store).pack(image)
            let packed = try #require(try store.image(named: image.name))
            try SmallFile.write(String(repeating: "x", count: 1 << 20), to: disk + "/filler")
            do throws(RuntimeFailure) {
                _ = try store.layers(of: packed)
                Issue.record("it fitted")
            } catch {
                #expect(error.kind == .noSpace)
            }
            #expect(entries(store.directory + "/layers").isEmpty)
            unlink(disk + "/filler")
            #expect(try store.layers(of: packed).count == 1)
        }
    }
}
