// OpenSSL's macros as functions, since Swift imports no function-like macros, and typed stacks as plain loops.
#pragma once
#include <stdint.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static inline EVP_PKEY *weft_p256_generate(void) { return EVP_EC_gen("P-256"); }

static inline long weft_bio_mem_data(BIO *bio, const unsigned char **data) {
    return BIO_get_mem_data(bio, (char **)data);
}

// Certificates.

static inline int weft_x509_set_times(X509 *cert, int64_t not_before, int64_t not_after) {
    return ASN1_TIME_set(X509_getm_notBefore(cert), not_before) && ASN1_TIME_set(X509_getm_notAfter(cert), not_after);
}

/// Seconds since 1970, or INT64_MIN.
static inline int64_t weft_asn1_seconds(const ASN1_TIME *time) {
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    int days = 0, seconds = 0;
    int ok = epoch && time && ASN1_TIME_diff(&days, &seconds, epoch, time);
    ASN1_TIME_free(epoch);
    return ok ? (int64_t)days * 86400 + seconds : INT64_MIN;
}
static inline int64_t weft_x509_not_before(const X509 *cert) { return weft_asn1_seconds(X509_get0_notBefore(cert)); }
static inline int64_t weft_x509_not_after(const X509 *cert) { return weft_asn1_seconds(X509_get0_notAfter(cert)); }

/// A random positive serial of 126 bits (RFC 5280 4.1.2.2 allows up to 20 octets).
static inline int weft_x509_random_serial(X509 *cert) {
    BIGNUM *number = BN_new();
    int ok = number && BN_rand(number, 126, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY)
        && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return ok;
}
/// The serial in hexadecimal; free with OPENSSL_free.
static inline char *weft_x509_serial_hex(X509 *cert) {
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *text = number ? BN_bn2hex(number) : NULL;
    BN_free(number);
    return text;
}

static inline int weft_x509_add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (!extension) return 0;
    int ok = X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return ok;
}

/// The UTF-8 text of the subject's next entry of this kind after `*index` (start with -1); its length, or -1 when there is none.
/// Free `*text` with OPENSSL_free.
static inline int weft_x509_subject_next(const X509 *cert, int nid, int *index, unsigned char **text) {
    X509_NAME *name = X509_get_subject_name(cert);
    *index = X509_NAME_get_index_by_NID(name, nid, *index);
    if (*index < 0) return -1;
    return ASN1_STRING_to_UTF8(text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, *index)));
}

static inline int weft_x509_add_subject(X509 *cert, int nid, const unsigned char *text, int length) {
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(cert), nid, MBSTRING_UTF8, (unsigned char *)text, length, -1, 0);
}
static inline int weft_x509_subject_count(const X509 *cert) { return X509_NAME_entry_count(X509_get_subject_name(cert)); }

static inline int weft_x509_is_authority(X509 *cert) { return X509_check_ca(cert) == 1; }

// Subject alternative names. `type` is GEN_DNS, GEN_URI or GEN_IPADD (then `text` is a written address).

static inline int weft_names_add(GENERAL_NAMES *names, int type, const char *text, int length) {
    ASN1_STRING *value;
    if (type == GEN_IPADD) {
        value = a2i_IPADDRESS(text);
    } else {
        value = ASN1_IA5STRING_new();
        if (value && !ASN1_STRING_set(value, text, length)) { ASN1_STRING_free(value); value = NULL; }
    }
    if (!value) return 0;
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (!name) { ASN1_STRING_free(value); return 0; }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) > 0) return 1;
    GENERAL_NAME_free(name);
    return 0;
}
static inline int weft_names_attach(GENERAL_NAMES *names, X509 *cert, int critical) {
    return X509_add1_ext_i2d(cert, NID_subject_alt_name, names, critical, X509V3_ADD_REPLACE);
}
static inline GENERAL_NAMES *weft_names_of(const X509 *cert) {
    return (GENERAL_NAMES *)X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
}
static inline int weft_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
/// The name's type, with its bytes (for an address, 4 or 16 of them); -1 for kinds we do not read.
static inline int weft_names_entry(const GENERAL_NAMES *names, int index, const unsigned char **bytes, int *length) {
    GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    if (name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_IPADD) return -1;
    ASN1_STRING *value = (ASN1_STRING *)GENERAL_NAME_get0_value(name, NULL);
    *bytes = ASN1_STRING_get0_data(value);
    *length = ASN1_STRING_length(value);
    return name->type;
}

// Chains.

static inline STACK_OF(X509) *weft_chain_new(void) { return sk_X509_new_null(); }
/// Adds with a reference of its own.
static inline int weft_chain_add(STACK_OF(X509) *chain, X509 *cert) {
    if (!X509_up_ref(cert)) return 0;
    if (sk_X509_push(chain, cert) > 0) return 1;
    X509_free(cert);
    return 0;
}
static inline int weft_chain_count(const STACK_OF(X509) *chain) { return chain ? sk_X509_num(chain) : 0; }
static inline X509 *weft_chain_at(const STACK_OF(X509) *chain, int index) { return sk_X509_value(chain, index); }
static inline void weft_chain_free(STACK_OF(X509) *chain) { sk_X509_pop_free(chain, X509_free); }

// ECDSA over P-256: the 64 bytes r and s of JOSE (RFC 7518 3.4) to and from OpenSSL's DER.

static inline int weft_ecdsa_raw(const unsigned char *der, long length, unsigned char raw[64]) {
    const unsigned char *place = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &place, length);
    if (!signature) return 0;
    int ok = BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw, 32) == 32
        && BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw + 32, 32) == 32;
    ECDSA_SIG_free(signature);
    return ok;
}
/// Free `*der` with OPENSSL_free. The length, or 0.
static inline int weft_ecdsa_der(const unsigned char raw[64], unsigned char **der) {
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
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

// Sessions.

static inline long weft_ssl_ctx_set_min_version(SSL_CTX *ctx, int version) { return SSL_CTX_set_min_proto_version(ctx, version); }
static inline void weft_ssl_ctx_no_resumption(SSL_CTX *ctx) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_num_tickets(ctx, 0);
}
static inline void weft_ssl_ctx_small_buffers(SSL_CTX *ctx) {
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}
/// The server's order of suites holds, but for clients that put ChaCha20 first because they have no AES in hardware.
static inline void weft_ssl_ctx_own_preference(SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
}
static inline long weft_ssl_ctx_add_chain(SSL_CTX *ctx, X509 *cert) { return SSL_CTX_add1_chain_cert(ctx, cert); }
static inline long weft_ssl_set_server_name(SSL *ssl, const char *name) { return SSL_set_tlsext_host_name(ssl, name); }
static inline int weft_ssl_server_name(SSL *ssl, const char **name) {
    *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    return *name != NULL;
}
static inline X509 *weft_ssl_peer_certificate(SSL *ssl) { return SSL_get1_peer_certificate(ssl); }
