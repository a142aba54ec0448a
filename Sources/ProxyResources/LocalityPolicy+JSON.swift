package import Wire

extension LocalityPolicy {
    init(_ fields: ResourceFields) throws(ResourceFault) {
        var keys: [Key] = []
        for (index, text) in try fields.strings("prefer").enumerated() {
            guard let key = Key(rawValue: text) else {
                throw fields.fault("prefer[\(index)]", "has the unknown value \(text)")
            }
            keys.append(key)
        }
        if keys.count > 8 { throw fields.fault("prefer", "has more than 8 keys") }
        var failover: [Failover] = []
        for pair in try fields.objects("failover") {
            failover.append(Failover(from: try pair.requiredString("from"), to: try pair.requiredString("to")))
        }
        var shares: [Shares] = []
        for entry in try fields.objects("shares") {
            var list: [Share] = []
            for share in try entry.objects("to") {
                list.append(
                    Share(
                        locality: try share.requiredString("locality"),
                        weight: try share.requiredInteger("weight", in: 0...1_000_000)))
            }
            shares.append(Shares(from: try entry.requiredString("from"), to: list))
        }
        self.init(
            prefer: keys, others: try fields.word("others", or: .whenNeeded), failover: failover, shares: shares)
    }

    package var json: JSON {
        var out = ResourceWriter()
        out.write("prefer", prefer.map(\.rawValue))
        out.write("others", others.rawValue)
        out.write(
            "failover",
            failover.map { pair in
                var out = ResourceWriter()
                out.write("from", pair.from)
                out.write("to", pair.to)
                return out.json
            })
        out.write(
            "shares",
            shares.map { entry in
                var out = ResourceWriter()
                out.write("from", entry.from)
                out.write("to", entry.to.map(\.json))
                return out.json
            })
        return out.json
    }
}

extension LocalityPolicy.Share {
    var json: JSON {
        var out = ResourceWriter()
        out.write("locality", locality)
        out.write("weight", weight)
        return out.json
    }
}
