#include "allocations.h"

#include <stdatomic.h>
#include <stddef.h>

static _Thread_local int watched;
static _Atomic uint64_t count;

// As a program does it at its start; a test has no other place before all others.
typedef void *(*take)(size_t, const char *, int);
typedef void *(*grow)(void *, size_t, const char *, int);
typedef void (*give)(void *, const char *, int);
extern int CRYPTO_set_mem_functions(take, grow, give) __attribute__((weak));
extern void *weft_crypto_malloc(size_t, const char *, int) __attribute__((weak));
extern void *weft_crypto_realloc(void *, size_t, const char *, int) __attribute__((weak));
extern void weft_crypto_free(void *, const char *, int) __attribute__((weak));
__attribute__((constructor)) static void use_crypto_memory(void) {
  if (CRYPTO_set_mem_functions && weft_crypto_malloc)
    CRYPTO_set_mem_functions(weft_crypto_malloc, weft_crypto_realloc, weft_crypto_free);
}

void weft_watch_allocations(int on) { watched = on; }
uint64_t weft_watched_allocations(void) { return atomic_load(&count); }

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif

#ifdef HAS_SANITIZER
int weft_can_watch_allocations(void) { return 0; }
#else
int weft_can_watch_allocations(void) { return 1; }

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static inline void note(void) {
  if (__builtin_expect(watched, 0)) atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
}
void *malloc(size_t size) {
  note();
  return __libc_malloc(size);
}
void *calloc(size_t number, size_t size) {
  note();
  return __libc_calloc(number, size);
}
void *realloc(void *memory, size_t size) {
  note();
  return __libc_realloc(memory, size);
}
void *memalign(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
  note();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void **into, size_t alignment, size_t size) {
  note();
  *into = __libc_memalign(alignment, size);
  return *into ? 0 : 12;
}
#endif
