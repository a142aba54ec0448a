import Glibc
import Kernel
import Testing

@testable import ServiceNetwork

@Suite("libnftables in this process")
struct NftablesTests {
    @Test("rules are set while the process has more descriptors than select can take")
    func manyDescriptors() throws {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        try #require(limit.rlim_max >= 4096, "the system allows only \(limit.rlim_max) descriptors")
        limit.rlim_cur = max(limit.rlim_cur, 4096)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        var held: [CInt] = []
        defer { held.forEach { close($0) } }
        while (held.max() ?? 0) <= 1100 { held.append(open("/dev/null", O_RDONLY | O_CLOEXEC)) }

        let directory = "/run/weft-test-nft-\(getpid())"
        try SmallFile.makeDirectories(directory)
        let path = "\(directory)/ns"
        try NetworkNamespace.create(at: path)
        defer {
            try? NetworkNamespace.remove(at: path)
            try? NetworkNamespace.removeDirectory(directory)
        }
        try Nftables.run("add table ip weft_test\nadd chain ip weft_test one", in: path)
        let listed = try NetworkNamespace.run(in: path, privateDescriptors: true) {
            () throws(SystemCallFailed) -> String in
            do throws(NftablesFailed) { return try Nftables().list("list ruleset") } catch { return error.message }
        }
        #expect(listed.contains("chain one"))
        // The descriptors of the process are untouched.
        #expect(held.allSatisfy { fcntl($0, F_GETFD) >= 0 })
    }
}
