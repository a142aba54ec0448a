import Wire

/// Why an authorizer's answer cannot be followed.
enum CheckFault: Error { case malformed, badStatus, badName, badValue, badAction, tooMuch }

/// What an authorizer answers over gRPC: an `envoy.service.auth.v3.CheckResponse`, checked, its texts in place.
///
/// Names of headers become lower case where they stand. Nothing of an answer is followed unless all of it can be: names are tokens, values have no control characters (RFC 9110 §5.5),
/// so that no header becomes two.
struct CheckAnswer {
    /// What a header given does with one that is there (`HeaderValueOption`).
    enum Action: UInt8 {
        case append, addIfAbsent, set, setIfPresent
        /// A later line sets the same header.
        case overtaken
    }

    struct Line {
        var name: ByteView
        var value: ByteView
        var action: Action
    }

    struct Parameter {
        var name: ByteView
        var value: ByteView
    }

    /// Lines, names and parameters, and bytes of them.
    static let most = 128
    static let mostBytes = 12288
    static let longestName = 256

    var isAllowed: Bool
    /// Of a refusal.
    var status = 403
    var body = ByteView.none
    /// For the request, when it is allowed.
    var requestLines: [Line] = []
    var removed: [ByteView] = []
    var setParameters: [Parameter] = []
    var removedParameters: [ByteView] = []
    /// For the response to an allowed request, or of the refusal.
    var responseLines: [Line] = []

    private var count = 0
    private var bytes = 0

    init(_ message: ByteView) throws(CheckFault) {
        isAllowed = false
        do throws(ProtobufFault) {
            try readDecision(message)
        } catch { throw .malformed }
        // The oneof's last member holds, and only the one that fits the decision is followed.
        var view = ProtobufView(message.start, message.count)
        while let field = try Self.next(&view) {
            if field.number == 3 && isAllowed { try readGrant(try Self.message(field)) }
            if (field.number == 2 || field.number == 5) && !isAllowed { try readRefusal(try Self.message(field)) }
        }
    }

    private mutating func readDecision(_ message: ByteView) throws(ProtobufFault) {
        var view = ProtobufView(message.start, message.count)
        var code: UInt64 = 0
        while let field = try view.next() {
            guard field.number == 1 else { continue }
            var status = try field.message()
            while let inner = try status.next() {
                if inner.number == 1 { code = try inner.varint() }
            }
        }
        isAllowed = code == 0
    }

    private mutating func readGrant(_ message: ProtobufView) throws(CheckFault) {
        var view = message
        while let field = try Self.next(&view) {
            switch field.number {
            case 2: try keep(try readLine(try Self.message(field)), &requestLines)
            case 5:
                let text = try Self.text(field)
                // Pseudo-headers are passed over.
                if text.count == 0 || text.start[0] != 58 { removed.append(try name(text)) }
            case 6: try keep(try readLine(try Self.message(field)), &responseLines)
            case 7: setParameters.append(try readParameter(try Self.message(field)))
            case 8:
                let text = try Self.text(field)
                try spend(text.count)
                removedParameters.append(text)
            default: break
            }
        }
    }

    private mutating func readRefusal(_ message: ProtobufView) throws(CheckFault) {
        var view = message
        while let field = try Self.next(&view) {
            switch field.number {
            case 1:
                var status = try Self.message(field)
                while let inner = try Self.next(&status) {
                    guard inner.number == 1 else { continue }
                    guard let code = try? inner.varint() else { throw .malformed }
                    if code == 0 { continue }
                    guard (200...599).contains(code) else { throw .badStatus }
                    self.status = Int(code)
                }
            case 2: try keep(try readLine(try Self.message(field)), &responseLines)
            case 3: body = try Self.text(field)
            default: break
            }
        }
    }

    /// A `HeaderValueOption`. Without an action a header is set, as both messages say of their headers.
    private mutating func readLine(_ message: ProtobufView) throws(CheckFault) -> Line {
        var view = message
        var line = Line(name: .none, value: .none, action: .set)
        var action: UInt64 = 0
        var append = false
        while let field = try Self.next(&view) {
            switch field.number {
            case 1:
                var header = try Self.message(field)
                while let inner = try Self.next(&header) {
                    switch inner.number {
                    case 1: line.name = try Self.text(inner)
                    case 2: if inner.count > 0 { line.value = try Self.text(inner) }
                    case 3: if inner.count > 0 { line.value = try Self.text(inner) }
                    default: break
                    }
                }
            case 2:
                var flag = try Self.message(field)
                while let inner = try Self.next(&flag) {
                    if inner.number == 1 { append = inner.value != 0 }
                }
            case 3: action = field.value
            default: break
            }
        }
        switch action {
        case 0: line.action = append ? .append : .set
        case 1: line.action = .addIfAbsent
        case 2: line.action = .set
        case 3: line.action = .setIfPresent
        default: throw .badAction
        }
        line.name = try name(line.name)
        guard Self.isValue(line.value) else { throw .badValue }
        try spend(line.value.count)
        return line
    }

    private mutating func readParameter(_ message: ProtobufView) throws(CheckFault) -> Parameter {
        var view = message
        var made = Parameter(name: .none, value: .none)
        while let field = try Self.next(&view) {
            if field.number == 1 { made.name = try Self.text(field) }
            if field.number == 2 { made.value = try Self.text(field) }
        }
        if made.name.count == 0 { throw .badName }
        try spend(made.name.count + made.value.count)
        return made
    }

    /// Of two that set the same header the later holds.
    private func keep(_ line: Line, _ lines: inout [Line]) throws(CheckFault) {
        if line.action == .set {
            for place in lines.indices where lines[place].name.count == line.name.count {
                let isSame = sameName(lines[place].name.start, line.name.start, line.name.count)
                if isSame { lines[place].action = .overtaken }
            }
        }
        lines.append(line)
    }

    private mutating func name(_ text: ByteView) throws(CheckFault) -> ByteView {
        guard text.count > 0, text.count <= Self.longestName else { throw .badName }
        for place in 0..<text.count where !Self.isToken(text.start[place]) { throw .badName }
        HeaderBlockEncoder.lower(UnsafeMutablePointer(mutating: text.start), text.count)
        try spend(text.count)
        return text
    }

    private mutating func spend(_ length: Int) throws(CheckFault) {
        count += 1
        bytes += length + 9
        if count > 2 * Self.most || bytes > Self.mostBytes { throw .tooMuch }
    }

    private static func isValue(_ text: ByteView) -> Bool {
        for place in 0..<text.count {
            let byte = text.start[place]
            if (byte < 32 && byte != 9) || byte == 127 { return false }
        }
        return true
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 94...122, 124, 126, 33, 35...39, 42, 43, 45, 46: true
        default: false
        }
    }

    private static func next(_ view: inout ProtobufView) throws(CheckFault) -> ProtobufView.Field? {
        do throws(ProtobufFault) { return try view.next() } catch { throw .malformed }
    }

    private static func message(_ field: ProtobufView.Field) throws(CheckFault) -> ProtobufView {
        do throws(ProtobufFault) { return try field.message() } catch { throw .malformed }
    }

    private static func text(_ field: ProtobufView.Field) throws(CheckFault) -> ByteView {
        do throws(ProtobufFault) {
            let text = try field.bytes()
            return ByteView(start: text.start, count: text.count)
        } catch { throw .malformed }
    }
}
