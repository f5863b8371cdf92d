"""`python -m keyrail_router`"""

from keyrail.runtime.process import run
from keyrail.runtime.settings import ServiceSettings
from keyrail_router.app import Router

run("router", ServiceSettings(), Router)
