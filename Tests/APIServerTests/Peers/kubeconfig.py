"""What the tests' Python clients need of a kubeconfig: where the server is, and TLS with the administrator's certificate."""

import base64
import re
import ssl
import tempfile


def load(path):
    with open(path) as file:
        text = file.read()

    def field(name):
        return base64.b64decode(re.search(rf"{name}: *\"?([A-Za-z0-9+/=]+)", text).group(1))

    host, port = re.search(r"https://([^:/\"]+):(\d+)", text).groups()
    context = ssl.create_default_context(cadata=field("certificate-authority-data").decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(field("client-certificate-data") + b"\n" + field("client-key-data"))
        pair.flush()
        context.load_cert_chain(pair.name)
    return host, int(port), context
