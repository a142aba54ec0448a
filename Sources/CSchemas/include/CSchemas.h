// The schemas of the API kinds, as data linked into the program.
#pragma once
#include <stddef.h>

struct weft_schema_file {
    const char *name;
    const unsigned char *bytes;
    size_t count;
};

/// The file of that name (without `.json`), or NULL.
const struct weft_schema_file *weft_schema_file(const char *name);
