import ArgumentParser
import ClusterLayout
import Glibc
import Kernel
import Wire

struct Kubeconfig: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the cluster's kubeconfig.",
        discussion: """
            EXAMPLES
              meshctl kubeconfig > ~/.kube/config
              export KUBECONFIG=$(meshctl kubeconfig --path)
            """)

    @OptionGroup var cluster: ClusterOption
    @Flag(help: "Print where the file is instead of what it says.")
    var path = false

    func run() async throws {
        let layout = try cluster.layout()
        guard access(layout.kubeconfig, F_OK) == 0 else {
            throw CommandFailure(
                "cluster \(layout.name) has no kubeconfig at \(layout.kubeconfig): is it up? start it with 'meshctl up'"
            )
        }
        print(path ? layout.kubeconfig : String(decoding: try SmallFile.read(layout.kubeconfig), as: UTF8.self))
    }
}

struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a completion script for a shell.",
        discussion: """
            EXAMPLES
              source <(meshctl completion bash)
              meshctl completion zsh > ~/.zfunc/_meshctl
            """)

    enum Shell: String, ExpressibleByArgument, CaseIterable { case bash, zsh, fish }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() throws {
        let kind: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        print(MeshCtl.completionScript(for: kind))
    }
}
