"""A host of the tests' own, with TLS; the toys that gates are made of lie under relay/ and tools/."""

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent
for _folder in (_HERE, _HERE.parent / "relay", _HERE.parents[2] / "tools"):
    sys.path.insert(0, str(_folder))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority, and certificates of it by name."""
    folder = tmp_path_factory.mktemp("authority")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    made = {}
    for issuer in ("ca", "other"):
        _openssl("req", "-x509", *key, "-keyout", str(folder / f"{issuer}.key"), "-out", str(folder / f"{issuer}.pem"),
                 "-subj", f"/CN=test {issuer}", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    for name, issuer, host in (("right", "ca", "localhost"), ("wrong-name", "ca", "else.test"),
                               ("unknown", "other", "localhost")):  # fmt: skip
        _openssl("req", "-x509", *key, "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"),
                 "-subj", f"/CN={host}", "-CA", str(folder / f"{issuer}.pem"), "-CAkey", str(folder / f"{issuer}.key"),
                 "-addext", f"subjectAltName=DNS:{host}", "-addext", "basicConstraints=CA:FALSE")  # fmt: skip
        made[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made[name].load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return folder / "ca.pem", made
