import ClusterLayout
import ContainerRuntime
import Glibc
import Kernel

/// The images of our own programs, packed from the binaries that stand beside this one.
struct SystemImages {
    let directory: String

    static let proxy = "weft.dev/meshproxy:\(weftVersion)"

    func pack() throws {
        let store = try ImageStore(directory: directory)
        let image = PackedImage(
            name: Self.proxy, files: [.init(source: try program("meshproxy"), target: "/bin/meshproxy")],
            entrypoint: ["/bin/meshproxy"], user: "1337:1337")
        _ = try ImagePacker(store: store).pack(image)
    }
}

/// A program of ours: it stands beside this one.
func program(_ name: String) throws -> String {
    var path = [CChar](repeating: 0, count: 4096)
    let length = readlink("/proc/self/exe", &path, path.count)
    guard length > 0 else { throw SystemCallFailed("readlink", code: errno, on: "/proc/self/exe") }
    let own = String(decoding: path[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let folder = own.lastIndex(of: "/").map { own[...$0] } ?? "./"
    let beside = String(folder + name)
    if access(beside, X_OK) != 0 { throw SystemCallFailed("access", code: errno, on: beside) }
    return beside
}
