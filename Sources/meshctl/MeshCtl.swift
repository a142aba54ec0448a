import ArgumentParser
import ClusterLayout

@main
struct MeshCtl: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meshctl",
        abstract: "Start a Weft cluster, give it policies, and look at its traffic.",
        discussion: """
            EXAMPLES
              meshctl up --nodes 2                       start a cluster on this machine
              meshctl up --nodes 2 --demo                the same, and the canary demo
              meshctl apply -f policies/examples/canary  apply manifests and policies
              meshctl get pods -A                        list objects
              meshctl edges -n demo                      who talks to whom, by identity
              meshctl stat -n demo                       requests, success, latency
              meshctl tap deploy/frontend -n demo        requests as they happen
              meshctl explain REQUEST-ID                 what became of one, hop by hop
              meshctl upgrade-proxy -n demo              another proxy program, in place
              meshctl store snapshot backup.db           copy all objects while it runs
              meshctl down                               end the cluster, leave nothing
            """,
        version: weftVersion,
        subcommands: [
            Up.self, Down.self, Status.self, Check.self, Kubeconfig.self, Apply.self, Get.self, Stat.self, Edges.self,
            Tap.self, Explain.self, ProxyStatus.self, UpgradeProxy.self, StoreCommand.self, Version.self,
            Completion.self,
        ])

    /// A word that is no command is named, whatever options follow it.
    static func main() async {
        let names = configuration.subcommands.map { $0._commandName }
        let word = CommandLine.arguments.dropFirst().first ?? "help"
        if !word.hasPrefix("-"), word != "help", !names.contains(word) {
            let failure = ValidationError("there is no command '\(word)'; there are \(names.joined(separator: ", "))")
            exit(withError: failure)
        }
        await main(nil)
    }
}

/// A command that failed, in words for its user. The text names the object and the likely cause.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
