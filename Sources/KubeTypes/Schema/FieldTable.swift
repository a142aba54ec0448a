/// The members a schema names, each with its schema.
package final class FieldTable: Sendable {
    /// Lives as long as this table.
    nonisolated(unsafe) let names: NameTable
    private let links: [SchemaLink]

    /// Of the many schemas that name no members.
    static let empty = FieldTable([:])

    init(_ links: [String: SchemaLink]) {
        let sorted = links.sorted { $0.key < $1.key }
        names = NameTable(sorted.map(\.key))
        self.links = sorted.map(\.value)
    }

    deinit { names.free() }

    package var isEmpty: Bool { links.isEmpty }
    package var keys: [String] { links.indices.map { names[$0] } }
    package var values: [SchemaLink] { links }

    package subscript(name: String) -> SchemaLink? { names.place(of: name).map { links[$0] } }
}

extension FieldTable: Sequence {
    package typealias Element = (key: String, value: SchemaLink)
    package func makeIterator() -> IndexingIterator<[Element]> {
        links.indices.map { (key: names[$0], value: links[$0]) }.makeIterator()
    }
}
