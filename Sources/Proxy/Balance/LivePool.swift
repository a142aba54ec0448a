import Loop

/// An endpoint that can be chosen, as one loop numbers it.
struct Candidate {
    var slot: Int32
    /// Weights up to and with this one's.
    var upTo: UInt32
}

/// One level of a pool: a run of candidates.
struct LiveLevel {
    var start: Int32 = 0
    var count: Int32 = 0
    /// Shares of the levels up to and with this one's, of 65,536.
    var upTo: UInt32 = 0
    /// Of the weights.
    var total: UInt32 = 0
    var isUniform = true
    /// Too few are well: health is not looked at.
    var isPanicking = false
}

/// Which of a balanced backend's endpoints one loop uses now. Made again when somebody's health changes; its memory follows use.
struct LivePool {
    var candidates: UnsafeMutablePointer<Candidate>? = nil
    var levels: UnsafeMutablePointer<LiveLevel>? = nil
    /// The board's epoch it was made at.
    var epoch: UInt64 = 0
    /// To be made again then at the latest.
    var freshUntil: UInt64 = 0
    var madeAt: UInt64 = 0
    var nothing = NoEndpoint.none
    var cursor: UInt32 = 0
    var shares = Shares(start: 0)

    func deallocate() {
        candidates?.deallocate()
        levels?.deallocate()
    }
}
