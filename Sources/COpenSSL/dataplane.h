// Macros and constants the data plane needs.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// Each byte read comes from one large recv; a write may end early and be repeated from a moved buffer; idle connections keep no buffers.
static inline void weft_tls_shape(SSL_CTX *ctx) {
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
}
static inline void weft_tls_cache_client_sessions(SSL_CTX *ctx) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}
static inline void weft_tls_no_session_cache(SSL_CTX *ctx) { SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); }
static inline long weft_ctx_add_chain(SSL_CTX *ctx, X509 *certificate) { return SSL_CTX_add0_chain_cert(ctx, certificate); }
static inline BIO *weft_memory_bio(const void *bytes, int count) { return BIO_new_mem_buf(bytes, count); }

static inline void weft_bio_clear_retry(BIO *b) { BIO_clear_retry_flags(b); }
static inline void weft_bio_retry_read(BIO *b) { BIO_set_retry_read(b); }
static inline void weft_bio_retry_write(BIO *b) { BIO_set_retry_write(b); }
static inline int weft_bio_type(void) { return BIO_get_new_index() | BIO_TYPE_SOURCE_SINK; }
enum { WEFT_BIO_CTRL_FLUSH = BIO_CTRL_FLUSH };
