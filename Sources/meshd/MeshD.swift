import ArgumentParser
import ClusterLayout

@main
struct MeshD: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "meshd",
        abstract: "The daemon of a Weft cluster.",
        discussion: """
            Started by 'meshctl up'. It may be killed at any time: containers and proxies go on, and the next start adopts them.

            EXAMPLES
              meshd cluster --name weft --nodes 2     a whole cluster, in the foreground
              meshd apiserver --state DIR             an API server alone
              meshd teardown --name weft              remove what a cluster left behind
            """,
        version: weftVersion,
        subcommands: [ClusterCommand.self, APIServerCommand.self, TeardownCommand.self])
}
