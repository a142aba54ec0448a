import ArgumentParser
import ClusterLayout
import Glibc
import Kernel
import Store
import Wire

/// `meshctl store`: copies of the embedded store, and whether it is whole.
struct StoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Copy a cluster's objects, put a copy back, check them on the disk.",
        discussion: """
            These are about the embedded store. Where objects are in etcd, 'etcdctl snapshot' does the same.

            EXAMPLES
              meshctl store snapshot backup.db     copy all objects; the cluster may run
              meshctl store verify                 read all on the disk and check it
              meshctl store verify backup.db       the same for a copy
              meshctl store restore backup.db --cluster again && meshctl up --cluster again
            """,
        subcommands: [Snapshot.self, Restore.self, Verify.self])

    fileprivate static func requireEmbedded(_ layout: ClusterLayout) throws {
        let place = Daemon(layout: layout).settings()?["storage"]?["store"]?.string ?? ""
        if !place.isEmpty {
            throw CommandFailure("cluster \(layout.name) keeps its objects in \(place): use 'etcdctl snapshot' there")
        }
        let isClosed = access(layout.stateDirectory, F_OK) == 0 && access(layout.stateDirectory, R_OK | W_OK) != 0
        if geteuid() != 0, isClosed {
            throw CommandFailure("\(layout.stateDirectory) is for root only: run meshctl with sudo")
        }
    }

    /// Says what is damaged, and fails.
    fileprivate static func require(_ report: StoreFile.Report, _ path: String) throws {
        if report.damageCount == 0 { return }
        let rest = report.damageCount - report.damages.count
        let lines = report.damages.map { "  \($0)" } + (rest > 0 ? ["  and \(rest) more"] : [])
        throw CommandFailure(
            "\(path) is damaged (\(report.damageCount) place\(report.damageCount == 1 ? "" : "s")):\n"
                + lines.joined(separator: "\n"))
    }

    struct Snapshot: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Copy all objects into a file, as they are at one moment.",
            discussion: """
                The cluster may be running: nobody waits for the copy. The file is complete once the command ends well, and holds \
                everything the store does, secrets included (encrypted ones as they are). Keys and certificates of the cluster, in \
                pki/ beside the store, are not in it.
                """)

        @OptionGroup var cluster: ClusterOption
        @Argument(help: "The file to make.") var file: String

        func run() async throws {
            let layout = try cluster.layout()
            try StoreCommand.requireEmbedded(layout)
            let folder = file.lastIndex(of: "/").map { file[...$0] } ?? "."
            if access(String(folder), W_OK) != 0 {
                throw CommandFailure("\(file) cannot be made: \(folder) is no folder that can be written to")
            }
            let report = try StoreFile.snapshot(directory: layout.stateDirectory, to: file)
            print("\(file): \(report.keys) objects at revision \(report.revision), \(report.bytes) bytes")
        }
    }

    struct Restore: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the store of a cluster without one from a copy.",
            discussion: """
                The next 'meshctl up' starts with the copy's objects. Revisions go on far behind those of the copy, so that no client \
                takes a new object for one it has seen.
                """)

        @OptionGroup var cluster: ClusterOption
        @Argument(help: "The copy.") var file: String

        func run() async throws {
            let layout = try cluster.layout()
            if let process = Daemon(layout: layout).runningProcess() {
                throw CommandFailure(
                    "cluster \(layout.name) runs (meshd is process \(process)): end it with '\(layout.command("down"))' first"
                )
            }
            try StoreCommand.requireEmbedded(layout)
            try StoreCommand.require(try StoreFile.verify(file), file)
            try SmallFile.makeDirectories(layout.stateDirectory, mode: 0o755)
            let report = try StoreFile.restore(file, directory: layout.stateDirectory)
            print("cluster \(layout.name) has \(report.keys) objects of revision \(report.revision) now")
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read a store, or a copy of one, and check every record.",
            discussion: "The cluster may be running. Fails, and names what is damaged, when anything is.")

        @OptionGroup var cluster: ClusterOption
        @Argument(help: "A copy; without it, the cluster's store.") var file: String?

        func run() async throws {
            let layout = try cluster.layout()
            if file == nil { try StoreCommand.requireEmbedded(layout) }
            let path = file ?? "\(layout.stateDirectory)/store.db"
            let report = try StoreFile.verify(path)
            try StoreCommand.require(report, path)
            print(
                "\(path) is whole: \(report.keys) objects in \(report.records) records, revision \(report.revision), \(report.bytes) bytes"
            )
        }
    }
}
