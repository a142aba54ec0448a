import CKernel
import Glibc
import Kernel
import Loop
import ProxyResources
import Synchronization

/// Leases tokens of global limits from the control plane, from a thread of its own: says how those it has are used and how many
/// are wanted, and gives what is granted to the tables the loops take from.
///
/// A lease counts from when the report was sent that the control plane answers, so that it never lasts longer here than there.
struct QuotaClient: ~Copyable, Sendable {
    private let socket: String
    /// Gone with its data plane, and then this client ends.
    private weak var book: LimitBook?
    private let clock: LeaseClock
    private var chance = Chance(seed: Clock.monotonic)
    private var complained = false
    // Of the stream.
    private var number: UInt64 = 0
    private var sentAt = [UInt64](repeating: 0, count: 64)
    /// No report before this, whoever rings.
    private var earliest: UInt64 = 0
    private var nextReport: UInt64 = 0
    private var isRung = false

    /// Between two reports while tokens are used; while nothing happens; and at least, in nanoseconds.
    private static let busyPause: UInt64 = 100_000_000
    private static let idlePause: UInt64 = 400_000_000
    private static let leastPause: UInt64 = 10_000_000

    /// Once there is a limit that needs it.
    static func start(socket: String, book: LimitBook) {
        let clock = book.clock
        book.whenLeasing { [weak book] in
            let client = QuotaClient(socket: socket, book: book, clock: clock)
            _ = Thread.start("quota", client) { client in client.run() }
        }
    }

    private init(socket: String, book: LimitBook?, clock: LeaseClock) {
        self.socket = socket
        self.book = book
        self.clock = clock
    }

    private mutating func run() {
        var pause: UInt64 = 50
        while let isIdle = book?.leaseTables.isEmpty {
            if isIdle {
                _ = wait(on: nil, nanoseconds: 1_000_000_000)
                continue
            }
            let descriptor = weft_connect_unix(socket)
            if descriptor >= 0 {
                let started = Clock.monotonic
                if let why = stream(OwnedDescriptor(taking: descriptor)) {
                    log("leases of global limits: \(why)", level: "warning")
                }
                complained = false
                if Clock.monotonic - started > 1_000_000_000 { pause = 50 }
            } else if !complained {
                log("leases: connect \(socket): \(String(cString: strerror(-descriptor)))", level: "warning")
                complained = true
            }
            usleep((UInt32(pause) + chance.below(UInt32(pause))) * 1000)
            pause = min(pause * 2, 500)
        }
    }

    /// One stream until it ends; tells why it did, nil when it was no longer needed.
    private mutating func stream(_ connection: consuming OwnedDescriptor) -> String? {
        var http = DiscoveryStream(path: QuotaReport.path)
        (number, earliest, nextReport, isRung) = (0, 0, 0, false)
        var restarted: Set<ObjectIdentifier> = []
        var space = [UInt8](repeating: 0, count: 65536)
        while let tables = book?.leaseTables {
            if tables.isEmpty { return nil }
            let now = Clock.monotonic
            for table in tables where restarted.insert(ObjectIdentifier(table)).inserted { table.restart(now: now) }
            if now >= nextReport || (isRung && now >= earliest) { report(tables, &http, now) }
            if let fault = http.flush(to: connection) { return fault }
            let due = isRung ? min(nextReport, earliest) : nextReport
            if !wait(on: connection.number, nanoseconds: due > now ? due - now : 0) { continue }
            let descriptor = connection.number
            let count = space.withUnsafeMutableBytes { weft_tcp_receive(descriptor, $0.baseAddress, $0.count) }
            if count == -Int(EINTR) { continue }
            if count < 0 { return "read: \(String(cString: strerror(Int32(-count))))" }
            if count == 0 { return "the control plane closed the connection" }
            do {
                for message in try http.receive(space[..<count]) {
                    guard let grants = try? QuotaGrants(message) else {
                        return "the control plane sent a message that cannot be read"
                    }
                    take(grants, tables)
                }
            } catch { return "\(error)" }
        }
        return nil
    }

    private mutating func report(_ tables: [LeaseTable], _ http: inout DiscoveryStream, _ now: UInt64) {
        isRung = false
        number += 1
        var report = QuotaReport(number: number)
        var room = QuotaReport.mostLines
        for table in tables {
            let lines = table.report(now: now, most: room)
            if lines.isEmpty { continue }
            room -= lines.count
            report.pages.append(QuotaReport.Page(budget: table.budget, lines: lines))
        }
        sentAt[Int(number % 64)] = now
        http.send(report.bytes)
        // The more there is to say, the longer until the next time: the control plane has others to hear.
        earliest = now + (QuotaReport.mostLines - room > 128 ? Self.busyPause : Self.leastPause)
        nextReport = now + (report.pages.isEmpty ? Self.idlePause : Self.busyPause)
    }

    private mutating func take(_ grants: QuotaGrants, _ tables: [LeaseTable]) {
        let now = Clock.monotonic
        for page in grants.pages {
            for table in tables where table.budget == page.budget { table.take(page.lines, now: now) }
        }
        for table in tables where grants.refused.contains(table.budget) { table.refuse() }
        // Sixty-four reports ago is longer than a lease lasts only when reports hurry; then the answer is of no use.
        if grants.answers == 0 || grants.answers > number || number - grants.answers >= 64 { return }
        let until = sentAt[Int(grants.answers % 64)] + QuotaTerms.lease
        if until > clock.until.load(ordering: .relaxed) { clock.until.store(until, ordering: .relaxed) }
    }

    /// Waits for bytes or the bell. True when there are bytes.
    private mutating func wait(on descriptor: CInt?, nanoseconds: UInt64) -> Bool {
        var waiting = [pollfd(fd: clock.bell, events: Int16(POLLIN), revents: 0)]
        if let descriptor { waiting.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)) }
        _ = poll(&waiting, UInt(waiting.count), Int32(clamping: (nanoseconds + 999_999) / 1_000_000))
        if waiting[0].revents != 0 {
            clock.hear()
            isRung = true
        }
        return waiting.count > 1 && waiting[1].revents != 0
    }
}
