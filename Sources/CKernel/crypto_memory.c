// OpenSSL's memory. A TLS connection lets go of its record buffers whenever it is idle, and makes small things for each record: five
// allocations a record. Blocks of these two sizes come from lists of the thread's own instead. All else is malloc's.
#include "weft_crypto.h"

#include <malloc.h>
#include <stdlib.h>

enum { small_size = 64, record_least = 16384, record_size = 17408, most_small = 64, most_records = 16 };

struct kept {
    struct kept *next;
};
struct shelf {
    struct kept *first;
    int count;
};
static _Thread_local struct shelf small, records;

static void *take(struct shelf *shelf, size_t size) {
    struct kept *found = shelf->first;
    if (!found) return malloc(size);
    shelf->first = found->next;
    shelf->count--;
    return found;
}

static int keep(struct shelf *shelf, int most, void *memory) {
    if (shelf->count >= most) return 0;
    struct kept *block = memory;
    block->next = shelf->first;
    shelf->first = block;
    shelf->count++;
    return 1;
}

void *weft_crypto_malloc(size_t size, const char *file, int line) {
    (void)file, (void)line;
    if (size == 0) return NULL;
    if (size <= small_size) return take(&small, small_size);
    if (size >= record_least && size <= record_size) return take(&records, record_size);
    return malloc(size);
}

void weft_crypto_free(void *memory, const char *file, int line) {
    (void)file, (void)line;
    if (!memory) return;
    // Whatever its owner asked for, a block of the right size serves the next one.
    size_t size = malloc_usable_size(memory);
    if (size >= small_size && size < small_size + 16) {
        if (keep(&small, most_small, memory)) return;
    } else if (size >= record_size && size < record_size + 64) {
        if (keep(&records, most_records, memory)) return;
    }
    free(memory);
}

void *weft_crypto_realloc(void *memory, size_t size, const char *file, int line) {
    (void)file, (void)line;
    return realloc(memory, size);
}
