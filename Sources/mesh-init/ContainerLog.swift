import CKernel
import CLinux

/// Writes what a container prints as CRI log lines: `2026-01-02T03:04:05.000000006Z stdout F text`.
///
/// A line longer than 16 KiB is cut into parts with tag `P`. A file that reaches 10 MiB becomes `<name>.1`, replacing
/// the one before it. When the disk is full, lines are lost, never the container.
final class ContainerLog {
    static let longestLine = 16 << 10
    static let largestFile: Int64 = 10 << 20

    private let directory: CInt
    private let name: [CChar]
    private let olderName: [CChar]
    private let poll: CInt
    /// Who follows what comes.
    var attachments: [Attachment] = []
    private var file: CInt = -1
    private var size: Int64 = 0
    var stdout: LogStream
    var stderr: LogStream

    /// Owns the directory and both streams from now on; `stderr` is -1 for a terminal. `poll`: where the streams are watched.
    init(directory: CInt, name: [UInt8], stdout: CInt, stderr: CInt, poll: CInt) {
        self.directory = directory
        self.poll = poll
        self.name = name.endedByNUL
        olderName = (name + [46, 49]).endedByNUL
        self.stdout = LogStream(descriptor: stdout, label: [UInt8](ascii: " stdout "))
        self.stderr = LogStream(descriptor: stderr, label: [UInt8](ascii: " stderr "))
        open()
    }

    private func open() {
        file = weft_open_at(directory, name, O_WRONLY | O_CREAT | O_APPEND, 0o640)
        size = file >= 0 ? Int64(lseek(file, 0, SEEK_END)) : 0
    }

    /// Reads what one stream has now. Returns false at its end.
    func pumpStdout(using space: UnsafeMutableRawBufferPointer) -> Bool { pump(&stdout, space, isError: false) }
    func pumpStderr(using space: UnsafeMutableRawBufferPointer) -> Bool { pump(&stderr, space, isError: true) }

    private func pump(_ stream: inout LogStream, _ space: UnsafeMutableRawBufferPointer, isError: Bool) -> Bool {
        guard stream.descriptor >= 0 else { return false }
        let count = read(stream.descriptor, space.baseAddress, space.count)
        let code = weft_errno()
        if count > 0 {
            var out: [UInt8] = []
            let bytes = UnsafeRawBufferPointer(rebasing: space[..<count])
            stream.take(bytes, at: weft_wall_nanoseconds(), to: &out)
            append(out)
            for attachment in attachments { attachment.offer(bytes, isError: isError) }
            return true
        }
        if count < 0, code == weft_try_again || code == weft_interrupted { return true }
        finish(&stream)
        return false
    }

    private func finish(_ stream: inout LogStream) {
        var out: [UInt8] = []
        stream.flush(at: weft_wall_nanoseconds(), to: &out)
        append(out)
        if stream.descriptor >= 0 {
            // A terminal's master has copies: closing ours alone would not end the watch.
            var event = epoll_event()
            _ = epoll_ctl(poll, 2, stream.descriptor, &event)  // EPOLL_CTL_DEL
            CLinux.close(stream.descriptor)
        }
        stream.descriptor = -1
    }

    private func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        if file < 0 { open() }
        if size + Int64(bytes.count) > Self.largestFile, size > 0 {
            CLinux.close(file)
            _ = weft_rename_at(directory, name, olderName)
            open()
        }
        guard file >= 0 else { return }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            if count < 0, weft_errno() == weft_interrupted { continue }
            guard count > 0 else { return }
            done += count
            size += Int64(count)
        }
    }

    /// The container has ended: takes what its pipes still hold and closes all. A pipe somebody else still writes to is
    /// read for a bounded while.
    func close(draining space: UnsafeMutableRawBufferPointer) {
        for _ in 0..<64 where stdout.descriptor >= 0 && hasData(stdout.descriptor) { _ = pumpStdout(using: space) }
        for _ in 0..<64 where stderr.descriptor >= 0 && hasData(stderr.descriptor) { _ = pumpStderr(using: space) }
        finish(&stdout)
        finish(&stderr)
        if file >= 0 { CLinux.close(file) }
        CLinux.close(directory)
    }

    private func hasData(_ descriptor: CInt) -> Bool { weft_is_readable(descriptor) == 1 }
}

/// Lines of one pipe, the unfinished last one kept.
struct LogStream {
    var descriptor: CInt
    let label: [UInt8]
    /// Not read for now: somebody who follows it has to take what came before.
    var rests = false
    private var unfinished: [UInt8] = []

    init(descriptor: CInt, label: [UInt8]) {
        self.descriptor = descriptor
        self.label = label
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer, at time: Int64, to out: inout [UInt8]) {
        guard let base = bytes.baseAddress else { return }
        var place = 0
        while place < bytes.count {
            let room = min(bytes.count - place, ContainerLog.longestLine - unfinished.count)
            let start = base + place
            let newline = memchr(start, 10, room)
            let length = newline.map { UnsafeRawPointer($0) - start } ?? room
            unfinished += UnsafeRawBufferPointer(start: start, count: length)
            place += newline == nil ? length : length + 1
            if newline != nil {
                emit(tag: 70, at: time, to: &out)
            } else if unfinished.count == ContainerLog.longestLine {
                emit(tag: 80, at: time, to: &out)
            }
        }
    }

    mutating func flush(at time: Int64, to out: inout [UInt8]) {
        if !unfinished.isEmpty { emit(tag: 70, at: time, to: &out) }
        unfinished = []
    }

    private mutating func emit(tag: UInt8, at time: Int64, to out: inout [UInt8]) {
        appendTimestamp(time, to: &out)
        out += label
        out.append(tag)
        out.append(32)
        out += unfinished
        out.append(10)
        unfinished.removeAll(keepingCapacity: unfinished.capacity <= 1024)
    }
}

/// RFC 3339 in UTC with nine digits. The date from the day's number: Howard Hinnant's `civil_from_days`.
func appendTimestamp(_ nanoseconds: Int64, to out: inout [UInt8]) {
    let seconds = nanoseconds / 1_000_000_000
    let days = seconds / 86_400
    let rest = seconds % 86_400
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    appendDecimal(year, width: 4, to: &out)
    out.append(45)
    appendDecimal(month, width: 2, to: &out)
    out.append(45)
    appendDecimal(day, width: 2, to: &out)
    out.append(84)
    appendDecimal(rest / 3600, width: 2, to: &out)
    out.append(58)
    appendDecimal(rest / 60 % 60, width: 2, to: &out)
    out.append(58)
    appendDecimal(rest % 60, width: 2, to: &out)
    out.append(46)
    appendDecimal(nanoseconds % 1_000_000_000, width: 9, to: &out)
    out.append(90)
}
