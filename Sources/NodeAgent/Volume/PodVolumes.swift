package import ContainerRuntime
import Glibc
import Kernel
import KubeClient
package import KubeTypes
package import Wire

/// Makes tokens of a service account for pods that mount one.
package protocol ServiceAccountTokens: Sendable {
    /// - Parameter audience: empty for the API server's own.
    func token(for pod: KubeObject, audience: String, lifetime: Duration) async throws(APIFailure) -> String
}

/// The volumes of one pod on disk: made before its sandbox, refreshed while it lives, removed with it.
package struct PodVolumes: Sendable {
    /// Where the mesh driver's volume is mounted from.
    package static let meshDriver = "mesh.weft.dev"

    let pod: KubeObject
    let places: PodPlaces
    let fields: PodFields
    let data: ConfigData
    let tokens: (any ServiceAccountTokens)?

    package init(
        _ pod: KubeObject, places: PodPlaces, fields: PodFields, data: ConfigData,
        tokens: (any ServiceAccountTokens)? = nil
    ) {
        self.pod = pod
        self.places = places
        self.fields = fields
        self.data = data
        self.tokens = tokens
    }

    private var volumes: [JSON] { pod.spec["volumes"]?.array ?? [] }
    private var group: UInt32? { pod.spec[path: ["securityContext", "fsGroup"]]?.int.flatMap { UInt32(exactly: $0) } }

    /// Whether the pod asks for its socket to the mesh.
    package static func wantsMesh(_ pod: KubeObject) -> Bool {
        (pod.spec["volumes"]?.array ?? []).contains { $0[path: ["csi", "driver"]]?.string == meshDriver }
    }

    /// Makes all that is missing. Safe to repeat; what a volume holds is kept.
    package func prepare() async throws(ContainerConfigFault) {
        for volume in volumes { try await prepare(volume) }
    }

    /// Brings configMap, secret, downwardAPI and projected volumes up to date.
    package func refresh() async throws(ContainerConfigFault) {
        for volume in volumes where PodVolumes.isPayload(volume) { try await prepare(volume) }
    }

    var changesWithTime: Bool { volumes.contains(where: PodVolumes.isPayload) }

    /// Whether a volume asks for a token of the pod's service account.
    var wantsToken: Bool { volumes.contains { !VolumePayload.references(of: $0).audiences.isEmpty } }

    private static func isPayload(_ volume: JSON) -> Bool {
        ["configMap", "secret", "downwardAPI", "projected"].contains { volume[$0] != nil }
    }

    private func prepare(_ volume: JSON) async throws(ContainerConfigFault) {
        let name = volume["name"]?.string ?? ""
        let place = places.volume(name)
        if PodVolumes.isPayload(volume) {
            let files = try await payload(volume)
            let needs = VolumePayload.references(of: volume)
            let isSecret = !needs.secrets.isEmpty || !needs.audiences.isEmpty || volume["secret"] != nil
            let group = group
            try await perform(name) { () throws(SystemCallFailed) in
                try SmallFile.makeDirectories(place, mode: 0o755)
                // Secrets and tokens stay out of the disk.
                if isSecret { try MemoryVolume.mount(place, size: 16 << 20) }
                try PayloadDirectory(place).write(files, group: group)
            }
        } else if let empty = volume["emptyDir"] {
            let isMemory = empty["medium"]?.string == "Memory"
            let size = Quantity(empty["sizeLimit"]).map { Int($0.whole) }
            let group = group
            try await perform(name) { () throws(SystemCallFailed) in
                try SmallFile.makeDirectories(place, mode: 0o777)
                if isMemory { try MemoryVolume.mount(place, size: size) }
                if let group, chown(place, uid_t.max, group) != 0 {
                    throw SystemCallFailed("chown", code: errno, on: place)
                }
                if chmod(place, group == nil ? 0o777 : 0o2777) != 0 {
                    throw SystemCallFailed("chmod", code: errno, on: place)
                }
            }
        } else if let host = volume["hostPath"] {
            try await prepareHostPath(host, name)
        } else if let driver = volume[path: ["csi", "driver"]]?.string {
            guard driver == PodVolumes.meshDriver else {
                throw ContainerConfigFault(
                    "MountVolume.SetUp failed for volume \"\(name)\": no CSI driver \"\(driver)\" on this node; it has \(PodVolumes.meshDriver)"
                )
            }
        } else {
            let kind = volume.object?.keys.first { $0 != "name" } ?? "no source"
            throw ContainerConfigFault(
                "MountVolume.SetUp failed for volume \"\(name)\": volumes of the kind \(kind) are not supported on this node"
            )
        }
    }

    /// - Parameter host: `path` and `type`, of which the API knows eight.
    private func prepareHostPath(_ host: JSON, _ name: String) async throws(ContainerConfigFault) {
        let path = host["path"]?.string ?? ""
        let type = host["type"]?.string ?? ""
        guard path.hasPrefix("/") else {
            throw ContainerConfigFault("volume \"\(name)\": hostPath.path \"\(path)\" must be absolute")
        }
        if type == "DirectoryOrCreate" {
            try await perform(name) { () throws(SystemCallFailed) in try SmallFile.makeDirectories(path) }
        }
        if type == "FileOrCreate" {
            try await perform(name) { () throws(SystemCallFailed) in
                _ = try OwnedDescriptor.open(path, flags: O_WRONLY | O_CREAT)
            }
        }
        var status = stat()
        let isThere = stat(path, &status) == 0
        let wanted: [String: UInt32] = [
            "Directory": S_IFDIR, "DirectoryOrCreate": S_IFDIR, "File": S_IFREG, "FileOrCreate": S_IFREG,
            "Socket": S_IFSOCK,
            "CharDevice": S_IFCHR, "BlockDevice": S_IFBLK,
        ]
        guard isThere else {
            throw ContainerConfigFault(
                "MountVolume.SetUp failed for volume \"\(name)\": hostPath \(path) does not exist on this node")
        }
        if let kind = wanted[type], status.st_mode & S_IFMT != kind {
            throw ContainerConfigFault(
                "MountVolume.SetUp failed for volume \"\(name)\": hostPath \(path) is not a \(type)")
        }
    }

    private func payload(_ volume: JSON) async throws(ContainerConfigFault) -> [PayloadFile] {
        let needs = VolumePayload.references(of: volume)
        let containers = (pod.spec["initContainers"]?.array ?? []) + (pod.spec["containers"]?.array ?? [])
        var found = VolumePayload.Data(fields: fields, containers: containers)
        do throws(APIFailure) {
            for name in needs.configMaps { found.configMaps[name] = .some(try await data.configMap(name)) }
            for name in needs.secrets { found.secrets[name] = .some(try await data.secret(name)) }
            for audience in needs.audiences {
                guard let tokens else { continue }
                let text = try await tokens.token(for: pod, audience: audience, lifetime: .seconds(3600))
                found.tokens[audience] = Array(text.utf8)
            }
        } catch {
            throw ContainerConfigFault(
                "MountVolume.SetUp failed for volume \"\(volume["name"]?.string ?? "")\": \(error)")
        }
        return try VolumePayload.files(of: volume, found) ?? []
    }

    private func perform(
        _ volume: String, _ body: @escaping @Sendable () throws(SystemCallFailed) -> Void
    ) async throws(ContainerConfigFault) {
        let failure = await onThread { () -> SystemCallFailed? in
            do throws(SystemCallFailed) { try body() } catch { return error }
            return nil
        }
        if let failure { throw ContainerConfigFault("MountVolume.SetUp failed for volume \"\(volume)\": \(failure)") }
    }

    // MARK: Mounts

    /// The mounts of one container, volumes' own paths resolved.
    /// - Parameter environment: for `subPathExpr`.
    package func mounts(
        of container: JSON, environment: [String: String]
    ) throws(ContainerConfigFault) -> [BindMount] {
        var mounts: [BindMount] = []
        for mount in container["volumeMounts"]?.array ?? [] {
            let name = mount["name"]?.string ?? ""
            guard let volume = volumes.first(where: { $0["name"]?.string == name }) else {
                throw ContainerConfigFault("volumeMounts names the volume \"\(name)\", which the pod does not have")
            }
            var source = source(of: volume)
            var subPath = mount["subPath"]?.string ?? ""
            if let expression = mount["subPathExpr"]?.string {
                subPath = Environment.expand(expression, with: environment)
            }
            if !subPath.isEmpty { source = try SubPath.resolve(subPath, in: source, volume: name) }
            let target = mount["mountPath"]?.string ?? ""
            guard target.hasPrefix("/") else {
                throw ContainerConfigFault("volumeMounts \"\(name)\": mountPath \"\(target)\" must be absolute")
            }
            let isReadOnly = mount["readOnly"]?.bool ?? false || PodVolumes.isPayload(volume)
            mounts.append(BindMount(source: source, target: target, isReadOnly: isReadOnly))
        }
        return mounts
    }

    private func source(of volume: JSON) -> String {
        if let path = volume[path: ["hostPath", "path"]]?.string { return path }
        if volume["csi"] != nil { return places.mesh }
        return places.volume(volume["name"]?.string ?? "")
    }
}

