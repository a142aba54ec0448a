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
            name: Self.proxy, files: [.init(source: try ProgramFile.beside("meshproxy"), target: "/bin/meshproxy")],
            entrypoint: ["/bin/meshproxy"], user: "1337:1337")
        _ = try ImagePacker(store: store).pack(image)
    }
}
