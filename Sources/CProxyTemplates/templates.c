#include "CProxyTemplates.h"

static const unsigned char injection[] = {
#embed "../../proxies/sidecar/injection.yaml"
};
static const unsigned char defaults_namespace[] = {
#embed "../../policies/defaults/00-namespace.yaml"
};
static const unsigned char defaults_gateway[] = {
#embed "../../policies/defaults/gateway.yaml"
};
static const unsigned char gateway_deployment[] = {
#embed "../../proxies/gateway/deployment.yaml"
};

#define FILE_ENTRY(path, data) { path, data, sizeof data }
static const struct weft_template_file files[] = {
    FILE_ENTRY("proxies/sidecar/injection.yaml", injection),
    FILE_ENTRY("policies/defaults/00-namespace.yaml", defaults_namespace),
    FILE_ENTRY("policies/defaults/gateway.yaml", defaults_gateway),
    FILE_ENTRY("proxies/gateway/deployment.yaml", gateway_deployment),
};

size_t weft_template_count(void) { return sizeof files / sizeof *files; }
struct weft_template_file weft_template_entry(size_t index) { return files[index]; }
