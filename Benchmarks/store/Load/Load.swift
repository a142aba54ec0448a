import ArgumentParser
import Glibc
import Store

/// Puts load on a store, and says what came of it.
@main
struct Load: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store-load", abstract: "Put load on a store.", subcommands: [Measure.self, Note.self])
}

/// Writes as fast as a number of writers can, for a time, and prints the rate and the latencies as JSON.
struct Measure: AsyncParsableCommand {
    @Option(help: "The directory of an embedded store.") var directory: String?
    @Option(help: "The endpoint of an etcd on this machine, host:port.") var etcd: String?
    @Option var writers = 64
    @Option(help: "Bytes of each value.") var size = 1024
    @Option var seconds = 5.0
    @Option(help: "How many keys each writer writes in turn.") var keys = 160

    func run() async throws {
        let target: any WriteTarget =
            if let directory { try EmbeddedTarget(directory) } else { try await EtcdTarget(etcd ?? "127.0.0.1:2379") }
        let value = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let began = ContinuousClock.now
        let end = began + .seconds(seconds)
        let took = try await withThrowingTaskGroup(of: [Int64].self) { group in
            for writer in 0..<writers {
                group.addTask {
                    var took: [Int64] = []
                    var number = 0
                    while true {
                        let start = ContinuousClock.now
                        if start >= end { return took }
                        try await target.put("/registry/pods/load-\(writer)/\(number % keys)", value)
                        took.append(Int64((ContinuousClock.now - start) / .microseconds(1)))
                        number += 1
                    }
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }.sorted()
        }
        let elapsed = (ContinuousClock.now - began) / .seconds(1)
        await target.close()
        func quantile(_ share: Double) -> Int64 {
            took.isEmpty ? 0 : took[min(took.count - 1, Int(Double(took.count) * share))]
        }
        print(
            #"{"writes": \#(took.count), "rate": \#(Double(took.count) / elapsed), "p50": \#(quantile(0.5)), "#
                + #""p99": \#(quantile(0.99)), "max": \#(took.last ?? 0)}"#)
    }
}

/// Writes to an embedded store until it is killed, and notes in files every write that was acknowledged, and every event that its
/// watch, which goes on where the last process' ended, has seen.
struct Note: AsyncParsableCommand {
    @Option var directory: String
    @Option var writers = 16
    @Option(help: "How many changes back a watch may start.") var history = 4096

    func run() async throws {
        let store = try EmbeddedStore(directory: directory, historyEvents: history)
        let acknowledged = try NoteFile("\(directory)/acknowledged")
        let watched = try NoteFile("\(directory)/watched")
        let seen = try NoteFile.lastNumber("\(directory)/watched")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var position = seen
                let watch = store.watch("/registry/")
                while true {
                    guard case .events(let events) = try await watch.next(after: &position) else { continue }
                    for event in events {
                        let text = String(decoding: event.record.value, as: UTF8.self)
                        watched.note("\(event.revision) \(event.kind) \(event.record.key) \(text)")
                    }
                }
            }
            for writer in 0..<writers {
                group.addTask { try await Self.write(store, writer, acknowledged) }
            }
            try await group.waitForAll()
        }
    }

    private static func write(_ store: EmbeddedStore, _ writer: Int, _ notes: NoteFile) async throws {
        for number in 0... {
            let key = "/registry/pods/kill/\(writer)-\(number % 20)"
            let value = "\(store.revision).\(number)"
            guard store.get(key) != nil else {
                notes.note("\(try await store.create(key, Array(value.utf8)).revision) created \(key) \(value)")
                continue
            }
            if number % 7 == 3 {
                let gone = try await store.delete(key, .present)
                notes.note("\(gone.revision) deleted \(key) \(String(decoding: gone.value, as: UTF8.self))")
            } else {
                let record = try await store.update(key, Array(value.utf8), .present)
                notes.note("\(record.revision) updated \(key) \(value)")
            }
        }
    }
}

/// Lines that survive their writer's death.
struct NoteFile: Sendable {
    private let number: CInt

    init(_ path: String) throws {
        number = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard number >= 0 else { throw ValidationError("\(path) cannot be opened") }
    }

    func note(_ line: String) {
        let bytes = Array("\(line)\n".utf8)
        _ = write(number, bytes, bytes.count)
    }

    /// What the last line begins with; 0 without one.
    static func lastNumber(_ path: String) throws -> Int64 {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return 0 }
        defer { close(file) }
        var tail = [UInt8](repeating: 0, count: 4096)
        let size = lseek(file, 0, SEEK_END)
        lseek(file, max(0, size - 4096), SEEK_SET)
        let count = read(file, &tail, tail.count)
        let lines = String(decoding: tail.prefix(max(0, count)), as: UTF8.self).split(separator: "\n")
        return lines.last?.split(separator: " ").first.flatMap { Int64($0) } ?? 0
    }
}
