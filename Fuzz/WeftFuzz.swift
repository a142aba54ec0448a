import Glibc

/// One libFuzzer program for all targets: `weft-fuzz TARGET [libFuzzer's options] [folders of inputs]`. `make fuzz` runs each.
///
/// A target gets bytes on the heap, exactly as many as there are, so that the address sanitizer sees a read beyond them; what must hold
/// for every input is a precondition.
typealias Input = UnsafeBufferPointer<UInt8>

enum FuzzTarget: String, CaseIterable {
    case http1, http2, hello, configuration

    func run(_ input: Input) {
        switch self {
        case .http1: HTTP1Target.run(input)
        case .http2: HTTP2Target.run(input)
        case .hello: HelloTarget.run(input)
        case .configuration: ConfigurationTarget.run(input)
        }
    }
}

// `nonisolated(unsafe)`: set once, before the driver starts.
nonisolated(unsafe) private var chosen = FuzzTarget.http1

/// libFuzzer's loop, from the compiler's runtime.
@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@main enum Main {
    static func main() {
        guard CommandLine.arguments.count > 1, let target = FuzzTarget(rawValue: CommandLine.arguments[1]) else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
            print("usage: weft-fuzz TARGET [options], where TARGET is one of \(names)")
            exit(2)
        }
        chosen = target
        // The driver sees the same words without the target's.
        var words = [CommandLine.unsafeArgv[0]] + (2..<Int(CommandLine.argc)).map { CommandLine.unsafeArgv[$0] }
        words.append(nil)
        var count = CInt(words.count - 1)
        let place = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: words.count)
        place.initialize(from: words, count: words.count)
        var start = place
        let code = runDriver(&count, &start) { bytes, count in
            let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
            defer { copy.deallocate() }
            if let bytes { copy.initialize(from: bytes, count: count) }
            chosen.run(UnsafeBufferPointer(start: copy, count: count))
            return 0
        }
        exit(code)
    }
}
