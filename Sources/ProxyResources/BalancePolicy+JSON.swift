package import Wire

extension BalancePolicy {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var inputs: [HashInput] = []
        for input in try fields.objects("hashOn") { inputs.append(try HashInput(input)) }
        var ewma = LatencyAverage()
        if let found = try fields.object("ewma") { ewma = try LatencyAverage(found) }
        var session: SessionPolicy? = nil
        if let found = try fields.object("session") { session = try SessionPolicy(found) }
        var slowStart: SlowStart? = nil
        if let found = try fields.object("slowStart") { slowStart = try SlowStart(found) }
        var locality = LocalityPolicy()
        if let found = try fields.object("locality") { locality = try LocalityPolicy(found) }
        self.init(
            algorithm: try fields.word("algorithm", or: .leastRequest), hashOn: inputs,
            hashSize: try fields.integer("hashSize", in: 1...1_048_576), ewma: ewma, session: session,
            slowStart: slowStart, locality: locality,
            panicPercent: try fields.integer("panicPercent", in: 0...100) ?? Self.defaultPanicPercent)
        if isHashing && hashOn.isEmpty {
            throw fields.fault("hashOn", "must name at least one part of the request for \(algorithm.rawValue)")
        }
        if hashOn.count > Self.mostInputs {
            throw fields.fault("hashOn", "has \(hashOn.count) parts, must have at most \(Self.mostInputs)")
        }
    }

    package static let mostInputs = 8

    package var json: JSON {
        var out = ResourceWriter()
        out.write("algorithm", algorithm.rawValue)
        out.write("hashOn", hashOn.map(\.json))
        out.write("hashSize", hashSize)
        if ewma != LatencyAverage() { out.write("ewma", ewma.json) }
        if let session { out.write("session", session.json) }
        if let slowStart { out.write("slowStart", slowStart.json) }
        if locality != LocalityPolicy() { out.write("locality", locality.json) }
        if panicPercent != Self.defaultPanicPercent { out.write("panicPercent", panicPercent) }
        return out.json
    }
}

extension HashInput {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            try fields.requiredWord("kind"), name: try fields.string("name"),
            cookieSeconds: try fields.integer("cookieSeconds", in: 0...Int(Int32.max)),
            cookiePath: try fields.string("cookiePath"))
        switch kind {
        case .header:
            name = name.lowercased()
            if !isToken(name) { throw fields.fault("name", "\"\(name)\" is not a header's name") }
        case .cookie: if !isToken(name) { throw fields.fault("name", "\"\(name)\" is not a cookie's name") }
        case .query: if name.isEmpty { throw fields.fault("name", "is required") }
        case .source, .path: break
        }
        if let fault = cookieFault(cookiePath) { throw fields.fault("cookiePath", fault) }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("kind", kind.rawValue)
        out.write("name", name)
        out.write("cookieSeconds", cookieSeconds)
        out.write("cookiePath", cookiePath)
        return out.json
    }
}

extension LatencyAverage {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        let usual = LatencyAverage()
        self.init(
            decayMilliseconds: try fields.integer("decayMilliseconds", in: 1...3_600_000) ?? usual.decayMilliseconds,
            penaltyMilliseconds: try fields.integer("penaltyMilliseconds", in: 0...3_600_000)
                ?? usual.penaltyMilliseconds)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("decayMilliseconds", decayMilliseconds)
        out.write("penaltyMilliseconds", penaltyMilliseconds)
        return out.json
    }
}

extension SlowStart {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        self.init(
            windowMilliseconds: try fields.requiredInteger("windowMilliseconds", in: 1...86_400_000),
            aggressionPercent: try fields.integer("aggressionPercent", in: 1...10_000) ?? 100,
            minimumPercent: try fields.integer("minimumPercent", in: 0...100) ?? 10)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("windowMilliseconds", windowMilliseconds)
        out.write("aggressionPercent", aggressionPercent)
        out.write("minimumPercent", minimumPercent)
        return out.json
    }
}

extension SessionPolicy {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var attributes: [CookieAttribute] = []
        for attribute in try fields.objects("attributes") {
            let name = try attribute.requiredString("name")
            let value = try attribute.string("value")
            if let fault = cookieFault(name + value) { throw attribute.fault("", fault) }
            attributes.append(CookieAttribute(name: name, value: value))
        }
        self.init(
            try fields.word("carrier", or: .cookie), name: try fields.requiredString("name"),
            seconds: try fields.integer("seconds", in: 0...Int(Int32.max)) ?? 0, path: try fields.string("path"),
            attributes: attributes)
        if carrier == .header { name = name.lowercased() }
        if !isToken(name) { throw fields.fault("name", "\"\(name)\" is not the name of a cookie or header") }
        if let fault = cookieFault(path) { throw fields.fault("path", fault) }
        if attributes.count > 8 { throw fields.fault("attributes", "has more than 8") }
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("carrier", carrier.rawValue)
        out.write("name", name)
        if seconds > 0 { out.write("seconds", seconds) }
        out.write("path", path)
        out.write(
            "attributes",
            attributes.map { attribute in
                var out = ResourceWriter()
                out.write("name", attribute.name)
                out.write("value", attribute.value)
                return out.json
            })
        return out.json
    }
}

/// Why text cannot stand in a cookie's attributes (RFC 6265 §4.1.1), or nil.
private func cookieFault(_ text: String) -> String? {
    if text.utf8.count > 256 { return "is longer than 256 bytes" }
    let isClean = text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ";") }
    return isClean ? nil : "contains a character that no cookie's attribute can have"
}

private func isToken(_ text: String) -> Bool { HeaderRules.isToken(text) && text.utf8.count <= 128 }

extension ResourceFields {
    /// One of a set of words, which has no default.
    func requiredWord<Word: RawRepresentable>(_ field: String) throws(ResourceFault) -> Word
    where Word.RawValue == String {
        let text = try requiredString(field)
        guard let word = word(of: text) as Word? else { throw fault(field, "has the unknown value \(text)") }
        return word
    }
}
