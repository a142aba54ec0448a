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
        let file = try APIConnection.kubeconfig(of: layout)
        print(path ? file : String(decoding: try SmallFile.read(file), as: UTF8.self))
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
