import ContainerRuntime
import Glibc
import Kernel
import KubeClient
import KubeTypes
import NodeAgent
import Testing
import Wire

@Suite struct VolumeTests {
    private let node = TestNode()
    private var places: PodPlaces { PodPlaces(state: node.directory + "/pod", run: node.directory + "/run-pod") }

    private func volumes(_ volumes: JSON, group: Int? = nil) -> PodVolumes {
        var pod = KubeObject(apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web")
        pod.labels = ["app": "web"]
        pod.json["spec"] = ["volumes": volumes, "containers": []]
        if let group { pod.json["spec"]?["securityContext"] = ["fsGroup": .int(Int64(group))] }
        let fields = PodFields(
            pod, address: "10.244.1.5", nodeAddress: "10.245.0.11",
            machine: MachineSize(processors: 2, memoryBytes: 1 << 30))
        return PodVolumes(pod, places: places, fields: fields, data: ConfigData(node.api, namespace: "shop"))
    }

    private func makeConfigMap(_ data: JSON) async throws {
        var map = KubeObject(apiVersion: "v1", kind: "ConfigMap", namespace: "shop", name: "settings")
        map.json["data"] = data
        _ = try await node.api.create(.configMaps, map)
    }

    private func text(_ path: String) -> String? {
        (try? SmallFile.read(path)).map { String(decoding: $0, as: UTF8.self) }
    }

    private func status(_ path: String) -> stat {
        var status = stat()
        stat(path, &status)
        return status
    }

    @Test("a configMap volume has a file for each key, and follows its object as one")
    func configMap() async throws {
        try await makeConfigMap(["a.txt": "one", "b.txt": "two"])
        let volumes = volumes([["name": "settings", "configMap": ["name": "settings"]]])
        try await volumes.prepare()
        let place = places.volume("settings")
        #expect(text("\(place)/a.txt") == "one")
        #expect(status("\(place)/a.txt").st_mode & 0o777 == 0o644)
        var map = try await node.api.get(.configMaps, ObjectKey(namespace: "shop", name: "settings"))
        map.json["data"] = ["b.txt": "three", "c.txt": "four"]
        _ = try await node.api.update(.configMaps, map)
        try await volumes.refresh()
        #expect(FileTree.names(in: place).filter { !$0.hasPrefix("..") }.sorted() == ["b.txt", "c.txt"])
        #expect(text("\(place)/b.txt") == "three")
        // One version on disk, and its link.
        #expect(FileTree.names(in: place).filter { $0.hasPrefix("..") }.count == 2)
    }

    @Test("items choose keys, paths and modes; a missing key is named")
    func items() async throws {
        try await makeConfigMap(["a.txt": "one"])
        let good: JSON = ["name": "settings", "items": [["key": "a.txt", "path": "deep/down.txt", "mode": 0o400]]]
        try await volumes([["name": "v", "configMap": good]]).prepare()
        #expect(text("\(places.volume("v"))/deep/down.txt") == "one")
        #expect(status("\(places.volume("v"))/deep/down.txt").st_mode & 0o777 == 0o400)
        let bad: JSON = ["name": "settings", "items": [["key": "z", "path": "z"]]]
        await #expect(throws: ContainerConfigFault.self) {
            try await volumes([["name": "w", "configMap": bad]]).prepare()
        }
    }

