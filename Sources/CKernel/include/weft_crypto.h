// An allocator for OpenSSL (CRYPTO_set_mem_functions).
#pragma once
#include <stddef.h>

void *weft_crypto_malloc(size_t size, const char *file, int line);
void *weft_crypto_realloc(void *memory, size_t size, const char *file, int line);
void weft_crypto_free(void *memory, const char *file, int line);
