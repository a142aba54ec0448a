import Glibc

extension HeadParser {
    mutating func connectionTokens(_ value: UnsafePointer<UInt8>, _ count: Int) {
        forEachToken(value, count) { token, length in
            switch length {
            case 5 where equals(token, 5, "close"): head.saysClose = true
            case 10 where equals(token, 10, "keep-alive"): head.saysKeepAlive = true
            case 7 where equals(token, 7, "upgrade"): head.saysUpgrade = true
            case 2 where equals(token, 2, "te"): break
            default: head.connectionNamesOthers = true
            }
        }
    }

    /// Drops the lines a Connection header names. Naming a line that frames the message or says where it goes is an attack.
    mutating func dropNamedLines(_ bytes: UnsafePointer<UInt8>) -> HeadFault? {
        var fault: HeadFault? = nil
        for index in 0..<head.lineCount {
            let line = lines[index]
            guard line.nameLength == 10, equals(bytes + Int(line.offset), 10, "connection") else { continue }
            forEachToken(bytes + Int(line.valueOffset), Int(line.valueLength)) { token, length in
                if equals(token, length, "host") || equals(token, length, "content-length")
                    || equals(token, length, "transfer-encoding") || equals(token, length, "x-weft-peer")
                {
                    fault = .badConnection
                    return
                }
                if equals(token, length, "upgrade") || equals(token, length, "te") { return }
                for other in 0..<head.lineCount where Int(lines[other].nameLength) == length {
                    if strncasecmp(cText(bytes + Int(lines[other].offset)), cText(token), length) == 0 {
                        lines[other].dropped = true
                    }
                }
            }
        }
        return fault
    }
}
