"""`python -m keyrail_racer`"""

from keyrail.runtime.process import run
from keyrail_racer.app import Racer
from keyrail_racer.settings import RacerSettings

settings = RacerSettings()
run("racer", settings, lambda bus: Racer(bus, settings))
