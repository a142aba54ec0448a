package import KubeTypes
import Synchronization
import Wire

/// Writes core/v1 Events about objects. An event said before raises the count of the one there is.
///
/// Events are best effort: a refused one is dropped, since no work may fail or wait because of them.
package final class EventRecorder: Sendable {
    package enum Kind: String, Sendable { case normal = "Normal", warning = "Warning" }

    private struct Topic: Hashable {
        var uid: String
        var kind: Kind
        var reason: String
        var message: String
    }
    private struct Told {
        var key: ObjectKey
        var count: Int
    }
    private struct State {
        var told: [Topic: Told] = [:]
        var order: [Topic] = []
        var last = 0
    }

    /// Topics remembered; the oldest half is forgotten beyond this.
    private static let limit = 4096

    private let api: any KubeAPI
    private let component: String
    private let host: String
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    /// - Parameters:
    ///   - component: who speaks, such as `kubelet`; `kubectl describe` shows it.
    ///   - host: the node's name, or empty.
    package init(
        _ api: any KubeAPI, component: String, host: String = "", now: @escaping @Sendable () -> Timestamp = { .now() }
    ) {
        self.api = api
        self.component = component
        self.host = host
        self.now = now
    }

    /// - Parameter fieldPath: the part of the object, such as `spec.containers{web}`.
    package func record(
        _ kind: Kind = .normal, about object: KubeObject, reason: String, message: String, fieldPath: String? = nil
    ) async {
        let topic = Topic(uid: object.uid, kind: kind, reason: reason, message: message)
        let time = now()
        let known = state.withLock { state -> Told? in
            guard var told = state.told[topic] else { return nil }
            told.count += 1
            state.told[topic] = told
            return told
        }
        if let known {
            let change: JSON = ["count": .int(Int64(known.count)), "lastTimestamp": .string(time.description)]
            do throws(APIFailure) {
                _ = try await api.patch(.events, known.key, .merge, change, subresource: nil)
                return
            } catch {
                guard error.isNotFound else { return }
                // It expired: tell it anew.
            }
        }
        let key = name(about: object, time)
        var event = KubeObject(apiVersion: "v1", kind: "Event", namespace: key.namespace, name: key.name)
        var involved: JSON = [
            "apiVersion": .string(object.apiVersion), "kind": .string(object.kind), "name": .string(object.name),
            "uid": .string(object.uid), "resourceVersion": .string(object.resourceVersion),
        ]
        if !object.namespace.isEmpty { involved["namespace"] = .string(object.namespace) }
        if let fieldPath { involved["fieldPath"] = .string(fieldPath) }
        event.json["involvedObject"] = involved
        event.json["reason"] = .string(reason)
        event.json["message"] = .string(String(message.prefix(1024)))
        event.json["type"] = .string(kind.rawValue)
        event.json["count"] = 1
        event.json["firstTimestamp"] = .string(time.description)
        event.json["lastTimestamp"] = .string(time.description)
        var source: JSON = ["component": .string(component)]
        if !host.isEmpty { source["host"] = .string(host) }
        event.json["source"] = source
        event.json["reportingComponent"] = .string(component)
        event.json["reportingInstance"] = .string(host)
        guard (try? await api.create(.events, event)) != nil else { return }
        state.withLock { state in
            if state.told.updateValue(Told(key: key, count: 1), forKey: topic) == nil { state.order.append(topic) }
            guard state.order.count > Self.limit else { return }
            for old in state.order.prefix(Self.limit / 2) { state.told[old] = nil }
            state.order.removeFirst(Self.limit / 2)
        }
    }

    private func name(about object: KubeObject, _ time: Timestamp) -> ObjectKey {
        let number = state.withLock { state in
            state.last += 1
            return state.last
        }
        let moment = time.seconds * 1_000_000_000 + Int64(time.nanoseconds) + Int64(number % 1000)
        let namespace = object.namespace.isEmpty ? "default" : object.namespace
        return ObjectKey(namespace: namespace, name: object.name + "." + String(moment, radix: 16))
    }
}
