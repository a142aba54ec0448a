import CKernel
import COpenSSL

/// Where OpenSSL takes its memory from: see `weft_crypto.h`.
enum CryptoMemory {
    /// Before OpenSSL's first allocation; later it has no effect.
    static func use() { CRYPTO_set_mem_functions(weft_crypto_malloc, weft_crypto_realloc, weft_crypto_free) }
}
