package import Wire

/// What a proxy says on its quota stream: how it fares with the tokens it holds, and how many it wants.
///
/// Numbers of tokens are counted from when the proxy joined a key on this stream, so that a message says where things stand.
package struct QuotaReport: Sendable, Hashable {
    package struct Line: Sendable, Hashable {
        package var key: UInt64
        /// Tokens taken from the start of the key on this stream, or before it by allowance.
        package var taken: Int64 = 0
        package var returned: Int64 = 0
        /// Tokens the proxy would like to hold.
        package var want: Int64 = 0
        /// The key is new on this stream: `held` tokens count as granted.
        package var joins = false
        package var held: Int64 = 0
        /// What the bucket has at most, as the proxy knows from an earlier stream or has used of its own part; -1 for nothing.
        package var level: Int64 = -1
        /// The proxy no longer uses the key, and holds no tokens of it.
        package var leaves = false

        package init(key: UInt64) { self.key = key }
    }
    package typealias Page = QuotaPage<Line>

    /// From 1, one more with each message.
    package var number: UInt64
    package var pages: [Page]

    package init(number: UInt64, pages: [Page] = []) {
        self.number = number
        self.pages = pages
    }

    package static let path: StaticString = "/weft.quota.v1.QuotaService/Lease"
    package static let mostLines = 2048
}

/// What the control plane answers.
package struct QuotaGrants: Sendable, Hashable {
    package struct Line: Sendable, Hashable {
        package var key: UInt64
        /// Tokens granted from the start of the key on this stream.
        package var granted: Int64
        /// Left in the bucket; less than nothing when proxies have admitted requests ahead.
        package var level: Int64
        /// Proxies that use the key.
        package var holders: UInt32

        package init(key: UInt64, granted: Int64, level: Int64, holders: UInt32) {
            self.key = key
            self.granted = granted
            self.level = level
            self.holders = holders
        }
    }
    package typealias Page = QuotaPage<Line>

    /// The newest report read: the lease holds for `QuotaTerms.lease` from when that was sent.
    package var answers: UInt64
    package var pages: [Page]
    /// Budgets the proxy asked for that its configuration does not have.
    package var refused: [String]

    package init(answers: UInt64, pages: [Page] = [], refused: [String] = []) {
        self.answers = answers
        self.pages = pages
        self.refused = refused
    }
}

/// What is said of one budget's keys.
package struct QuotaPage<Line: Sendable & Hashable>: Sendable, Hashable {
    package var budget: String
    package var lines: [Line]

    package init(budget: String, lines: [Line]) {
        self.budget = budget
        self.lines = lines
    }
}

// MARK: as protobuf

private protocol QuotaLine: Sendable, Hashable {
    init(_ message: ProtobufReader) throws(ProtobufFault)
    func write(to out: inout ProtobufWriter)
}

extension QuotaPage where Line: QuotaLine {
    fileprivate init(_ message: ProtobufReader) throws(ProtobufFault) {
        self.init(budget: "", lines: [])
        var reader = message
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: budget = try reader.string(tag)
            case 2: lines.append(try Line(try reader.message(tag)))
            default: try reader.skip(tag)
            }
        }
    }

    fileprivate func write(to out: inout ProtobufWriter) {
        out.string(1, budget)
        for line in lines { out.message(2) { line.write(to: &$0) } }
    }
}

extension QuotaReport {
    package var bytes: [UInt8] {
        var writer = ProtobufWriter()
        writer.varint(1, number)
        for page in pages { writer.message(2) { page.write(to: &$0) } }
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(ProtobufFault) {
        self.init(number: 0)
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: number = try reader.varint(tag)
            case 2: pages.append(try Page(try reader.message(tag)))
            default: try reader.skip(tag)
            }
        }
    }
}

extension QuotaReport.Line: QuotaLine {
    fileprivate func write(to out: inout ProtobufWriter) {
        out.varint(1, key)
        if taken != 0 { out.int64(2, taken) }
        if returned != 0 { out.int64(3, returned) }
        if want != 0 { out.int64(4, want) }
        if joins { out.bool(5, true) }
        if held != 0 { out.int64(6, held) }
        if level >= 0 { out.int64(7, level &+ 1) }
        if leaves { out.bool(8, true) }
    }

    fileprivate init(_ message: ProtobufReader) throws(ProtobufFault) {
        self.init(key: 0)
        var reader = message
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: key = try reader.varint(tag)
            case 2: taken = try reader.int64(tag)
            case 3: returned = try reader.int64(tag)
            case 4: want = try reader.int64(tag)
            case 5: joins = try reader.bool(tag)
            case 6: held = try reader.int64(tag)
            case 7: level = try reader.int64(tag) &- 1
            case 8: leaves = try reader.bool(tag)
            default: try reader.skip(tag)
            }
        }
    }
}

extension QuotaGrants {
    package var bytes: [UInt8] {
        var writer = ProtobufWriter()
        writer.varint(1, answers)
        for page in pages { writer.message(2) { page.write(to: &$0) } }
        for budget in refused { writer.string(3, budget) }
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(ProtobufFault) {
        self.init(answers: 0)
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: answers = try reader.varint(tag)
            case 2: pages.append(try Page(try reader.message(tag)))
            case 3: refused.append(try reader.string(tag))
            default: try reader.skip(tag)
            }
        }
    }
}

extension QuotaGrants.Line: QuotaLine {
    fileprivate func write(to out: inout ProtobufWriter) {
        out.varint(1, key)
        out.int64(2, granted)
        out.int64(3, level)
        out.uint32(4, holders)
    }

    fileprivate init(_ message: ProtobufReader) throws(ProtobufFault) {
        self.init(key: 0, granted: 0, level: 0, holders: 0)
        var reader = message
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: key = try reader.varint(tag)
            case 2: granted = try reader.int64(tag)
            case 3: level = try reader.int64(tag)
            case 4: holders = try reader.uint32(tag)
            default: try reader.skip(tag)
            }
        }
    }
}
