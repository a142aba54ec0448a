import CKernel
import Glibc

/// Starts threads of our own: the data plane has no tasks.
enum Thread {
    // `@unchecked Sendable`: the new thread alone takes the cargo.
    private final class Start<Cargo: ~Copyable & Sendable>: @unchecked Sendable {
        var cargo: Cargo?
        let body: @Sendable (inout Cargo) -> Void
        init(_ cargo: consuming Cargo, _ body: @escaping @Sendable (inout Cargo) -> Void) {
            self.cargo = consume cargo
            self.body = body
        }
        func run() {
            guard var cargo = cargo.take() else { return }
            body(&cargo)
        }
    }

    private final class Runner: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    static func start<Cargo: ~Copyable & Sendable>(
        _ name: String, _ cargo: consuming Cargo, _ body: @escaping @Sendable (inout Cargo) -> Void
    ) -> pthread_t {
        let start = Start(cargo, body)
        return launch(name) { start.run() }
    }

    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> pthread_t { launch(name, body) }

    private static func launch(_ name: String, _ body: @escaping @Sendable () -> Void) -> pthread_t {
        let runner = Unmanaged.passRetained(
            Runner {
                weft_name_thread(name)
                body()
            })
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, 1 << 20)
        defer { pthread_attr_destroy(&attributes) }
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                if let argument { Unmanaged<Runner>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, runner.toOpaque())
        if code != 0 { fatalError("pthread_create: \(String(cString: strerror(code)))") }
        return thread
    }
}
