import Proxy

/// What the command line asks for.
enum CommandLineOptions {
    case start(ProgramOptions)
    case check(String)
    /// What remains of a process that was taken over: its successor and the arguments that one has.
    case hold(ProgramOptions, [String])
    case upgrade(ProgramOptions, takesProgram: Bool)
    case print(String)
    case fault(String)

    static let version = "0.1.0"

    static let help = """
        meshproxy: the data plane of Weft

        USAGE
          meshproxy sidecar [options]     takes a pod's traffic, configured over the mesh socket
          meshproxy gateway [options]     lets calls from outside into the mesh
          meshproxy run --config FILE     stands alone, configured by one file (YAML or JSON) that it follows
          meshproxy upgrade [--program -] puts another program in the place of the running proxy: the one that comes on standard input,
                                          else that in its state directory, else its own file; connections go on. --state
                                          DIRECTORY says which proxy, where it is not that of the pod
          meshproxy check --config FILE   says whether run would take the file, and where it would not

        OPTIONS
          --mesh-socket PATH      the control plane's socket (default /var/run/weft/mesh/mesh.sock)
          --config FILE           listeners, routes and clusters: see proxies/README.md; read again when it changes
          --concurrency N         loops; default one a processor of the container's share, at most 2
          --state DIRECTORY       keeps the last good configuration (default /tmp/weft-proxy; "" for nowhere)
          --outbound-port N       default 15001
          --inbound-port N        default 15006
          --health-port N         default 15021, /healthz/ready; 0 for none, as with the next three
          --metrics-port N        default 15090, /stats/prometheus
          --admin-port N          default 15000 on loopback: /config_dump /edges /stats /ready
          --dns-port N            default 15053
          --buffer-memory N       at most so many MiB for connections' buffers; when they are in use, requests are refused with
                                  503 out_of_memory (default: half of the container's memory limit, if it has one)
          --drain-seconds N       serves at least this long after SIGTERM (default 2)
          --drain-limit N         and at most this long (default 25)
          --handover-limit N      connections last at most this long in a process that was upgraded (default 600)
          --version, --help

        EXAMPLES
          meshproxy sidecar
          meshproxy run --config edge.yaml --metrics-port 9090
          curl http://127.0.0.1:15000/config_dump

        """

    static func read(_ arguments: [String]) -> CommandLineOptions {
        if arguments.first == "hold", arguments.count > 3 {
            // A number, a descriptor, and the arguments of the proxy.
            guard case .start(let options) = read(Array(arguments.dropFirst(3))) else {
                return .fault("hold: is for meshproxy itself")
            }
            return .hold(options, Array(arguments.dropFirst()))
        }
        if arguments.first == "upgrade" { return upgrade(Array(arguments.dropFirst())) }
        var options: ProgramOptions? = nil
        var rest = arguments[...]
        var isStandalone = false
        var isCheck = false
        while let word = rest.popFirst() {
            switch word {
            case "--help", "-h", "help": return .print(help)
            case "--version", "version": return .print("meshproxy \(version)\n")
            case "sidecar", "gateway", "run", "check":
                if options != nil { return .fault("\(word): only one of sidecar, gateway, run, check") }
                isCheck = word == "check"
                guard let role = isCheck ? .run : ProgramOptions.Role(rawValue: word) else {
                    return .fault("\(word): unknown")
                }
                options = ProgramOptions(role: role)
                isStandalone = role == .run
                if isStandalone {
                    options?.healthPort = 0
                    options?.metricsPort = 0
                    options?.adminPort = 0
                }
            default:
                guard word.hasPrefix("--") else { return .fault("\(word): unknown command; see meshproxy --help") }
                var name = word
                var value: String? = nil
                if let equals = word.firstIndex(of: "=") {
                    name = String(word[..<equals])
                    value = String(word[word.index(after: equals)...])
                }
                guard options != nil else { return .fault("\(name): say sidecar, gateway, run or check first") }
                guard let value = value ?? rest.popFirst() else { return .fault("\(name): needs a value") }
                if var changed = options {
                    if let fault = set(&changed, name, value) { return .fault(fault) }
                    options = changed
                }
            }
        }
        guard let options else { return .fault("say sidecar, gateway, run or check; see meshproxy --help") }
        if isStandalone && options.configFile == nil {
            return .fault("\(isCheck ? "check" : "run"): needs --config FILE")
        }
        if isCheck, let path = options.configFile { return .check(path) }
        return .start(options)
    }

    private static func upgrade(_ words: [String]) -> CommandLineOptions {
        var options = ProgramOptions(role: .sidecar)
        options.stateDirectory = ""
        var takesProgram = false
        var rest = words[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { return .fault("\(name): needs a value") }
            switch name {
            case "--state": options.stateDirectory = value
            case "--program" where value == "-": takesProgram = true
            case "--program": return .fault("--program: must be -, for standard input")
            default: return .fault("\(name): upgrade knows --state and --program only")
            }
        }
        return .upgrade(options, takesProgram: takesProgram)
    }

    private static func set(_ options: inout ProgramOptions, _ name: String, _ value: String) -> String? {
        let numbers: [String: (WritableKeyPath<ProgramOptions, Int>, ClosedRange<Int>)] = [
            "--concurrency": (\.concurrency, 1...64), "--outbound-port": (\.outboundPort, 1...65535),
            "--inbound-port": (\.inboundPort, 1...65535), "--health-port": (\.healthPort, 0...65535),
            "--metrics-port": (\.metricsPort, 0...65535), "--admin-port": (\.adminPort, 0...65535),
            "--dns-port": (\.dnsPort, 0...65535), "--drain-seconds": (\.drainSeconds, 0...3600),
            "--drain-limit": (\.drainLimitSeconds, 0...3600), "--handover-limit": (\.handoverSeconds, 0...86400),
            "--buffer-memory": (\.bufferMegabytes, 1...1_048_576),
        ]
        if let (path, range) = numbers[name] {
            guard let number = Int(value), range.contains(number) else {
                return "\(name): \(value): must be a number from \(range.lowerBound) to \(range.upperBound)"
            }
            options[keyPath: path] = number
            return nil
        }
        switch name {
        case "--mesh-socket": options.meshSocket = value
        case "--config": options.configFile = value
        case "--state": options.stateDirectory = value
        default: return "\(name): unknown option; see meshproxy --help"
        }
        return nil
    }
}
