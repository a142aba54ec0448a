/// Error codes of RST_STREAM and GOAWAY (RFC 9113 §7).
enum FrameError: UInt32 {
    case none = 0
    case protocolError, internalError, flowControl, settingsTimeout, streamClosed, frameSize, refusedStream, cancel
    case compression, connect, enhanceYourCalm, inadequateSecurity, http11Required
}

/// Why a session is ended by us.
enum SessionFault: UInt8, CaseIterable {
    case badPreface, noSettings, badFrameSize, badStream, closedStream, unexpectedFrame, badSettings, badWindowUpdate
    case windowOverflow, dataBeyondWindow, badHeaderBlock, brokenHeaderBlock, headerBlockTooLong, pushPromise
    case resetFlood, settingsFlood, pingFlood, emptyFrameFlood, continuationFlood, controlFlood, silent, idle, drained,
        slowFrame

    /// As metrics name it.
    var word: StaticString {
        switch self {
        case .badPreface: "bad_preface"
        case .noSettings: "no_settings"
        case .badFrameSize: "bad_frame_size"
        case .badStream: "bad_stream"
        case .closedStream: "closed_stream"
        case .unexpectedFrame: "unexpected_frame"
        case .badSettings: "bad_settings"
        case .badWindowUpdate: "bad_window_update"
        case .windowOverflow: "window_overflow"
        case .dataBeyondWindow: "data_beyond_window"
        case .badHeaderBlock: "bad_header_block"
        case .brokenHeaderBlock: "broken_header_block"
        case .headerBlockTooLong: "header_block_too_long"
        case .pushPromise: "push_promise"
        case .resetFlood: "reset_flood"
        case .settingsFlood: "settings_flood"
        case .pingFlood: "ping_flood"
        case .emptyFrameFlood: "empty_frame_flood"
        case .continuationFlood: "continuation_flood"
        case .controlFlood: "control_flood"
        case .silent: "silent"
        case .idle: "idle"
        case .drained: "drained"
        case .slowFrame: "slow_frame"
        }
    }

    var code: FrameError {
        switch self {
        case .badFrameSize: .frameSize
        case .windowOverflow, .dataBeyondWindow: .flowControl
        case .badHeaderBlock: .compression
        case .closedStream: .streamClosed
        case .resetFlood, .settingsFlood, .pingFlood, .emptyFrameFlood, .continuationFlood, .controlFlood,
            .headerBlockTooLong, .slowFrame:
            .enhanceYourCalm
        case .silent, .idle, .drained: .none
        default: .protocolError
        }
    }

    /// An end that is nobody's mistake.
    var isOrderly: Bool { self == .idle || self == .drained }
}

/// Why a message is malformed (RFC 9113 §8). Its stream ends, the session goes on.
enum MessageFault: UInt8, Error, CaseIterable {
    case badName, badValue, pseudoAfterField, unknownPseudo, repeatedPseudo, missingPseudo, connectionField, badTE
    case badMethod, badScheme, badPath, badAuthority, badStatus, badLength, lengthMismatch, badTrailers, tooLarge
    case dataBeforeHead, dataWithoutBody, notAllowedHere

    /// As the reason header names it.
    var word: StaticString {
        switch self {
        case .badName: "h2_bad_name"
        case .badValue: "h2_bad_value"
        case .pseudoAfterField: "h2_pseudo_after_field"
        case .unknownPseudo: "h2_unknown_pseudo"
        case .repeatedPseudo: "h2_repeated_pseudo"
        case .missingPseudo: "h2_missing_pseudo"
        case .connectionField: "h2_connection_field"
        case .badTE: "h2_bad_te"
        case .badMethod: "h2_bad_method"
        case .badScheme: "h2_bad_scheme"
        case .badPath: "h2_bad_path"
        case .badAuthority: "h2_bad_authority"
        case .badStatus: "h2_bad_status"
        case .badLength: "h2_bad_length"
        case .lengthMismatch: "h2_length_mismatch"
        case .badTrailers: "h2_bad_trailers"
        case .tooLarge: "h2_headers_too_large"
        case .dataBeforeHead: "h2_data_before_head"
        case .dataWithoutBody: "h2_data_without_body"
        case .notAllowedHere: "h2_not_allowed"
        }
    }

    var status: Int { self == .tooLarge ? 431 : 400 }
}
