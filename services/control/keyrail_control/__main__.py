"""`python -m keyrail_control`"""

from keyrail.runtime.process import run
from keyrail_control.app import Control
from keyrail_control.settings import ControlSettings

settings = ControlSettings()
run("control", settings, lambda bus: Control(bus, settings))