/// A tmpfs on a volume's directory.
enum MemoryVolume {
    static func mount(_ path: String, size: Int?) throws(SystemCallFailed) {
        if FileTree.isMountPoint(path) { return }
        let options = size.map { "size=\($0)" } ?? ""
        if Glibc.mount("tmpfs", path, "tmpfs", UInt(MS_NOSUID | MS_NODEV), options) != 0 {
            throw SystemCallFailed("mount tmpfs", code: errno, on: path)
        }
    }

    static func unmount(_ path: String) throws(SystemCallFailed) {
        while FileTree.isMountPoint(path) {
            if umount2(path, CInt(MNT_DETACH)) != 0 { throw SystemCallFailed("umount", code: errno, on: path) }
        }
    }
}

enum SubPath {
    /// The place below a volume a mount names; made when it is not there.
    ///
    /// What containers of the pod wrote into the volume may be links: the result must still lie in the volume.
    static func resolve(_ subPath: String, in volume: String, volume name: String) throws(ContainerConfigFault)
        -> String
    {
        let parts = subPath.split(separator: "/")
        guard !subPath.hasPrefix("/"), !parts.contains("..") else {
            throw ContainerConfigFault("volume \"\(name)\": subPath \"\(subPath)\" must be relative and without ..")
        }
        let place = volume + "/" + parts.joined(separator: "/")
        if access(place, F_OK) != 0 {
            guard realPath(parent(of: place)).map({ isInside($0, volume) }) ?? true else {
                throw escaped(subPath, name)
            }
            do throws(SystemCallFailed) { try SmallFile.makeDirectories(place) } catch {
                throw ContainerConfigFault("volume \"\(name)\": subPath \"\(subPath)\": \(error)")
            }
        }
        guard let real = realPath(place), isInside(real, volume) else { throw escaped(subPath, name) }
        return real
    }

    private static func escaped(_ subPath: String, _ name: String) -> ContainerConfigFault {
        ContainerConfigFault("volume \"\(name)\": subPath \"\(subPath)\" leads out of the volume")
    }

    private static func isInside(_ real: String, _ volume: String) -> Bool {
        guard let root = realPath(volume) else { return false }
        return real == root || real.hasPrefix(root + "/")
    }

    private static func parent(of path: String) -> String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "/" }

    private static func realPath(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
