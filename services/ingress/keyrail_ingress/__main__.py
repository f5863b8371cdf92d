"""`python -m keyrail_ingress`"""

from keyrail.runtime.process import run
from keyrail_ingress.app import Ingress
from keyrail_ingress.settings import IngressSettings

settings = IngressSettings()
run("ingress", settings, lambda bus: Ingress(bus, settings))
