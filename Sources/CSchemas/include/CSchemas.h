// The schemas of the API kinds, as data linked into the program.
#pragma once
#include <stddef.h>

struct weft_schema_file {
    const char *name;
    const unsigned char *bytes;
    size_t count;
};

extern const struct weft_schema_file weft_schema_files[];
extern const size_t weft_schema_file_count;
