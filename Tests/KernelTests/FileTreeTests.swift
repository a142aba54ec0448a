import Glibc
import Kernel
import Testing

@Suite struct FileTreeTests {
    private func directory() throws -> String {
        let path = "/tmp/weft-tree-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try SmallFile.makeDirectories(path)
        return path
    }

    @Test("a link is removed, not what it points to")
    func links() throws {
        let path = try directory()
        try SmallFile.makeDirectories(path + "/kept")
        try SmallFile.write("x", to: path + "/kept/file")
        try SmallFile.makeDirectories(path + "/gone")
        #expect(symlink(path + "/kept", path + "/gone/link") == 0)
        try FileTree.remove(path + "/gone")
        #expect(FileTree.names(in: path) == ["kept"])
        #expect(FileTree.fileCount(path) == 1)
        try FileTree.remove(path)
        #expect(!FileTree.exists(path))
        try FileTree.remove(path)
    }

    @Test("a name that is not UTF-8 is removed with the rest")
    func strangeNames() throws {
        let path = try directory()
        let name = Array((path + "/").utf8CString.dropLast()) + [CChar(bitPattern: 0xFF), CChar(bitPattern: 0xFE), 0]
        #expect(mkdir(name, 0o755) == 0)
        try FileTree.remove(path)
        #expect(!FileTree.exists(path))
    }

    @Test("a tree of a thousand floors is removed")
    func deep() throws {
        let path = try directory()
        var floor = open(path, O_RDONLY | O_DIRECTORY)
        for _ in 0..<1000 {
            #expect(mkdirat(floor, "d", 0o755) == 0)
            let next = openat(floor, "d", O_RDONLY | O_DIRECTORY)
            close(floor)
            floor = next
        }
        close(floor)
        try FileTree.remove(path)
        #expect(!FileTree.exists(path))
    }
}
