// Requests for certificates (PKCS #10), and attributes of names by their number.
#pragma once
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

static inline X509_REQ *weft_request_read(const void *pem, int length) {
    BIO *bio = BIO_new_mem_buf(pem, length);
    X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return request;
}
/// Whether the request is signed with the key it is for.
static inline int weft_request_is_signed(X509_REQ *request) {
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    return key && X509_REQ_verify(request, key) == 1;
}
/// As weft_x509_subject_next, over any name; `oid` is a dotted number or a name OpenSSL knows.
static inline int weft_name_next(const X509_NAME *name, const char *oid, int *index, unsigned char **text) {
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 0);
    if (!object) { *index = -1; return -1; }
    *index = X509_NAME_get_index_by_OBJ(name, object, *index);
    ASN1_OBJECT_free(object);
    if (*index < 0) return -1;
    return ASN1_STRING_to_UTF8(text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, *index)));
}
/// The alternative names asked for; free with GENERAL_NAMES_free.
static inline GENERAL_NAMES *weft_request_names(X509_REQ *request) {
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
    if (!extensions) return NULL;
    GENERAL_NAMES *names = (GENERAL_NAMES *)X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return names;
}
