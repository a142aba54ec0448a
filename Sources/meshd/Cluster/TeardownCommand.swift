import ArgumentParser
import ClusterLayout
import ContainerRuntime
import Glibc
import Kernel
import Logging
import NodeAgent
import ServiceNetwork

struct TeardownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "teardown",
        abstract: "Remove what a cluster has on this machine, its daemon ended or dead.")

    @Option(help: "The cluster's name.")
    var name = "weft"
    @Flag(help: "Keep the stored objects, keys and images.")
    var keepData = false

    func run() async throws {
        let layout = try ClusterLayout(name: name)
        let deadline = ContinuousClock.now + .seconds(60)
        while access(layout.runDirectory, F_OK) == 0 || access(layout.stateDirectory, F_OK) == 0 {
            do { return try await remove(layout) } catch let taken as PidFile.Taken {
                // Another teardown may do all of it; a daemon is not to be torn down under.
                guard taken.isTeardown != false, ContinuousClock.now < deadline else { throw taken }
                try await Task.sleep(for: .milliseconds(20))
            } catch let failure as SystemCallFailed where failure.code == ENOENT || failure.code == ENOTEMPTY {
                // Another teardown took away what we looked at, or looked at what we took away.
                guard ContinuousClock.now < deadline else { throw failure }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private func remove(_ layout: ClusterLayout) async throws {
        try SmallFile.makeDirectories(layout.runDirectory)
        let lock = try PidFile(layout.pidFile, mark: ClusterLayout.teardownMark)
        try await removePods(layout)
        // It removes what it finds, however many nodes the cluster's settings, perhaps damaged, speak of.
        let fabric = try ClusterFabric(cluster: name, runDirectory: layout.runDirectory, nodes: 1)
        try await onThread { Result { try fabric.remove() } }.get()
        try removeCgroups(layout)
        try removeMounts(layout)
        try removeFiles(layout)
        _ = consume lock
    }

    private func removePods(_ layout: ClusterLayout) async throws {
        let supervisor = try ProgramFile.beside("mesh-init")
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in (1...ClusterLayout.mostNodes).map(layout.nodeName) {
                guard access(layout.nodeRunDirectory(node), F_OK) == 0 else { continue }
                let runtime = try LocalRuntime(
                    runtimeConfiguration(layout, node: node, supervisor: supervisor))
                for sandbox in try await runtime.sandboxes() {
                    group.addTask { try await runtime.removeSandbox(podUID: sandbox.podUID) }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Whatever is still mounted below the cluster's directories, such as volumes in memory; the innermost first.
    private func removeMounts(_ layout: ClusterLayout) throws {
        let table = String(decoding: try SmallFile.read("/proc/self/mounts"), as: UTF8.self)
        let places = table.split(separator: "\n").compactMap {
            $0.split(separator: " ").dropFirst().first.map(String.init)
        }
        for place in places.reversed()
        where place.hasPrefix(layout.runDirectory + "/") || place.hasPrefix(layout.stateDirectory + "/") {
            if umount2(place, CInt(MNT_DETACH)) != 0, errno != EINVAL, errno != ENOENT {
                throw SystemCallFailed("umount2", code: errno, on: place)
            }
        }
    }

    private func removeCgroups(_ layout: ClusterLayout) throws {
        try CgroupDriver.detect().remove(layout.cgroup)
    }

    private func removeFiles(_ layout: ClusterLayout) throws {
        try FileTree.remove(layout.runDirectory)
        if keepData {
            try FileTree.remove("\(layout.stateDirectory)/nodes")
        } else {
            do { try FileTree.remove(layout.stateDirectory) } catch {
                // A disk of its own: what was on it is gone, and the mount is its owner's.
                guard error.code == EBUSY, error.subject == layout.stateDirectory else { throw error }
            }
        }
        // The folders above are shared by all clusters: they go with the last one.
        for parent in ["/run/weft", "/var/lib/weft"] { _ = rmdir(parent) }
    }
}
