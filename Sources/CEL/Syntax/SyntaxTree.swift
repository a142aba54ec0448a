/// An expression taken apart. Nodes stand in one array, behind those they are made of, so that no depth costs stack.
struct SyntaxTree {
    struct Node {
        let kind: Kind
        /// In bytes from the start of the expression.
        let offset: Int
    }

    enum Kind {
        case literal(Value)
        /// A name with a dot before it is looked for at the root only.
        case identifier(String, isRooted: Bool)
        case select(Int, String, isOptional: Bool)
        /// `has(a.b)`.
        case test(Int, String)
        /// Operators too, under the names that errors tell.
        case call(String, target: Int?, [Int])
        case and([Int])
        case or([Int])
        case conditional(Int, Int, Int)
        case list([Element])
        case map([Entry])
        case object(String, [Field])
        case fold(Fold)
        case bind(String, Int, Int)
        /// `optMap` and `optFlatMap`.
        case optionalMap(Int, String, Int, isFlat: Bool)
    }

    struct Element {
        let value: Int
        let isOptional: Bool
    }

    struct Entry {
        let key: Int
        let value: Int
        let isOptional: Bool
    }

    struct Field {
        let name: String
        let value: Int
        let isOptional: Bool
        let offset: Int
    }

    /// A macro that goes through a list or map.
    struct Fold {
        enum Kind {
            case all, exists, existsOne, list, map, mapEntry
        }

        let kind: Kind
        let range: Int
        let first: String
        /// The value beside its index or key.
        let second: String?
        /// Of `all`, `exists` and `existsOne` always; of the others where they filter.
        let condition: Int?
        /// What the others make of each element; `nil` when it stays as it is.
        let transform: Int?
    }

    private(set) var nodes: [Node] = []
    private var depths: [Int32] = []
    var root = 0

    /// Levels of nodes in each other: each later pass over the tree is recursive.
    static let deepest = 250

    subscript(index: Int) -> Node { nodes[index] }

    mutating func add(_ kind: Kind, at offset: Int, _ children: [Int] = []) throws(SyntaxFault) -> Int {
        var depth: Int32 = 0
        for child in children { depth = max(depth, depths[child] + 1) }
        if depth > Self.deepest { throw Self.tooDeep(offset) }
        nodes.append(Node(kind: kind, offset: offset))
        depths.append(depth)
        return nodes.count - 1
    }

    static func tooDeep(_ offset: Int) -> SyntaxFault {
        SyntaxFault(offset: offset, message: "expression recursion limit exceeded: \(deepest)")
    }
}
