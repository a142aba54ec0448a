import CKernel
import Glibc
import Loop

/// One line on standard error: time, level, text. For rare events; the traffic's story is told by metrics.
func log(_ text: String, level: String = "info") {
    let milliseconds = Loop.Clock.wall
    var seconds = time_t(milliseconds / 1000)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    let date = "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    let clock = "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    let line = "\(date)T\(clock)Z \(level) \(text)\n"
    line.utf8.withContiguousStorageIfAvailable { _ = write(2, $0.baseAddress, $0.count) }
}
