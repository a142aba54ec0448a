#pragma once

/// How jemalloc behaves, in a program that is linked with it: read once, at the start (jemalloc(3), "TUNING").
extern const char *malloc_conf;
