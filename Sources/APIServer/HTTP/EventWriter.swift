import KubeClient
import KubeTypes
import Store
import Wire

/// Writes events of one kind of object in one form.
struct EventWriter: Sendable {
    let registry: Registry
    let definition: ResourceDefinition
    let form: AnswerForm
    let include: IncludeObject
    let lines: EventLines

    /// One event. What does not depend on the watcher is written once for all.
    ///
    /// - Parameter hub: whose watches it is for; it has the line at hand.
    func frame(_ event: SeenEvent, isFirst: Bool, in hub: WatchHub? = nil) -> [UInt8] {
        if form == .table {
            var object = registry.object(event.record, as: definition)
            if event.revision != event.record.revision { object.resourceVersion = String(event.revision) }
            return frame(
                event.kind.rawValue,
                definition.tableRow(of: object, include: include, now: .now(), withColumns: isFirst))
        }
        let kind: UInt8 =
            switch event.kind {
            case .added: 0
            case .modified: 1
            case .deleted: 2
            default: 3
            }
        let key = EventLines.Key(
            revision: event.revision, definition: ObjectIdentifier(definition), kind: kind, form: form)
        // Each loop writes its own: threads that count references to the same bytes hinder each other.
        if let hub { return hub.line(key) { write(event) } }
        return lines.line(key) { write(event) }
    }

    private func write(_ event: SeenEvent) -> [UInt8] {
        switch form {
        case .object, .partial:
            var out = Array("{\"type\":\"\(event.kind.rawValue)\",\"object\":".utf8)
            if form == .object {
                registry.append(event.record, revision: event.revision, as: definition, to: &out)
            } else {
                registry.appendPartial(event.record, revision: event.revision, as: definition, to: &out)
            }
            out.append(contentsOf: "}\n".utf8)
            return out
        case .table, .protobuf:
            var object = registry.object(event.record, as: definition)
            if event.revision != event.record.revision { object.resourceVersion = String(event.revision) }
            return frame(event.kind.rawValue, object.json)
        }
    }

    /// JSON: an object a line. Protobuf: a length of four bytes, and a `WatchEvent` with the object's own envelope in it.
    func frame(_ kind: String, _ object: JSON) -> [UInt8] {
        guard form == .protobuf else {
            let event: JSON = ["type": .string(kind), "object": object]
            return event.bytes + [0x0A]
        }
        let envelope = KubeProtobuf.builtIn.encode(object) ?? []
        var event = ProtobufWriter()
        event.string(1, kind)
        event.message(2) { $0.bytes(1, envelope) }
        let length = UInt32(event.bytes.count)
        let size = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> UInt32($0)) }
        return size + event.bytes
    }
}
