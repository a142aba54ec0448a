/// One request, to try a service from inside a pod.
enum Visit {
    static func run(_ url: String) -> Int32 {
        guard let address = Upstream.Address(url: url) else {
            say("demo-service: \"\(url)\" must look like http://host:port/path", to: 2)
            return 2
        }
        do throws(Upstream.Failed) {
            let answer = try Upstream(address).get([])
            say(String(decoding: answer.body, as: UTF8.self), to: 1)
            if answer.status == 200 { return 0 }
            let reason = answer["x-weft-reason"].map { ", \($0)" } ?? ""
            say("demo-service: \(address.authority) answered \(answer.status)\(reason)", to: 2)
        } catch {
            say("demo-service: \(error.cause)", to: 2)
        }
        return 1
    }
}
