// Counts what chosen threads ask of the allocator: malloc and its kin are this program's own, and pass on to glibc's.
#pragma once
#include <stdint.h>

// Counts the calling thread's from now on, or no more.
void weft_watch_allocations(int on);
// Of all watched threads since the start.
uint64_t weft_watched_allocations(void);
// 0 where another tool has the allocator.
int weft_can_watch_allocations(void);
