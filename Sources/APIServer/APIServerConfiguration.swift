package import KubeClient
package import Logging
package import Store

/// How one API server is set up.
package struct APIServerConfiguration: Sendable {
    /// Where objects are kept.
    package enum Storage: Sendable {
        /// In the state directory.
        case embedded
        case etcd(EtcdConfiguration)
    }

    /// Holds the embedded store, `pki/` and the kubeconfig.
    package var stateDirectory: String
    package var storage = Storage.embedded
    /// Which kinds are encrypted in the store, and how.
    package var encryption: EncryptionAtRest?
    /// Sockets that listen already; the server closes them in the end.
    package var listeners: [CInt]
    package var serviceRange = "10.96.0.0/16"
    /// The address of `kubernetes.default`, the first of the range.
    package var kubernetesAddress = "10.96.0.1"
    package var dnsAddress = "10.96.0.10"
    /// Where pods reach the server: the endpoint behind `kubernetes.default`.
    package var endpointAddress = "10.245.0.1"
    package var endpointPort = 6443
    /// What the kubeconfig says.
    package var publicAddress = "127.0.0.1"
    package var publicPort = 6443
    package var clusterName = "weft"
    /// How many changes back a watch may start.
    package var historyEvents = 16384
    /// And for how long; `nil`: however old they are.
    package var historyAge: HistoryAge? = HistoryAge()
    /// Requests that are no watch and no stream are answered 504 after this time: Kubernetes' own default.
    package var requestLimit = Duration.seconds(60)
    package var access = AccessConfiguration()
    package var mutating: [any MutatingAdmission] = []
    package var validating: [any ValidatingAdmission] = []
    /// How to reach pods, for webhooks that are services; without it the process's own network is used.
    package var dialer: (any ClusterDialer)?
    package var podSecurity = PodSecurityConfiguration()
    /// How to reach the nodes' agents for logs and commands; without it those requests fail clearly.
    package var nodes: (any NodeGateway)?
    package var logger: Logger

    package init(stateDirectory: String, listeners: [CInt], logger: Logger = Logger(label: "apiserver")) {
        self.stateDirectory = stateDirectory
        self.listeners = listeners
        self.logger = logger
    }
}
