import Testing
import Wire

@Suite struct HTTP1Tests {
    private func request(_ text: String) -> (HeadOutcome, MessageHead) { parse(text, isRequest: true) }
    private func response(_ text: String) -> (HeadOutcome, MessageHead) { parse(text, isRequest: false) }

    private func parse(_ text: String, isRequest: Bool) -> (HeadOutcome, MessageHead) {
        var parser = HeadParser()
        var text = text
        let outcome = text.withUTF8 { bytes in
            guard let base = bytes.baseAddress else { return HeadOutcome.incomplete }
            return isRequest ? parser.request(base, bytes.count) : parser.response(base, bytes.count)
        }
        return (outcome, parser.head)
    }

    @Test("a request's parts are found")
    func parts() {
        let text =
            "POST /a/b?c=d HTTP/1.1\r\nHost: shop:80\r\nContent-Length: 12\r\nConnection: keep-alive, Upgrade\r\nX: \t y \r\n\r\nbody"
        let (outcome, head) = request(text)
        #expect(outcome == .complete)
        #expect(head.length == text.utf8.count - 4)
        #expect(head.methodLength == 4 && head.targetLength == 8 && head.minorVersion == 1)
        #expect(
            head.contentLength == 12 && head.saysKeepAlive && head.saysUpgrade && !head.saysClose && !head.isChunked)
        #expect(head.lineCount == 4 && head.hostLength == 7)
    }

    @Test("every beginning of a head is incomplete, not wrong")
    func prefixes() {
        let text = "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for count in 1..<text.utf8.count {
            #expect(
                request(String(decoding: Array(text.utf8).prefix(count), as: UTF8.self)).0 == .incomplete,
                "\(count) bytes")
        }
        #expect(request(text).0 == .complete)
    }

    @Test(
        "heads that two hops could read differently are refused",
        arguments: [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", HeadFault.bareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget), ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .badStartLine), ("GET /\r\nHost: a\r\n\r\n", .badStartLine),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .badStartLine), ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .badVersion),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", .badStartLine),
            ("GET /\u{7F} HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .fragmentInTarget),
            ("GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n", .fragmentInTarget),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget), ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .badTarget),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceBeforeColon),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", .emptyHeaderName),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", .foldedHeader),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", .nulInHead),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", .bareReturn), ("GET / HTTP/1.1\r\n\r\n", .missingHost),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .repeatedHost),
            ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", .badHost),
            ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", .hostMismatch),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", .repeatedContentLength),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", .badContentLength),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", .badContentLength),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", .badContentLength),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", .badContentLength),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthAndChunked),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .badTransferEncoding),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", .unknownTransferEncoding),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
                .repeatedTransferEncoding
            ),
            ("GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", .chunkedInOldVersion),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", .badTransferEncoding),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", .badTransferEncoding),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n chunked\r\n\r\n", .foldedHeader),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n", .ambiguousName),
            ("GET / HTTP/1.1\r\nHost: a\r\ncontent--LENGTH: 3\r\n\r\n", .ambiguousName),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", .emptyHost), ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", .badHost),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", .badHost), ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", .badHost),
            ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", .badHeaderName),
            ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", .missingColon),
            ("GET / HTTP/1.1\rHost: a\r\n\r\n", .bareReturn), ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", .nulInHead),
            ("\(String(repeating: "M", count: 70)) / HTTP/1.1\r\nHost: a\r\n\r\n", .methodTooLong),
            (String(repeating: "M", count: 9000), .methodTooLong),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\n\r\n", .badConnection),
        ])
    func refused(text: String, fault: HeadFault) { #expect(request(text).0 == .refused(fault)) }

    @Test("a control is found wherever it stands in a value; a tab and bytes beyond ASCII are no controls")
    func controls() {
        for length in 1...25 {
            for place in 0..<length {
                for byte in [0, 1, 9, 10, 13, 31, 32, 33, 126, 127, 128, 255] as [UInt8] {
                    var value = [UInt8](repeating: UInt8(ascii: "v"), count: length)
                    value[place] = byte
                    let head = Array("GET / HTTP/1.1\r\nhost: a\r\nx: ".utf8) + value + Array("\r\n\r\n".utf8)
                    var parser = HeadParser()
                    let isComplete = head.withUnsafeBufferPointer { bytes in
                        bytes.baseAddress.map { parser.request($0, bytes.count) } == .complete
                    }
                    let isText = byte == 9 || byte >= 32 && byte != 127
                    #expect(isComplete == isText, "byte \(byte) at \(place) of \(length)")
                }
            }
        }
    }

    @Test("absolute form, asterisk form and no Host in HTTP/1.0 are understood")
    func targets() {
        let (outcome, head) = request("GET http://a:80/x?y HTTP/1.1\r\nHost: A:80\r\n\r\n")
        #expect(outcome == .complete && head.pathLength == 4 && head.hostLength == 4)
        #expect(request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").0 == .complete)
        #expect(request("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n").0 == .complete)
        for host in ["a-b_c.example:8080", "10.0.0.1:80", "[::1]:80", "[2001:db8::1]", "a:", "a%20b"] {
            #expect(request("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n").0 == .complete, "\(host)")
        }
        #expect(request("GET / HTTP/1.0\r\n\r\n").0 == .complete)
    }

    @Test("limits: 128 lines, 8 KiB of target, 60 KiB in all")
    func limits() {
        let lines = String(repeating: "a: b\r\n", count: 127)
        #expect(request("GET / HTTP/1.1\r\nhost: a\r\n\(lines)\r\n").0 == .complete)
        #expect(request("GET / HTTP/1.1\r\nhost: a\r\n\(lines)c: d\r\n\r\n").0 == .refused(.tooManyHeaders))
        #expect(
            request("GET /\(String(repeating: "p", count: 9000)) HTTP/1.1\r\nhost: a\r\n\r\n").0
                == .refused(.targetTooLong))
        #expect(request("GET /\(String(repeating: "p", count: 9000))").0 == .refused(.targetTooLong))
        let filler = "f: \(String(repeating: "f", count: 62000))\r\n"
        #expect(request("GET / HTTP/1.1\r\nhost: a\r\n\(filler)\r\n").0 == .refused(.headTooLong))
    }

    @Test("responses: status, framing, and what is refused")
    func responses() {
        let (outcome, head) = response("HTTP/1.0 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\n")
        #expect(
            outcome == .complete && head.status == 404 && head.minorVersion == 0 && head.contentLength == 3
                && head.saysClose)
        #expect(response("HTTP/1.1 200\r\n\r\n").0 == .complete)
        #expect(response("HTTP/1.1 20 OK\r\n\r\n").0 == .refused(.badStatus))
        #expect(response("HTTP/1.1 200 O\0K\r\n\r\n").0 == .refused(.nulInHead))
        #expect(response("HTTP/1.1 200 O\u{1}K\r\n\r\n").0 == .refused(.badStatus))
        #expect(response("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").0 == .refused(.chunkedInOldVersion))
        #expect(response("HTTP/1.1 2000 OK\r\n\r\n").0 == .refused(.badStatus))
        #expect(response("ICY 200 OK\r\n\r\n\r\n").0 == .refused(.badStartLine))
        #expect(
            response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n").0
                == .refused(.lengthAndChunked))
    }

    private func scan(_ text: String, by step: Int) -> (taken: Int, scanner: ChunkScanner) {
        let bytes = Array(text.utf8)
        var scanner = ChunkScanner()
        var taken = 0
        bytes.withUnsafeBufferPointer { space in
            guard let base = space.baseAddress else { return }
            while taken < bytes.count, !scanner.isDone, !scanner.isBad {
                let count = scanner.scan(base + taken, min(step, bytes.count - taken))
                taken += count
                if count == 0 { break }
            }
        }
        return (taken, scanner)
    }

    @Test("a chunked body ends where it ends, however it arrives", arguments: [1, 2, 3, 7, 1000])
    func chunks(step: Int) {
        let body =
            "5\r\nhello\r\n0A;name=value;b;c=\"d \\\" e\";f\r\n0123456789\r\n0\r\nx-trailer: x\r\ngrpc-status:0\r\n\r\n"
        let (taken, scanner) = scan(body + "GET", by: step)
        #expect(scanner.isDone && taken == body.utf8.count)
    }

    @Test(
        "broken chunks are seen",
        arguments: [
            "x\r\n", "\r\n", "5 \r\nhello\r\n", "5\nhello", "5\r\nhelloX\r\n", "5\r\nhello\n", "-5\r\n", "0x5\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "0\r\n\n", "0\r\nbad\u{1}trailer\r\n\r\n", "5;a\nb\r\n",
            "5;\r\nhello\r\n", "5;a=\r\nhello\r\n", "5;a b\r\n", "5;a[=x\r\n", "5;a=\"b\r\n", "5; a\r\n", "5\r;a\r\n",
            "00000000000000005\r\nhello\r\n", "0\r\n trailer: x\r\n\r\n", "0\r\nt : x\r\n\r\n", "0\r\nt\r\n\r\n",
            "0\r\nContent-Length: 3\r\n\r\n", "0\r\nHOST: b\r\n\r\n", "0\r\nAuthorization: b\r\n\r\n",
            "1;\(String(repeating: "a", count: 17000))\r\n",
        ])
    func brokenChunks(body: String) { #expect(scan(body, by: 1000).scanner.isBad) }

    @Test("no bytes, however mutilated, make the parser read outside them or crash")
    func mutilated() {
        var chance = SystemRandomNumberGenerator()
        let seed = Array(
            "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: x, close\r\nX-Y: z\r\n\r\nabc".utf8)
        for _ in 0..<20_000 {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...4, using: &chance) {
                let place = Int.random(in: 0..<bytes.count, using: &chance)
                switch Int.random(in: 0..<3, using: &chance) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &chance)
                case 1: bytes.remove(at: place)
                default: bytes.insert([10, 13, 32, 58, 0].randomElement(using: &chance) ?? 0, at: place)
                }
                if bytes.isEmpty { break }
            }
            var parser = HeadParser()
            bytes.withUnsafeBufferPointer { space in
                guard let base = space.baseAddress else { return }
                if parser.request(base, space.count) == .complete { #expect(parser.head.length <= space.count) }
                _ = parser.response(base, space.count)
            }
        }
    }
}
