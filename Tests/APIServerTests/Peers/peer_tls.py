"""A certificate authority and a server certificate of it, for one peer's life."""
import base64
import datetime
import http.server
import os
import ssl
import sys
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject, issuer, key):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def server_context(names, client_roots=None):
    """Gives the TLS context of a server with these names, and the base64 of the PEM of its authority.

    With `client_roots`, the PEM of an authority, clients must show a certificate of it.
    """
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = (
        _builder("peer-ca", "peer-ca", root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        _builder(names[0], "peer-ca", key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "server.pem")
        with open(path, "wb") as file:
            file.write(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )
            file.write(leaf.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)
    if client_roots:
        context.load_verify_locations(cadata=client_roots)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context, base64.b64encode(root.public_bytes(serialization.Encoding.PEM)).decode()


def serve(handler, names, client_roots=None):
    """Answers HTTPS on a free port of the loopback, which it prints with the authority that `server_context` gives."""
    context, authority = server_context(names, client_roots)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1])
    print(authority)
    sys.stdout.flush()
    server.serve_forever()
