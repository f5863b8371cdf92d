"""`python -m keyrail_ingress`"""

import sys

from keyrail.http import tls
from keyrail.runtime.process import run
from keyrail_ingress.app import Ingress
from keyrail_ingress.settings import IngressSettings

settings = IngressSettings()
try:
    certificate = tls.certificate(settings.tls_cert_file, settings.tls_key_file)
except tls.TlsError as error:
    sys.exit(f"ingress: {error}")
run("ingress", settings, lambda bus: Ingress(bus, settings, certificate))
