#include "CSchemas.h"
#include <string.h>

static const unsigned char kubernetes_api[] = {
#embed "kubernetes-api.json"
};
static const unsigned char kubernetes_defaults[] = {
#embed "kubernetes-defaults.json"
};
static const unsigned char kubernetes_resources[] = {
#embed "kubernetes-resources.json"
};
static const unsigned char kubernetes_columns[] = {
#embed "kubernetes-columns.json"
};
static const unsigned char kubernetes_protobuf[] = {
#embed "kubernetes-protobuf.json"
};
static const unsigned char istio[] = {
#embed "istio.json"
};
static const unsigned char gateway_api[] = {
#embed "gateway-api.json"
};

static const unsigned char kubernetes_zeros[] = {
#embed "kubernetes-zeros.json"
};
static const unsigned char kubernetes_access[] = {
#embed "kubernetes-access.json"
};

#define FILE_ENTRY(name, data) { name, data, sizeof data }
static const struct weft_schema_file files[] = {
    FILE_ENTRY("kubernetes-api", kubernetes_api),
    FILE_ENTRY("kubernetes-defaults", kubernetes_defaults),
    FILE_ENTRY("kubernetes-resources", kubernetes_resources),
    FILE_ENTRY("kubernetes-columns", kubernetes_columns),
    FILE_ENTRY("kubernetes-protobuf", kubernetes_protobuf),
    FILE_ENTRY("kubernetes-zeros", kubernetes_zeros),
    FILE_ENTRY("kubernetes-access", kubernetes_access),
    FILE_ENTRY("istio", istio),
    FILE_ENTRY("gateway-api", gateway_api),
};

const struct weft_schema_file *weft_schema_file(const char *name) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (strcmp(files[i].name, name) == 0) return &files[i];
    return NULL;
}
