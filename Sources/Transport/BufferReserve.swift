import NIOCore

/// A few large buffers that one loop's connections use in turn, each for as long as a write takes: memory that was just written is
/// still in the processor's caches, and is not given back to the kernel to be asked for again.
///
/// `@unchecked Sendable`: touched on its loop only.
final class BufferReserve: @unchecked Sendable {
    /// Smaller ones are cheap to allocate.
    private static let smallest = 8 << 10
    private static let largest = 512 << 10
    private static let most = 4
    private var free: [ByteBuffer] = []

    /// An empty buffer with at least this much room.
    func take(_ capacity: Int) -> ByteBuffer {
        guard (Self.smallest...Self.largest).contains(capacity), var buffer = free.popLast() else {
            return ByteBufferAllocator().buffer(capacity: capacity)
        }
        // One that a socket still sends from stays with it: this makes another.
        buffer.clear(minimumCapacity: capacity)
        return buffer
    }

    /// Takes a buffer back that has been written; somebody may still hold it.
    func give(_ buffer: ByteBuffer) {
        guard (Self.smallest...Self.largest).contains(buffer.capacity), free.count < Self.most else { return }
        free.append(buffer)
    }
}
