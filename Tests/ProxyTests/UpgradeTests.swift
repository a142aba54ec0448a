import Glibc
import Kernel
import TestSupport
import Testing
import Wire

@testable import Proxy

@Suite struct UpgradeTests {
    @Test(
        "a proxy is put in the place of another three times under load, and no request fails; the process stays the same"
    )
    func underLoad() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        let load = Load(port: proxy.port, connections: 5)
        let posts = Load(port: proxy.port, connections: 2, body: noise(100_000))
        let wrk = LoadProgram.wrk(proxy.port)
        var before = Int(proxy.pid)
        for round in 1...3 {
            kill(proxy.pid, SIGUSR2)
            #expect(eventually { proxy.answering.map { $0 != before } ?? false }, "round \(round)")
            before = proxy.answering ?? 0
            // The first process is a small one once its connections have ended; only then it takes the next order.
            #expect(eventually { proxy.words(of: Int(proxy.pid)).dropFirst().first == "hold" }, "round \(round)")
        }
        let result = [load.finish(), posts.finish(), wrk.finish()].reduce(LoadResult(), +)
        #expect(result.failed == 0, "\(result)")
        #expect(result.served > 100)
        kill(proxy.pid, SIGTERM)
        var status: CInt? = nil
        #expect(
            eventually {
                status = status ?? proxy.status()
                return status != nil
            })
        #expect(status == 0)
        #expect(eventually { proxy.words(of: before).isEmpty })
        let visitor = Visitor(port: proxy.port)
        #expect(visitor.get("/name") == nil)
        visitor.end()
        origin.stop()
    }

    @Test(
        "clients of HTTP/2 are told to leave, and no stream fails while proxies are put in each other's place under load"
    )
    func streams() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        let load = PeerProgram("h2_load.py", "\(proxy.port)", "4", "10")
        #expect(load.line() == "going")
        var before = Int(proxy.pid)
        for round in 1...3 {
            kill(proxy.pid, SIGUSR2)
            #expect(eventually { proxy.answering.map { $0 != before } ?? false }, "round \(round)")
            before = proxy.answering ?? 0
            // Each of four connections is left for another.
            let isMoved = eventually {
                load.say("count")
                return Int(load.line()?.split(separator: " ").last ?? "") ?? 0 >= 4 * (round + 1)
            }
            #expect(isMoved, "round \(round)")
            #expect(eventually { proxy.words(of: Int(proxy.pid)).dropFirst().first == "hold" }, "round \(round)")
        }
        load.say("stop")
        let told = load.line() ?? ""
        #expect(told.split(separator: " ").count == 3, "\(told)")
        #expect(load.status() == 0)
        load.end()
        origin.stop()
    }

    @Test("a proxy is replaced again before the connections of the first have ended, and nobody is cut off")
    func chain() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        var visitors: [Visitor] = []
        var seen = [Int(proxy.pid)]
        for _ in 0..<3 {
            visitors.append(Visitor(port: proxy.port))
            #expect(visitors.last?.get("/name")?.status == 200)
            kill(proxy.pid, SIGUSR2)
            // One that leaves may answer still.
            let isNew = eventually {
                guard let pid = proxy.answering, !seen.contains(pid) else { return false }
                seen.append(pid)
                return true
            }
            #expect(isNew)
        }
        // Each is still served where it was accepted, until it is told to leave.
        for visitor in visitors {
            let isTold = eventually {
                let answer = visitor.get("/name")
                guard let answer, answer.status == 200 else {
                    Issue.record("a connection was cut off: \(answer?.head ?? "no answer, errno \(errno)")")
                    return true
                }
                return header("connection", answer.head) == "close"
            }
            #expect(isTold)
            visitor.end()
        }
        #expect(eventually { proxy.words(of: Int(proxy.pid)).dropFirst().first == "hold" })
        let visitor = Visitor(port: proxy.port)
        #expect(visitor.get("/name")?.status == 200)
        visitor.end()
        kill(proxy.pid, SIGTERM)
        var status: CInt? = nil
        #expect(
            eventually {
                status = status ?? proxy.status()
                return status != nil
            })
        #expect(status == 0)
        origin.stop()
    }

    @Test("a connection in use goes on in the old process until its answer, which says that it ends")
    func oldConnection() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        let visitor = Visitor(port: proxy.port)
        #expect(visitor.get("/name")?.status == 200)
        kill(proxy.pid, SIGUSR2)
        #expect(eventually { proxy.answering.map { $0 != Int(proxy.pid) } ?? false })
        // The old process is told to leave once the new one is there.
        var last: Visitor.Response?
        let isTold = eventually {
            last = visitor.get("/name")
            return last?.status != 200 || header("connection", last?.head ?? "") == "close"
        }
        #expect(isTold && last?.status == 200)
        #expect(visitor.rest() == [])
        visitor.end()
        origin.stop()
    }

    @Test("a program that does not become ready changes nothing: the old process goes on")
    func badProgram() throws {
        let directory = "/tmp/weft-badprogram-\(getpid())"
        try SmallFile.makeDirectories(directory)
        defer { try? FileTree.remove(directory) }
        let program = directory + "/meshproxy"
        try SmallFile.replace(program, with: Array("#!/bin/sh\nexit 3\n".utf8), mode: 0o755)
        let next = try Successor.start(program, ["sidecar"], sockets: [])
        #expect(next.fault(within: 10)?.contains("ended before it was ready") == true)
        next.end()
        #expect(kill(next.pid, 0) != 0)
        #expect(throws: SystemCallFailed.self) { try Successor.start(directory + "/none", [], sockets: []) }
    }

    @Test("a loop goes on at its share of the sockets that were handed on, and at more when there are fewer loops")
    func shares() {
        let key = HandedSockets.key("gateway", "", 80)
        let handed: [String: CInt] = [
            "\(key)#0.0": 10, "\(key)#1.0": 11, "\(key)#2.1": 12, "\(HandedSockets.key("gateway", "", 8080))#0.1": 20,
            "http": 30,
        ]
        #expect(HandedSockets.share(of: key, in: handed, loop: 0, of: 2) == [10, 12])
        #expect(HandedSockets.share(of: key, in: handed, loop: 1, of: 2) == [11])
        #expect(HandedSockets.share(of: key, in: handed, loop: 3, of: 4) == [])
    }
}
