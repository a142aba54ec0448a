// OpenSSL's macros a TLS client over a socket needs, as functions.
#pragma once
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline long weft_client_min_tls12(SSL_CTX *context) { return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION); }
static inline long weft_client_add_chain(SSL_CTX *context, X509 *cert) { return SSL_CTX_add1_chain_cert(context, cert); }
static inline long weft_client_server_name(SSL *session, const char *name) { return SSL_set_tlsext_host_name(session, name); }

/// The name or address the peer's certificate must carry.
static inline int weft_client_expect_host(SSL *session, const char *host) {
    X509_VERIFY_PARAM *parameters = SSL_get0_param(session);
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, host)) return 1;
    ERR_clear_error();
    return SSL_set1_host(session, host);
}
