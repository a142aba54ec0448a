import CKernel
import CLinux

/// A client that gets what a container writes, as it comes.
///
/// What it does not take at once is kept here, and the container's stream rests meanwhile, as behind any full pipe. A client that
/// takes nothing for ten seconds is dropped: it must not hold the container up for ever.
final class Attachment {
    static let patience: Int64 = 10_000

    let client: Client
    let hasInput: Bool
    var stdout: AttachedStream
    var stderr: AttachedStream
    /// When it is dropped if it has taken nothing until then, in steady milliseconds.
    private(set) var deadline: Int64?
    /// How its container ended, to be told when everything was taken.
    var ending: [UInt8]?

    /// Owns both descriptors; -1 for a stream that is not wanted.
    init(client: Client, hasInput: Bool, output: CInt, errors: CInt) {
        self.client = client
        self.hasInput = hasInput
        stdout = AttachedStream(descriptor: output)
        stderr = AttachedStream(descriptor: errors)
    }

    var isWaiting: Bool { stdout.isWaiting || stderr.isWaiting }

    func isOn(_ descriptor: CInt) -> Bool { stdout.descriptor == descriptor || stderr.descriptor == descriptor }

    func offer(_ bytes: UnsafeRawBufferPointer, isError: Bool) {
        if isError { stderr.offer(bytes) } else { stdout.offer(bytes) }
        if isWaiting, deadline == nil { deadline = weft_steady_milliseconds() + Self.patience }
    }

    /// Hands out what waits for a descriptor that takes something again.
    func flush(_ descriptor: CInt) {
        if stdout.descriptor == descriptor { stdout.flush() }
        if stderr.descriptor == descriptor { stderr.flush() }
        deadline = isWaiting ? weft_steady_milliseconds() + Self.patience : nil
    }

    func close() {
        stdout.close()
        stderr.close()
    }
}

/// One stream on its way to a client.
struct AttachedStream {
    private(set) var descriptor: CInt
    private var waiting: [UInt8] = []
    /// The loop waits until the client takes more.
    var isWatched = false

    init(descriptor: CInt) {
        self.descriptor = descriptor
        if descriptor >= 0 { _ = weft_do_not_wait(descriptor) }
    }

    var isWaiting: Bool { !waiting.isEmpty }

    mutating func offer(_ bytes: UnsafeRawBufferPointer) {
        guard descriptor >= 0 else { return }
        waiting += bytes
        flush()
    }

    /// Writes what the client takes now; one that has closed its end wants nothing more.
    mutating func flush() {
        var done = 0
        while done < waiting.count {
            let count = waiting.withUnsafeBytes {
                write(descriptor, $0.baseAddress.map { $0 + done }, waiting.count - done)
            }
            let code = weft_errno()
            if count > 0 {
                done += count
            } else if code == weft_try_again {
                break
            } else if code != weft_interrupted {
                // Its descriptor stays until the client goes: the loop may still be watching it.
                done = waiting.count
            }
        }
        waiting.removeFirst(done)
    }

    mutating func close() {
        if descriptor >= 0 { CLinux.close(descriptor) }
        descriptor = -1
        waiting = []
    }
}
