"""`python -m keyrail_cost_accounting`"""

from keyrail.runtime.process import run
from keyrail.runtime.settings import ServiceSettings
from keyrail_cost_accounting.process import Process
from keyrail_cost_accounting.settings import Settings

settings = Settings()  # pyright: ignore[reportCallIssue] from the environment
run("cost-accounting", ServiceSettings(), lambda bus: Process(bus, settings))
