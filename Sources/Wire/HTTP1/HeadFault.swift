/// Why a head is refused.
package enum HeadFault: UInt8, Sendable, CaseIterable {
    // The start line.
    case badStartLine, badVersion, badTarget, fragmentInTarget, targetTooLong, methodTooLong, badStatus
    // Lines.
    case bareLineFeed, bareReturn, nulInHead, badHeaderName, emptyHeaderName, missingColon, spaceBeforeColon,
        badHeaderValue, foldedHeader, tooManyHeaders, headTooLong
    // Framing.
    case badContentLength, repeatedContentLength, lengthAndChunked, badTransferEncoding, repeatedTransferEncoding,
        unknownTransferEncoding, chunkedInOldVersion, ambiguousName
    // Where it goes.
    case badHost, emptyHost, missingHost, repeatedHost, hostMismatch, badConnection

    /// As metrics and the reason header name it.
    package var word: StaticString {
        switch self {
        case .badStartLine: "bad_start_line"
        case .badVersion: "bad_version"
        case .badTarget: "bad_target"
        case .fragmentInTarget: "fragment_in_target"
        case .targetTooLong: "target_too_long"
        case .methodTooLong: "method_too_long"
        case .badStatus: "bad_status"
        case .bareLineFeed: "bare_line_feed"
        case .bareReturn: "bare_carriage_return"
        case .nulInHead: "nul_in_head"
        case .badHeaderName: "bad_header_name"
        case .emptyHeaderName: "empty_header_name"
        case .missingColon: "missing_colon"
        case .spaceBeforeColon: "space_before_colon"
        case .badHeaderValue: "bad_header_value"
        case .foldedHeader: "obsolete_folding"
        case .tooManyHeaders: "too_many_headers"
        case .headTooLong: "head_too_long"
        case .badContentLength: "bad_content_length"
        case .repeatedContentLength: "duplicate_content_length"
        case .lengthAndChunked: "conflicting_framing"
        case .badTransferEncoding: "bad_transfer_encoding"
        case .repeatedTransferEncoding: "duplicate_transfer_encoding"
        case .unknownTransferEncoding: "unknown_transfer_encoding"
        case .chunkedInOldVersion: "chunked_in_http_1_0"
        case .ambiguousName: "ambiguous_header_name"
        case .badHost: "bad_host"
        case .emptyHost: "empty_host"
        case .missingHost: "missing_host"
        case .repeatedHost: "duplicate_host"
        case .hostMismatch: "host_mismatch"
        case .badConnection: "bad_connection_header"
        }
    }

    /// The status a request with this fault gets.
    package var status: Int {
        switch self {
        case .badVersion: 505
        case .targetTooLong: 414
        case .tooManyHeaders, .headTooLong: 431
        case .unknownTransferEncoding: 501
        default: 400
        }
    }
}
