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

// Servers at gateways and clients of servers outside the mesh.
static inline long weft_ctx_min_version(SSL_CTX *ctx, int version) { return SSL_CTX_set_min_proto_version(ctx, version); }
static inline long weft_ctx_max_version(SSL_CTX *ctx, int version) { return SSL_CTX_set_max_proto_version(ctx, version); }
/// The chain, without the certificate itself, is copied.
static inline int weft_ctx_use_pair(SSL_CTX *ctx, X509 *certificate, EVP_PKEY *key, STACK_OF(X509) *chain) {
    return SSL_CTX_use_cert_and_key(ctx, certificate, key, chain, 1);
}
/// Names the authorities whose certificates clients may bring.
static inline int weft_ctx_name_client_authority(SSL_CTX *ctx, X509 *authority) { return SSL_CTX_add_client_CA(ctx, authority); }
static inline int weft_ctx_data_index(CRYPTO_EX_free *drop) {
    return CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, drop);
}
static inline int weft_x509_names_host(X509 *certificate, const char *name, size_t length) {
    return X509_check_host(certificate, name, length, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}
static inline int weft_x509_names_address(X509 *certificate, const char *address) { return X509_check_ip_asc(certificate, address, 0) == 1; }

// Keys of JSON Web Tokens (RFC 7518 6), and signatures over them.
#include <openssl/core_names.h>
#include <openssl/param_build.h>

static inline EVP_PKEY *weft_key_from(const char *type, OSSL_PARAM_BLD *build) {
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;
    if (parameters && context && EVP_PKEY_fromdata_init(context) == 1) EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, parameters);
    OSSL_PARAM_free(parameters);
    EVP_PKEY_CTX_free(context);
    return key;
}
static inline EVP_PKEY *weft_rsa_public(const unsigned char *modulus, int modulus_length, const unsigned char *exponent, int exponent_length) {
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(modulus, modulus_length, NULL), *e = BN_bin2bn(exponent, exponent_length, NULL);
    EVP_PKEY *key = NULL;
    if (build && n && e && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
        key = weft_key_from("RSA", build);
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(build);
    return key;
}
/// `point`: 04, x and y.
static inline EVP_PKEY *weft_ec_public(const char *curve, const unsigned char *point, size_t length) {
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (build && OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve, 0)
        && OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, length))
        key = weft_key_from("EC", build);
    OSSL_PARAM_BLD_free(build);
    return key;
}
static inline EVP_PKEY *weft_ed25519_public(const unsigned char *bytes, size_t length) {
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, length);
}
static inline int weft_key_bits(EVP_PKEY *key) { return EVP_PKEY_get_bits(key); }
/// `digest` is NULL for EdDSA; `is_pss`: RSASSA-PSS with a salt as long as the digest.
static inline int weft_verifies(EVP_PKEY *key, const EVP_MD *digest, int is_pss, const unsigned char *signature, size_t signature_length, const unsigned char *message, size_t length) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters = NULL;
    int ok = context && EVP_DigestVerifyInit(context, &parameters, digest, NULL, key) == 1;
    if (ok && is_pss) ok = EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(context, signature, signature_length, message, length) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok;
}
/// A JOSE signature, r and s of `half` bytes each, as DER; free with OPENSSL_free. The length, or 0.
static inline int weft_ecdsa_der_of(const unsigned char *raw, int half, unsigned char **der) {
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, half, NULL), *s = BN_bin2bn(raw + half, half, NULL);
    if (!signature || !r || !s || !ECDSA_SIG_set0(signature, r, s)) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(signature);
        return 0;
    }
    *der = NULL;
    int length = i2d_ECDSA_SIG(signature, der);
    ECDSA_SIG_free(signature);
    return length > 0 ? length : 0;
}
