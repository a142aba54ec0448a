#include "CAllocator.h"

// What a burst of work took goes back to the machine within seconds, also when nothing more is allocated.
const char *malloc_conf = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
