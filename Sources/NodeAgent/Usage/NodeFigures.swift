import ContainerRuntime
import Kernel
import KubeTypes
import Wire

/// What the pods of a node have used, and use.
struct NodeFigures {
    struct Container {
        var name: String
        var startedAt: Timestamp
        var usage: CgroupUsage
        var nanocores: UInt64
    }
    struct Pod {
        var key: ObjectKey
        var uid: String
        var whole: CgroupUsage
        var nanocores: UInt64
        var containers: [Container] = []
    }
    let node: String
    let time: Timestamp
    var pods: [Pod] = []

    /// The Summary of `stats.k8s.io/v1alpha1`.
    /// - Parameter memory: bytes the machine has.
    func summary(memory: Int) -> JSON {
        var sum = CgroupUsage()
        var nanocores: UInt64 = 0
        for pod in pods {
            sum.cpuNanoseconds += pod.whole.cpuNanoseconds
            sum.memoryBytes += pod.whole.memoryBytes
            sum.workingSetBytes += pod.whole.workingSetBytes
            nanocores += pod.nanocores
        }
        var whole = amounts(sum, nanocores)
        whole["nodeName"] = .string(node)
        let free = UInt64(memory) > sum.workingSetBytes ? UInt64(memory) - sum.workingSetBytes : 0
        whole[path: ["memory", "availableBytes"]] = .int(Int64(free))
        return [
            "node": whole,
            "pods": .array(
                pods.map { pod in
                    var entry = amounts(pod.whole, pod.nanocores)
                    entry["podRef"] = [
                        "name": .string(pod.key.name), "namespace": .string(pod.key.namespace), "uid": .string(pod.uid),
                    ]
                    entry["process_stats"] = ["process_count": .int(Int64(pod.whole.processes))]
                    entry["startTime"] = .string((pod.containers.map(\.startedAt).min() ?? time).description)
                    entry["containers"] = .array(
                        pod.containers.map { container in
                            var entry = amounts(container.usage, container.nanocores)
                            entry["name"] = .string(container.name)
                            entry["startTime"] = .string(container.startedAt.description)
                            return entry
                        })
                    return entry
                }),
        ]
    }

    private func amounts(_ usage: CgroupUsage, _ nanocores: UInt64) -> JSON {
        let time = JSON.string(time.description)
        return [
            "cpu": [
                "time": time, "usageNanoCores": .int(Int64(clamping: nanocores)),
                "usageCoreNanoSeconds": .int(Int64(clamping: usage.cpuNanoseconds)),
            ],
            "memory": [
                "time": time, "usageBytes": .int(Int64(clamping: usage.memoryBytes)),
                "workingSetBytes": .int(Int64(clamping: usage.workingSetBytes)),
            ],
        ]
    }
}

/// The same as Prometheus' text (exposition format 0.0.4).
enum NodeMetricsText {
    static let type = "text/plain; version=0.0.4; charset=utf-8"

    static func resources(_ figures: NodeFigures) -> String {
        var lines = Lines()
        let pods = figures.pods
        func seconds(_ nanoseconds: UInt64) -> String { "\(Double(nanoseconds) / 1e9)" }
        func label(_ pod: NodeFigures.Pod) -> String { "namespace=\"\(pod.key.namespace)\",pod=\"\(pod.key.name)\"" }
        let spent = pods.reduce(0) { $0 + $1.whole.cpuNanoseconds }
        let held = pods.reduce(0) { $0 + $1.whole.workingSetBytes }
        lines.family("node_cpu_usage_seconds_total", "counter", "Processor time of the node's pods.")
        lines.sample("", seconds(spent))
        lines.family("node_memory_working_set_bytes", "gauge", "Memory the node's pods need.")
        lines.sample("", "\(held)")
        lines.family("pod_cpu_usage_seconds_total", "counter", "Processor time of the pod.")
        for pod in pods { lines.sample(label(pod), seconds(pod.whole.cpuNanoseconds)) }
        lines.family("pod_memory_working_set_bytes", "gauge", "Memory the pod needs.")
        for pod in pods { lines.sample(label(pod), "\(pod.whole.workingSetBytes)") }
        lines.family("container_cpu_usage_seconds_total", "counter", "Processor time of the container.")
        for pod in pods {
            for one in pod.containers {
                lines.sample("container=\"\(one.name)\",\(label(pod))", seconds(one.usage.cpuNanoseconds))
            }
        }
        lines.family("container_memory_working_set_bytes", "gauge", "Memory the container needs.")
        for pod in pods {
            for one in pod.containers {
                lines.sample("container=\"\(one.name)\",\(label(pod))", "\(one.usage.workingSetBytes)")
            }
        }
        lines.family("container_start_time_seconds", "gauge", "When the container was started, since 1970.")
        for pod in pods {
            for one in pod.containers {
                lines.sample(
                    "container=\"\(one.name)\",\(label(pod))", "\(Double(one.startedAt.unixNanoseconds) / 1e9)")
            }
        }
        lines.family("resource_scrape_error", "gauge", "1 if something could not be read.")
        lines.sample("", "0")
        return lines.text
    }

    static func agent(_ node: String, _ sandboxes: [SandboxStatus]) -> String {
        var lines = Lines()
        lines.family("kubelet_node_name", "gauge", "The node's name.")
        lines.sample("node=\"\(node)\"", "1")
        lines.family("kubelet_running_pods", "gauge", "Pods with a running sandbox.")
        lines.sample("", "\(sandboxes.count)")
        lines.family("kubelet_running_containers", "gauge", "Containers by state.")
        let all = sandboxes.flatMap(\.containers)
        let running = all.count { $0.state == .running }
        lines.sample("container_state=\"running\"", "\(running)")
        lines.sample("container_state=\"exited\"", "\(all.count - running)")
        return lines.text
    }

    private struct Lines {
        private(set) var text = ""
        private var name = ""

        mutating func family(_ name: String, _ type: String, _ help: String) {
            self.name = name
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }

        mutating func sample(_ labels: String, _ value: String) {
            text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
        }
    }
}
