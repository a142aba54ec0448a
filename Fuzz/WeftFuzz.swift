import Glibc

/// One libFuzzer program for all targets: `WEFT_FUZZ_TARGET=http1 weft-fuzz [options] [folders of inputs]`. `make fuzz` runs each.
///
/// A target gets bytes on the heap, exactly as many as there are, so that the address sanitizer sees a read beyond them; what must hold
/// for every input is a precondition. `main` is the compiler's runtime's.
typealias Input = UnsafeBufferPointer<UInt8>

enum FuzzTarget: String, CaseIterable {
    case http1, http2, hello, configuration, json, protobuf, patch, apply, cel, selectors

    func run(_ input: Input) {
        switch self {
        case .http1: HTTP1Target.run(input)
        case .http2: HTTP2Target.run(input)
        case .hello: HelloTarget.run(input)
        case .configuration: ConfigurationTarget.run(input)
        case .json: JSONTarget.run(input)
        case .protobuf: ProtobufTarget.run(input)
        case .patch: PatchTarget.run(input)
        case .apply: ApplyTarget.run(input)
        case .cel: CELTarget.run(input)
        case .selectors: SelectorTarget.run(input)
        }
    }

    static let chosen: FuzzTarget = {
        if let name = getenv("WEFT_FUZZ_TARGET"), let target = FuzzTarget(rawValue: String(cString: name)) {
            return target
        }
        let names = allCases.map(\.rawValue).joined(separator: ", ")
        print("weft-fuzz: WEFT_FUZZ_TARGET must be one of \(names)")
        exit(2)
    }()
}

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
    defer { copy.deallocate() }
    if let bytes { copy.initialize(from: bytes, count: count) }
    FuzzTarget.chosen.run(UnsafeBufferPointer(start: copy, count: count))
    return 0
}
