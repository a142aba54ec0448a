import KubeClient
import Store

/// What decides which events a watch of a scope is sent, and in which bytes.
struct WatchView: Hashable {
    let definition: ObjectIdentifier
    let form: AnswerForm
    let selection: Selection
}

/// Watches of a hub that are sent the same, with what they are sent of the events in hand. On the hub's loop only.
final class WatchRow {
    typealias Write = (StoreEvent, WatchHub) -> [UInt8]?

    /// An event's line; `nil` when it is none for these watches.
    let write: Write
    /// How many sit here.
    var count = 0
    var lines: [(revision: Int64, line: [UInt8]?)] = []

    init(_ write: @escaping Write) { self.write = write }
}
