// The files of proxies/ and policies/defaults/, as data linked into the program.
#pragma once
#include <stddef.h>

struct weft_template_file {
    const char *path;
    const unsigned char *bytes;
    size_t count;
};

// In the order in which they are to be applied.
size_t weft_template_count(void);
struct weft_template_file weft_template_entry(size_t index);