    @Test("a secret lies in memory, decoded; an absent one holds the pod back unless optional")
    func secret() async throws {
        var secret = KubeObject(apiVersion: "v1", kind: "Secret", namespace: "shop", name: "keys")
        secret.json["data"] = ["token": "czNjcmV0"]
        _ = try await node.api.create(.secrets, secret)
        try await volumes([["name": "keys", "secret": ["secretName": "keys", "defaultMode": 0o400]]]).prepare()
        let place = places.volume("keys")
        defer { umount2(place, CInt(MNT_DETACH)) }
        #expect(FileTree.isMountPoint(place))
        #expect(text("\(place)/token") == "s3cret")
        await #expect(
            throws: ContainerConfigFault("MountVolume.SetUp failed for volume \"x\": secret \"none\" not found")
        ) {
            try await volumes([["name": "x", "secret": ["secretName": "none"]]]).prepare()
        }
        let optional = places.volume("y")
        try await volumes([["name": "y", "secret": ["secretName": "none", "optional": true]]]).prepare()
        umount2(optional, CInt(MNT_DETACH))
    }

    @Test("downwardAPI and projected volumes join their sources")
    func projected() async throws {
        try await makeConfigMap(["a.txt": "one"])
        let labels: JSON = ["path": "labels", "fieldRef": ["fieldPath": "metadata.labels"]]
        try await volumes([
            [
                "name": "all",
                "projected": ["sources": [["configMap": ["name": "settings"]], ["downwardAPI": ["items": [labels]]]]],
            ]
        ]).prepare()
        #expect(text("\(places.volume("all"))/a.txt") == "one")
        #expect(text("\(places.volume("all"))/labels") == "app=\"web\"")
    }

    @Test("an emptyDir is writable by all, keeps its contents, and belongs to fsGroup")
    func emptyDir() async throws {
        let volumes = volumes([["name": "cache", "emptyDir": [:]]], group: 2000)
        try await volumes.prepare()
        let place = places.volume("cache")
        #expect(status(place).st_mode & 0o7777 == 0o2777)
        #expect(status(place).st_gid == 2000)
        try SmallFile.write("kept", to: "\(place)/file")
        try await volumes.prepare()
        #expect(text("\(place)/file") == "kept")
    }

    @Test("mounts resolve hostPath, the mesh and subPaths; a subPath leads out of no volume")
    func mounts() async throws {
        let volumes = volumes([
            ["name": "cache", "emptyDir": [:]], ["name": "host", "hostPath": ["path": "/etc"]],
            ["name": "mesh", "csi": ["driver": "mesh.weft.dev"]],
        ])
        try await volumes.prepare()
        let container: JSON = [
            "volumeMounts": [
                ["name": "cache", "mountPath": "/data", "subPathExpr": "of/$(POD)"],
                ["name": "host", "mountPath": "/host", "readOnly": true],
                ["name": "mesh", "mountPath": "/mesh"],
            ]
        ]
        let mounts = try volumes.mounts(of: container, environment: ["POD": "web"])
        #expect(mounts[0] == BindMount(source: places.volume("cache") + "/of/web", target: "/data", isReadOnly: false))
        #expect(mounts[1] == BindMount(source: "/etc", target: "/host", isReadOnly: true))
        #expect(mounts[2].source == places.mesh)
        symlink("/etc", places.volume("cache") + "/escape")
        for subPath in ["../x", "/etc", "escape", "escape/ssl"] {
            let bad: JSON = ["volumeMounts": [["name": "cache", "mountPath": "/x", "subPath": .string(subPath)]]]
            #expect(throws: ContainerConfigFault.self, "\(subPath)") { try volumes.mounts(of: bad, environment: [:]) }
        }
    }

    @Test("a kind of volume this node lacks is named", arguments: ["persistentVolumeClaim", "nfs"])
    func unsupported(kind: String) async throws {
        let volume: JSON = .object(JSONObject([.init("name", "data"), .init(kind, [:])]))
        let message =
            "MountVolume.SetUp failed for volume \"data\": volumes of the kind \(kind) are not supported on this node"
        await #expect(throws: ContainerConfigFault(message)) { try await volumes([volume]).prepare() }
    }

    @Test("removing a tree follows no link and survives great depth")
    func removal() throws {
        let root = node.directory + "/tree"
        let outside = node.directory + "/outside"
        try SmallFile.makeDirectories(outside)
        try SmallFile.write("kept", to: outside + "/file")
        try SmallFile.makeDirectories(root)
        symlink(outside, root + "/link")
        makeDeep(root, 500)
        try FileTree.remove(root)
        #expect(access(root, F_OK) != 0)
        #expect(text(outside + "/file") == "kept")
    }

    /// Nested directories, deeper than one path can name.
    private func makeDeep(_ root: String, _ depth: Int) {
        var parent = open(root, O_RDONLY | O_DIRECTORY)
        for _ in 0..<depth {
            mkdirat(parent, "directory", 0o755)
            let next = openat(parent, "directory", O_RDONLY | O_DIRECTORY)
            close(parent)
            parent = next
        }
        close(parent)
    }
}
